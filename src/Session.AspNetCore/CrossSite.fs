/// What another site had the browser send: whether it may change a session. Asked where something would change, and nowhere else.
namespace Session.AspNetCore

open System
open System.Collections.Generic
open Microsoft.AspNetCore.Http
open Microsoft.Extensions.Primitives

/// On an endpoint that is meant for requests from other sites, too.
type IAllowCrossSiteMetadata =
    /// From which: origins such as `https://shop.example`. Empty: from every one.
    abstract Origins: IReadOnlyList<string>

/// Allows it; for `WithMetadata`. Throws ArgumentException for what is no origin.
[<Sealed>]
type CrossSiteAllowed([<ParamArray>] origins: string array) =
    let origins =
        origins
        |> Array.map (fun origin ->
            match Origins.tryNormal origin with
            | Some origin -> origin
            | None ->
                invalidArg
                    (nameof origins)
                    (String.Concat("'", origin, "' is no origin: write scheme and host, such as https://shop.example.")))

    interface IAllowCrossSiteMetadata with
        member _.Origins = origins

/// On a request whose sender the application has made sure of in another way.
[<Sealed>]
type internal CrossSiteVouched() = class end

[<RequireQualifiedAccess>]
module internal CrossSite =
    let private says (headers: IHeaderDictionary) (name: string) (value: string) =
        String.Equals(string headers[name], value, StringComparison.Ordinal)

    let private isAmong (origins: IReadOnlyList<string>) (origin: StringValues) =
        origin.Count = 1
        && Seq.exists (fun known -> String.Equals(known, origin[0], StringComparison.OrdinalIgnoreCase)) origins

    /// The methods that change nothing by their meaning (RFC 9110 9.2.1). What opens a WebSocket looks like one of them, and
    /// is the beginning of whatever its messages do.
    let private isSafe (request: HttpRequest) =
        (HttpMethods.IsGet request.Method
         || HttpMethods.IsHead request.Method
         || HttpMethods.IsOptions request.Method
         || HttpMethods.IsTrace request.Method)
        && not (
            request.Headers.Upgrade.Count > 0
            && request.Headers.Upgrade
               |> Seq.exists (fun it -> "websocket".Equals(it, StringComparison.OrdinalIgnoreCase))
        )

    let private isAllowedHere (context: HttpContext) =
        not (isNull (context.Features.Get<CrossSiteVouched>()))
        || (match context.GetEndpoint() with
            | null -> false
            | endpoint ->
                match endpoint.Metadata.GetMetadata<IAllowCrossSiteMetadata>() with
                | null -> false
                | allowed -> allowed.Origins.Count = 0 || isAmong allowed.Origins context.Request.Headers.Origin)

    /// A client that keeps its token in a header is no browser that others make send it.
    let private isJudged (settings: SessionSettings) (transport: Transport) (context: HttpContext) =
        not settings.AllowCrossSiteWrites
        && not (transport.UsesHeader context)
        && not (isAllowedHere context)

    /// Whether another origin had the browser send this, in the browser's own words. Whoever says nothing is no browser, or
    /// one of before 2020.
    let private isForeign (settings: SessionSettings) (request: HttpRequest) =
        let site, origin = request.Headers["Sec-Fetch-Site"], request.Headers.Origin

        match string site with
        | "same-origin"
        // The user's own doing: an address typed in, a bookmark.
        | "none" -> false
        | "" when origin.Count = 1 && not (isNull origin[0]) && Origins.isOwn request (nonNull origin[0]) -> false
        | "" when StringValues.IsNullOrEmpty origin -> false
        // A sub-domain is another origin, and whatever browsers will say one day is, too.
        | _ -> not (isAmong settings.TrustedOrigins origin)

    /// Whether this request may change, begin or end no session, because another site had the browser send it.
    let forbids (settings: SessionSettings) (transport: Transport) (context: HttpContext) =
        not (isSafe context.Request)
        && isForeign settings context.Request
        && isJudged settings transport context

    /// Whether the browser may hold a token that it did not send, because another site made it send this request: a new
    /// session would take its place. Of what goes to a page of its own by a link all of our cookies come, unless they are
    /// Strict.
    let hidesToken (settings: SessionSettings) (transport: Transport) (context: HttpContext) =
        let request = context.Request

        let isLink () =
            settings.SameSite = SameSiteMode.Lax
            && (HttpMethods.IsGet request.Method || HttpMethods.IsHead request.Method)
            && says request.Headers "Sec-Fetch-Dest" "document"

        says request.Headers "Sec-Fetch-Site" "cross-site"
        && settings.SameSite <> SameSiteMode.None
        && not (isLink ())
        && isJudged settings transport context

    /// As the request says it, for the log.
    let sender (context: HttpContext) =
        match string context.Request.Headers.Origin with
        | "" -> string context.Request.Headers["Sec-Fetch-Site"]
        | origin -> origin.Substring(0, min origin.Length 200)

    /// From now on in this request.
    let vouch (context: HttpContext) = context.Features.Set(CrossSiteVouched())
