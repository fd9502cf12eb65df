/// How a token comes and goes: raw headers in, exact bytes only; Set-Cookie or the token header out.
namespace Session.AspNetCore

open System
open System.Text
open Microsoft.AspNetCore.Hosting.Server
open Microsoft.AspNetCore.Http
open Microsoft.Extensions.Primitives
open Session.Engine

/// What a request brought.
[<Struct; NoEquality; NoComparison>]
type internal Arrival =
    | NothingCame
    /// Something under our name that is no token, or two different values, or a cookie and a header at once.
    | Garbage
    | TokenCame of PresentedToken

[<RequireQualifiedAccess>]
module internal TestServers =
    /// Of Microsoft.AspNetCore.TestHost, which WebApplicationFactory uses: nothing comes over a network there.
    let isUsed (services: IServiceProvider) =
        match services.GetService(typeof<IServer>) with
        | null -> false
        | server -> server.GetType().FullName = "Microsoft.AspNetCore.TestHost.TestServer"

/// `isTestServer`: requests come from a test in this process, whose client keeps no Secure cookie on `http://localhost`.
[<Sealed>]
type internal Transport(settings: SessionSettings, hasher: SecretHasher, isTestServer: bool) =
    let name = SessionSettings.cookieName settings
    // What a browser holds under it is from before Partitioned was switched on or off.
    let formerName = SessionSettings.formerCookieName settings

    let attributes isSecure isPartitioned =
        let text = StringBuilder()
        text.Append("; path=").Append(settings.CookiePath) |> ignore

        match settings.CookieDomain with
        | Some domain -> text.Append("; domain=").Append(domain) |> ignore
        | None -> ()

        if isSecure then
            text.Append "; secure" |> ignore

        let sameSite =
            match settings.SameSite with
            | SameSiteMode.Strict -> "strict"
            | SameSiteMode.None -> "none"
            | _ -> "lax"

        text.Append("; samesite=").Append(sameSite).Append("; httponly") |> ignore

        if isPartitioned then
            text.Append "; partitioned" |> ignore

        text.ToString()

    let secure, plain = attributes true settings.Partitioned, attributes false settings.Partitioned

    // With the attributes it was set with: browsers keep it otherwise.
    let cleared (name: string) (attributes: string) =
        String.Concat(name, "=; expires=Thu, 01 Jan 1970 00:00:00 GMT; max-age=0", attributes)

    let formerCleared =
        let isSecure = settings.SecurePolicy <> CookieSecurePolicy.None
        cleared formerName (attributes isSecure (not settings.Partitioned))

    let maxAge =
        match settings.CookieMaxAge with
        | Some age ->
            String.Concat("; max-age=", (int64 age.TotalSeconds).ToString(Globalization.CultureInfo.InvariantCulture))
        | None -> ""

    let isSecure (context: HttpContext) =
        match settings.SecurePolicy with
        | CookieSecurePolicy.Always -> not isTestServer || context.Request.IsHttps
        | CookieSecurePolicy.SameAsRequest -> context.Request.IsHttps
        | _ -> false

    let attributesFor (context: HttpContext) = if isSecure context then secure else plain

    let isSpace (c: char) = c = ' ' || c = '\t'

    // RFC 6265bis 5.4 and 5.7: the framework's own collection ignores the case of names, decodes percent signs and
    // takes the last of several values, each of which lets an attacker's cookie stand in for ours.
    let findNamed (name: string) (headers: StringValues) : struct (int * ReadOnlyMemory<char>) =
        let mutable count = 0
        let mutable found = ReadOnlyMemory<char>.Empty

        for i in 0 .. headers.Count - 1 do
            match headers[i] with
            | null -> ()
            | header ->
                let mutable start = 0

                while start < header.Length do
                    let stop =
                        match header.IndexOf(';', start) with
                        | -1 -> header.Length
                        | at -> at

                    let mutable first = start

                    while first < stop && isSpace header[first] do
                        first <- first + 1

                    let mutable last = stop

                    while last > first && isSpace header[last - 1] do
                        last <- last - 1

                    if
                        last - first > name.Length
                        && header[first + name.Length] = '='
                        && String.CompareOrdinal(header, first, name, 0, name.Length) = 0
                    then
                        let value = header.AsMemory(first + name.Length + 1, last - first - name.Length - 1)

                        if count = 0 then
                            found <- value
                            count <- 1
                        elif not (value.Span.SequenceEqual found.Span) then
                            count <- count + 1

                    start <- stop + 1

        struct (count, found)

    let find (headers: StringValues) =
        if headers.Count = 0 then
            struct (0, ReadOnlyMemory<char>.Empty)
        else
            match findNamed name headers with
            | struct (0, _) -> findNamed formerName headers
            | found -> found

    let parse (text: ReadOnlySpan<char>) =
        match Token.tryParse hasher text with
        | ValueSome token -> TokenCame token
        | ValueNone -> Garbage

    new(settings, hasher) = Transport(settings, hasher, false)

    member _.CookieName = name
    member _.FormerCookieName = formerName

    /// A request header that the answer depends on, for caches: whoever brings none depends on that, too.
    member _.Vary(context: HttpContext) =
        Sharing.vary context "Cookie"

        match settings.HeaderName with
        | Some header -> Sharing.vary context header
        | None -> ()

    /// Whether the request has anything where tokens are looked for.
    member transport.HasAny(context: HttpContext) =
        let struct (count, _) = find context.Request.Headers.Cookie
        count > 0 || transport.UsesHeader context

    /// A request may bring its token in one way only.
    member transport.IsAmbiguous(context: HttpContext) =
        transport.UsesHeader context
        && (let struct (cookies, _) = find context.Request.Headers.Cookie
            cookies > 0)

    member _.Read(context: HttpContext) : Arrival =
        let struct (count, value) = find context.Request.Headers.Cookie

        match settings.HeaderName with
        // Whoever planted one of the two must not choose which one counts.
        | Some header when count > 0 && context.Request.Headers.ContainsKey header -> Garbage
        | Some header when count = 0 ->
            let values = context.Request.Headers[header]

            match values.Count with
            | 0 -> NothingCame
            // An empty header: a client that keeps its token there, and has none yet.
            | 1 when String.IsNullOrEmpty(string values) -> NothingCame
            | 1 -> parse ((string values).AsSpan())
            | _ -> Garbage
        | _ when count = 0 -> NothingCame
        | _ when count = 1 -> parse value.Span
        | _ -> Garbage

    /// Whether garbage is garbage because more than one value came.
    member transport.IsDoubled(context: HttpContext) =
        let struct (count, _) = find context.Request.Headers.Cookie

        count > 1
        || transport.IsAmbiguous context
        || (match settings.HeaderName with
            | Some header -> context.Request.Headers[header].Count > 1
            | None -> false)

    /// Whether the client drops the cookie of this response, or keeps it and never sends it back: it is Secure, and the
    /// request came over plain HTTP.
    member transport.IsLost(context: HttpContext) =
        not context.Request.IsHttps && isSecure context && not (transport.UsesHeader context)

    /// Every token that came, for a logout that cannot tell which one is the session's, and whether these are all: a
    /// request full of them must not cost a store call for each.
    member _.AllTokens(context: HttpContext) : struct (PresentedToken list * bool) =
        let most = 16

        let values =
            [ for header in context.Request.Headers.Cookie do
                  match header with
                  | null -> ()
                  | header ->
                      for pair in header.Split ';' do
                          let pair = pair.Trim([| ' '; '\t' |])

                          // Under the former name as well: it is read where nothing else came.
                          for name in [ name; formerName ] do
                              if pair.StartsWith(String.Concat(name, "="), StringComparison.Ordinal) then
                                  pair.Substring(name.Length + 1)
              match settings.HeaderName with
              | Some header ->
                  for value in context.Request.Headers[header] do
                      match value with
                      | null -> ()
                      | value -> value
              | None -> () ]
            |> List.distinct

        let tokens =
            values
            |> List.truncate most
            |> List.choose (fun value ->
                match parse (value.AsSpan()) with
                | TokenCame token -> Some token
                | NothingCame
                | Garbage -> None)

        struct (tokens, values.Length <= most)

    /// Whether the client of this request keeps its token in the header.
    member _.UsesHeader(context: HttpContext) =
        match settings.HeaderName with
        | Some header -> context.Request.Headers.ContainsKey header
        | None -> false

    /// Whether this response gives its client a token in the cookie.
    member _.IsHanding(context: HttpContext) =
        let start = String.Concat(name, "=")

        let isToken (cookie: string | null) =
            match cookie with
            | null -> false
            | cookie ->
                cookie.StartsWith(start, StringComparison.Ordinal)
                && cookie.Length > start.Length
                && cookie[start.Length] <> ';'

        Seq.exists isToken context.Response.Headers.SetCookie

    /// Takes back what was set for this response before: the last word counts.
    member transport.Withdraw(context: HttpContext) =
        let headers = context.Response.Headers

        let isOurs (cookie: string | null) =
            match cookie with
            | null -> false
            | cookie ->
                cookie.StartsWith(String.Concat(name, "="), StringComparison.Ordinal)
                || cookie.StartsWith(String.Concat(formerName, "="), StringComparison.Ordinal)

        if headers.SetCookie |> Seq.exists isOurs then
            headers.SetCookie <- StringValues(headers.SetCookie |> Seq.filter (isOurs >> not) |> Seq.toArray)

        match settings.HeaderName with
        | Some header -> headers.Remove header |> ignore
        | None -> ()

    /// Before the cookie that counts: a browser that does not know Partitioned takes the last word.
    member private _.ClearFormer(context: HttpContext) =
        match findNamed formerName context.Request.Headers.Cookie with
        | struct (0, _) -> ()
        | _ ->
            let headers = context.Response.Headers
            headers.SetCookie <- StringValues.Concat(headers.SetCookie, formerCleared)

    member transport.Hand(context: HttpContext, token: IssuedToken) =
        transport.Withdraw context
        let headers = context.Response.Headers

        match settings.HeaderName with
        | Some header when transport.UsesHeader context -> headers[header] <- StringValues(token.Reveal())
        | _ ->
            transport.ClearFormer context
            let cookie = String.Concat(name, "=", token.Reveal(), attributesFor context + maxAge)
            headers.SetCookie <- StringValues.Concat(headers.SetCookie, cookie)

        Sharing.noStore context

    /// Expires the cookie.
    member transport.Clear(context: HttpContext) =
        transport.Withdraw context

        if not (transport.UsesHeader context) then
            transport.ClearFormer context
            let headers = context.Response.Headers
            headers.SetCookie <- StringValues.Concat(headers.SetCookie, cleared name (attributesFor context))

        Sharing.noStore context
