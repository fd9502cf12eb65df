/// A page of the library's own as an answer: its frame, its headers, and times as people read them.
namespace Session.AspNetCore

open System
open System.Globalization
open System.Text
open System.Threading.Tasks
open Microsoft.AspNetCore.Http
open Microsoft.Extensions.Primitives

[<RequireQualifiedAccess>]
module internal Page =
    let private whole (number: float) (unit': string) =
        let number = int64 number
        String.Concat(number.ToString CultureInfo.InvariantCulture, " ", (if number = 1L then unit' else unit' + "s"))

    /// Roughly: of seconds, minutes, hours or days the largest.
    let span (time: TimeSpan) =
        if time < TimeSpan.FromMinutes 1L then whole time.TotalSeconds "second"
        elif time < TimeSpan.FromHours 2 then whole time.TotalMinutes "minute"
        elif time < TimeSpan.FromDays 2 then whole time.TotalHours "hour"
        else whole time.TotalDays "day"

    let ago (now: DateTimeOffset) (at: DateTimeOffset) =
        if at > now then String.Concat("in ", span (at - now))
        elif now - at < TimeSpan.FromSeconds 5L then "just now"
        else String.Concat(span (now - at), " ago")

    let stamp (at: DateTimeOffset) =
        at.UtcDateTime.ToString("yyyy-MM-dd HH:mm:ss", CultureInfo.InvariantCulture) + " UTC"

    let time (now: DateTimeOffset) (at: DateTimeOffset) =
        let exact = at.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture)
        el "time" [ "datetime", exact; "title", stamp at ] [ text (ago now at) ]

    let row (head: string) (cell: Html) = el "tr" [] [ el "th" [ "scope", "row" ] [ text head ]; el "td" [] [ cell ] ]

    let fact (name: string) (value: Html) = Html.Many [ el "dt" [] [ text name ]; el "dd" [] [ value ] ]

    let card (id: string) (title: string) (children: Html list) =
        el "section" [ "class", "card"; "aria-labelledby", id ] (el "h2" [ "id", id ] [ text title ] :: children)

    /// What was just done, for eyes and for screen readers.
    let note (said: string) = if said = "" then nothing else el "p" [ "class", "note"; "role", "status" ] [ text said ]

    /// Where this page is, without what comes after it. A path of this site, as it stands in links. Routing has found it in
    /// whatever case it was written.
    let placeOf (context: HttpContext) (tail: string) =
        let path = context.Request.PathBase.Add(context.Request.Path).ToUriComponent().TrimEnd '/'

        if tail <> "" && path.EndsWith(tail, StringComparison.OrdinalIgnoreCase) then
            path.Substring(0, path.Length - tail.Length)
        else
            path

    /// The place itself as a link: of pages at the root of the site it is no text at all.
    let self (place: string) = if place = "" then "/" else place

    /// Where the page above this one is: what comes before the last one of this part.
    let above (context: HttpContext) (part: string) =
        let path = placeOf context ""

        match path.LastIndexOf(part, StringComparison.OrdinalIgnoreCase) with
        | -1 -> path
        | at -> path.Substring(0, at)

    /// The headers that every answer of these pages has.
    let guard (context: HttpContext) =
        let headers = context.Response.Headers
        headers.ContentSecurityPolicy <- StringValues Style.policy
        headers.XContentTypeOptions <- StringValues "nosniff"
        headers.XFrameOptions <- StringValues "DENY"
        headers["Referrer-Policy"] <- StringValues "same-origin"
        Sharing.noStore context
        Sharing.keepOut context

    let write (context: HttpContext) (status: int) (title: string) (above: Html) (body: Html list) : Task =
        let page =
            el
                "html"
                [ "lang", "en" ]
                [ el
                      "head"
                      []
                      [ el "meta" [ "charset", "utf-8" ] []
                        el "meta" [ "name", "viewport"; "content", "width=device-width, initial-scale=1" ] []
                        el "meta" [ "name", "robots"; "content", "noindex" ] []
                        el "title" [] [ text title ]
                        Html.Sheet Style.sheet ]
                  el
                      "body"
                      []
                      [ el "a" [ "class", "skip"; "href", "#main" ] [ text "Skip to the content" ]
                        el "header" [] [ el "div" [ "class", "wide" ] [ above; el "h1" [] [ text title ] ] ]
                        el "main" [ "id", "main"; "class", "wide"; "tabindex", "-1" ] body ] ]

        let bytes = Encoding.UTF8.GetBytes(HtmlText.render page)
        guard context
        context.Response.StatusCode <- status
        context.Response.ContentType <- "text/html; charset=utf-8"
        context.Response.ContentLength <- Nullable(int64 bytes.Length)
        context.Response.Body.WriteAsync(ReadOnlyMemory bytes, context.RequestAborted).AsTask()

    /// To a page by GET, so that a reload sends no form again.
    let seeOther (context: HttpContext) (place: string) : Task =
        guard context
        context.Response.StatusCode <- 303
        context.Response.Headers.Location <- StringValues place
        Task.CompletedTask
