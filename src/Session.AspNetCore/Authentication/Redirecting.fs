/// Where a challenge sends whom: people to a page, programs get a status code. And back again, to this site only.
[<RequireQualifiedAccess>]
module internal Session.AspNetCore.Redirecting

open System
open System.Collections.Generic
open System.Text
open Microsoft.AspNetCore.Authentication
open Microsoft.AspNetCore.Http
open Microsoft.AspNetCore.Http.Metadata
open Microsoft.Extensions.Primitives

/// A path of this site. Browsers read `//` and `/\` as the beginning of a host, and drop tabs and line breaks before they look.
let isLocal (url: string | null) =
    match url with
    | null
    | "" -> false
    | url ->
        url[0] = '/'
        && (url.Length = 1 || (url[1] <> '/' && url[1] <> '\\'))
        && not (Seq.exists Char.IsControl url)

let private isXmlHttp (values: StringValues) = values.Count = 1 && values[0] = "XMLHttpRequest"

/// Whether a page is of no use to the client: as the framework's cookies decide it (known API endpoints, `X-Requested-With`); gRPC, too.
let isProgram (context: HttpContext) =
    let request = context.Request

    isXmlHttp request.Headers.XRequestedWith
    || isXmlHttp request.Query["X-Requested-With"]
    || (match request.ContentType with
        | null -> false
        | contentType -> contentType.StartsWith("application/grpc", StringComparison.OrdinalIgnoreCase))
    || (match context.GetEndpoint() with
        | null -> false
        | endpoint ->
            not (isNull (endpoint.Metadata.GetMetadata<IDisableCookieRedirectMetadata>()))
            && isNull (endpoint.Metadata.GetMetadata<IAllowCookieRedirectMetadata>()))

/// As a header can have it: a server refuses to send anything but ASCII there, and RFC 3987 (3.1) says what it stands for.
let private inHeader (url: string) =
    if Ascii.IsValid url then
        url
    else
        let escaped = StringBuilder()

        for rune in url.EnumerateRunes() do
            escaped.Append(if rune.IsAscii then string rune else Uri.EscapeDataString(string rune)) |> ignore

        escaped.ToString()

/// The page, if there is one and the client is a person; else the status code. Programs are told where the page is.
let ask (context: HttpContext) (status: int) (url: string option) =
    match url with
    | None -> context.Response.StatusCode <- status
    | Some url when isProgram context ->
        context.Response.Headers.Location <- StringValues(inHeader url)
        context.Response.StatusCode <- status
    | Some url -> context.Response.Redirect(inHeader url)

/// The page with the way back, and why: relative to this site, whatever the request says that its host is.
let pageOf
    (pathBase: PathString)
    (page: string)
    (parameter: string)
    (current: string)
    (properties: AuthenticationProperties)
    : string =
    let back =
        match properties.RedirectUri with
        | null
        | "" -> current
        | said -> said

    let query = List [ KeyValuePair<string, string | null>(parameter, back) ]

    match properties.GetParameter<string> ChallengeReason.Parameter with
    | null -> ()
    | reason -> query.Add(KeyValuePair(ChallengeReason.Parameter, reason))

    String.Concat(pathBase.Add(PathString page).ToUriComponent(), QueryString.Create(query).ToUriComponent())

/// Where the application says, else where the login page was asked to lead, if that is here.
let private lead
    (context: HttpContext)
    (isLoginPage: bool)
    (parameter: string)
    (properties: AuthenticationProperties | null)
    =
    let said =
        match properties with
        | null -> None
        | properties -> Option.ofObj properties.RedirectUri |> Option.filter (fun url -> url <> "")

    let asked =
        match context.Request.Query[parameter] with
        | values when isLoginPage && values.Count = 1 -> Option.ofObj values[0] |> Option.filter isLocal
        | _ -> None

    match Option.orElse asked said with
    | Some url when context.Response.StatusCode = 200 ->
        if isProgram context then
            context.Response.Headers.Location <- StringValues(inHeader url)
        else
            context.Response.Redirect(inHeader url)
    | _ -> ()

/// After a sign-in or a sign-out, while the request goes on: its HttpContext may be somebody else's then.
let goOn (received: Received) context isLoginPage parameter properties =
    received.Touch((fun () -> lead context isLoginPage parameter properties), ignore)
