/// A small message board as plain ASP.NET Core endpoints: the native F# API of the sessions, and no framework besides.
module Board

open System
open System.Collections.Concurrent
open System.IO
open System.Net
open System.Threading.Tasks
open Microsoft.AspNetCore.Builder
open Microsoft.AspNetCore.Http
open Microsoft.Extensions.Configuration
open Microsoft.Extensions.DependencyInjection
open Microsoft.Extensions.Hosting
open Microsoft.Extensions.Logging
open Session.AspNetCore

// ------------------------------------------------------------ what a session keeps

/// Whoever reads, and whoever writes.
type Visitor =
    | Reader
    | Author of name: string

type Visit = { Visitor: Visitor; Posts: int; Last: DateTimeOffset option }

let newVisit = { Visitor = Reader; Posts = 0; Last = None }

/// Why somebody may not post.
type NoPost =
    | NotSignedIn
    | TooSoon of left: TimeSpan

/// The rule of the board: authors write, and not more often than every two seconds.
let countPost now visit =
    match visit with
    | Some({ Visitor = Author _; Last = Some last }) when now < last + TimeSpan.FromSeconds 2L ->
        Error(TooSoon(last + TimeSpan.FromSeconds 2L - now))
    | Some({ Visitor = Author _ } as visit) -> Ok { visit with Posts = visit.Posts + 1; Last = Some now }
    | Some { Visitor = Reader }
    | None -> Error NotSignedIn

// ------------------------------------------------------------ the board

type Message = { Author: string; Text: string; At: DateTimeOffset }

let messages = ConcurrentQueue<Message>()

// ------------------------------------------------------------ answers

let say status (sentence: string) (ctx: HttpContext) : Task =
    ctx.Response.StatusCode <- status
    ctx.Response.WriteAsync sentence

let seeOther (path: string) (ctx: HttpContext) : Task =
    ctx.Response.StatusCode <- 303
    ctx.Response.Headers.Location <- path
    Task.CompletedTask

/// Goes there, or answers with the error as the library's own middleware would.
let goTo path result =
    match result with
    | Ok _ -> seeOther path
    | Error error -> SessionEndpoint.failed error

let field (name: string) most (ctx: HttpContext) =
    task {
        if not ctx.Request.HasFormContentType then
            return None
        else
            let! form = ctx.Request.ReadFormAsync()
            let value = (string form[name]).Trim()
            return if value = "" || value.Length > most then None else Some value
    }

let badRequest = say 400 "A name has 1 to 40 characters, a message 1 to 280."

// ------------------------------------------------------------ pages

let encode (value: string) = WebUtility.HtmlEncode value

let page (body: string) (ctx: HttpContext) : Task =
    ctx.Response.ContentType <- "text/html; charset=utf-8"

    ctx.Response.WriteAsync
        $"""<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Board</title><style>body{{font:16px/1.5 system-ui;max-width:40rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}}input,button{{font:inherit;padding:.3rem .6rem}}li{{margin:.5rem 0}}small{{opacity:.7}}</style></head>
<body><h1>Board</h1>{body}</body></html>"""

let said () =
    messages
    |> Seq.rev
    |> Seq.truncate 100
    |> Seq.map (fun it -> $"<li><b>{encode it.Author}</b> {encode it.Text} <small>{it.At:u}</small></li>")
    |> String.concat ""

let home (ctx: HttpContext) : Task =
    task {
        let! visit = Session.tryGet<Visit> ctx
        let! origin = Session.origin<Visit> ctx

        let form =
            match visit with
            | Some { Visitor = Author name; Posts = posts } ->
                $"""<p>Signed in as <b>{encode name}</b>, {posts} posts in this session. <a href="/devices">Devices</a></p>
<form method="post" action="/post"><label>Message <input name="text" maxlength="280" required></label> <button>Post</button></form>
<form method="post" action="/sign-out"><button>Sign out</button></form>"""
            | Some { Visitor = Reader }
            | None ->
                """<form method="post" action="/sign-in"><label>Name <input name="name" maxlength="40" required></label> <button>Sign in</button></form>"""

        let hint = if origin = Session.Origin.Expired then "<p>Your session has expired.</p>" else ""
        return! page $"{hint}{form}<ul>{said ()}</ul>" ctx
    }

let devices (subject: string) (ctx: HttpContext) : Task =
    task {
        let! here = Session.tryId<Visit> ctx

        match! Sessions.list<Visit> subject ctx with
        | Error error -> return! SessionEndpoint.failed error ctx
        | Ok found ->
            let row (it: Session.Info) =
                let name = if Some it.Id = here then "this one" else it.State.ToString()

                $"""<li>{name}, last seen {it.LastSeen:u} <form method="post" action="/devices/{it.Id}/end"><button>End</button></form></li>"""

            let rows = found |> List.map row |> String.concat ""

            return!
                page
                    $"""<ul>{rows}</ul><form method="post" action="/devices/end-others"><button>End all others</button></form>"""
                    ctx
    }

// ------------------------------------------------------------ what can be done

let signIn (ctx: HttpContext) : Task =
    task {
        match! field "name" 40 ctx with
        | None -> return! badRequest ctx
        | Some name ->
            let! signedIn = Session.signIn name { newVisit with Visitor = Author name } ctx
            return! goTo "/" signedIn ctx
    }

let signOut (ctx: HttpContext) : Task =
    task {
        let! ended = Session.destroy<Visit> ctx
        return! goTo "/" ended ctx
    }

let post (ctx: HttpContext) : Task =
    task {
        let now = DateTimeOffset.UtcNow
        let! text = field "text" 280 ctx
        let! author = Session.subject<Visit> ctx

        match text, author with
        | None, _ -> return! badRequest ctx
        | Some _, None -> return! say 403 "Sign in to write." ctx
        | Some text, Some author ->
            match! Session.tryUpdate (countPost now) ctx with
            | Ok _ ->
                messages.Enqueue { Author = author; Text = text; At = now }
                return! seeOther "/" ctx
            | Error(UpdateError.Declined NotSignedIn) -> return! say 403 "Sign in to write." ctx
            | Error(UpdateError.Declined(TooSoon left)) -> return! say 429 $"Wait {left.TotalSeconds:F1} seconds." ctx
            | Error(UpdateError.Failed error) -> return! SessionEndpoint.failed error ctx
    }

let endDevice (ctx: HttpContext) : Task =
    task {
        match! Sessions.findOwn<Visit> (string ctx.Request.RouteValues["id"]) ctx with
        | Error error -> return! SessionEndpoint.failed error ctx
        | Ok None -> return! say 404 "There is no such device of yours." ctx
        | Ok(Some mine) ->
            let! ended = Sessions.destroy<Visit> mine.Id ctx
            return! goTo "/devices" ended ctx
    }

let endOthers (subject: string) (ctx: HttpContext) : Task =
    task {
        match! Session.tryId<Visit> ctx with
        | None -> return! seeOther "/" ctx
        | Some here ->
            let! ended = Sessions.destroyAllBut<Visit> here subject ctx
            return! goTo "/devices" ended ctx
    }

let whoAmI (visit: Visit) =
    match visit.Visitor with
    | Author name -> say 200 name
    | Reader -> say 200 "a reader"

// ------------------------------------------------------------ the program

let tell (event: SessionEvent<Visit>) (services: IServiceProvider) : Task =
    let log = services.GetRequiredService<ILogger<Visit>>()
    log.LogInformation("{Subject}: {Event}", defaultArg event.Facts.Subject "nobody", event)
    Task.CompletedTask

let settings (builder: WebApplicationBuilder) settings =
    let isDeveloped = builder.Environment.IsDevelopment()

    { settings with
        // A name of its own: other samples run on the same host, and ports do not separate cookies. Under one name each would
        // sign the users of the other out. (__Host- promises a Secure cookie.)
        CookieName = Some(if isDeveloped then "board" else "__Host-board")
        IdleTimeout = TimeSpan.FromMinutes 20L
        HearsExpiry = true
        // Plain HTTP on the developer's machine only.
        SecurePolicy = if isDeveloped then CookieSecurePolicy.SameAsRequest else CookieSecurePolicy.Always }
    |> SessionConfiguration.apply (builder.Configuration.GetSection "Session")

[<EntryPoint>]
let main args =
    let builder = WebApplication.CreateBuilder args

    if String.IsNullOrEmpty builder.Configuration["urls"] then
        builder.WebHost.UseSetting("urls", "http://127.0.0.1:5081") |> ignore

    builder.Services
        .AddSession<Visit>(settings builder, onEvent = tell)
        .UseSqlite(Path.Combine(builder.Environment.ContentRootPath, "sessions.db"))
    |> ignore

    let app = builder.Build()
    app.UseSession<Visit>() |> ignore
    let get (path: string) (handler: HttpContext -> Task) = app.MapGet(path, RequestDelegate handler) |> ignore
    let form (path: string) (handler: HttpContext -> Task) = app.MapPost(path, RequestDelegate handler) |> ignore
    let toSignIn = say 401 "Sign in first."

    get "/" home
    get "/me" (SessionEndpoint.withSessionOr toSignIn whoAmI)
    get "/devices" (SessionEndpoint.withSubjectOr<Visit> toSignIn devices)
    form "/sign-in" signIn
    form "/sign-out" signOut
    form "/post" post
    form "/devices/{id}/end" (SessionEndpoint.requireSignInOr<Visit> toSignIn endDevice)
    form "/devices/end-others" (SessionEndpoint.withSubjectOr<Visit> toSignIn endOthers)
    app.Run()
    0
