/// A small message board in Giraffe's style: the native F# API of the sessions, composed by >=>.
module Board

open System
open System.Collections.Concurrent
open System.Net
open System.Threading.Tasks
open Microsoft.AspNetCore.Builder
open Microsoft.AspNetCore.Http
open Microsoft.Extensions.DependencyInjection
open Microsoft.Extensions.Hosting
open Session.AspNetCore
open Session.Stores.Sqlite

// ------------------------------------------------------------ exactly as Giraffe has them

type HttpFuncResult = Task<HttpContext option>
type HttpFunc = HttpContext -> HttpFuncResult
type HttpHandler = HttpFunc -> HttpFunc

let compose (first: HttpHandler) (second: HttpHandler) : HttpHandler = fun final -> final |> second |> first
let (>=>) = compose
let skipPipeline: HttpFuncResult = Task.FromResult None
let earlyReturn: HttpFunc = Some >> Task.FromResult

let rec private chooseFunc (funcs: HttpFunc list) : HttpFunc =
    fun context ->
        task {
            match funcs with
            | [] -> return None
            | first :: rest ->
                match! first context with
                | Some context -> return Some context
                | None -> return! chooseFunc rest context
        }

let choose (handlers: HttpHandler list) : HttpHandler =
    fun next -> chooseFunc (handlers |> List.map (fun handler -> handler next))

let private when' predicate : HttpHandler = fun next context -> if predicate context then next context else skipPipeline

let GET: HttpHandler = when' (fun context -> HttpMethods.IsGet context.Request.Method)
let POST: HttpHandler = when' (fun context -> HttpMethods.IsPost context.Request.Method)
let route (path: string) : HttpHandler = when' (fun context -> context.Request.Path.Equals(PathString path))

let setStatusCode (code: int) : HttpHandler =
    fun next context ->
        context.Response.StatusCode <- code
        next context

let text (body: string) : HttpHandler =
    fun _ context ->
        task {
            context.Response.ContentType <- "text/plain; charset=utf-8"
            do! context.Response.WriteAsync body
            return Some context
        }

let html (body: string) : HttpHandler =
    fun _ context ->
        task {
            context.Response.ContentType <- "text/html; charset=utf-8"
            do! context.Response.WriteAsync body
            return Some context
        }

let seeOther (path: string) : HttpHandler =
    fun _ context ->
        context.Response.StatusCode <- 303
        context.Response.Headers.Location <- path
        earlyReturn context

// ------------------------------------------------------------ the session data

/// Whoever reads, and whoever writes.
type Visitor =
    | Reader
    | Author of name: string

type Visit = { Visitor: Visitor; Posts: int }

// ------------------------------------------------------------ the board

type Message = { Author: string; Text: string; At: DateTimeOffset }

let messages = ConcurrentQueue<Message>()

let private field (name: string) most (context: HttpContext) =
    task {
        if not context.Request.HasFormContentType then
            return None
        else
            let! form = context.Request.ReadFormAsync()
            let value = (string form[name]).Trim()
            return if value = "" || value.Length > most then None else Some value
    }

/// A failed operation as an answer: the words of the library's own middleware.
let failed (error: SessionError) : HttpHandler =
    let struct (status, sentence) = SessionFailure.describe error
    setStatusCode status >=> text sentence

let badRequest: HttpHandler = setStatusCode 400 >=> text "A name has 1 to 40 characters, a message 1 to 280."

let signIn: HttpHandler =
    fun next context ->
        task {
            match! field "name" 40 context with
            | None -> return! badRequest next context
            | Some name ->
                match! Session.signIn name { Visitor = Author name; Posts = 0 } context with
                | Ok _ -> return! seeOther "/" next context
                | Error error -> return! failed error next context
        }

let signOut: HttpHandler =
    fun next context ->
        task {
            match! Session.destroy<Visit> context with
            | Ok() -> return! seeOther "/" next context
            | Error error -> return! failed error next context
        }

let post (visit: Visit) : HttpHandler =
    fun next context ->
        task {
            let! message = field "text" 280 context

            match message, visit.Visitor with
            | None, _ -> return! badRequest next context
            | Some _, Reader -> return! (setStatusCode 403 >=> text "Sign in to write.") next context
            | Some body, Author name ->
                let count visit =
                    match visit with
                    | Some visit -> { visit with Posts = visit.Posts + 1 }
                    | None -> { Visitor = Reader; Posts = 0 }

                match! Session.update count context with
                | Error error -> return! failed error next context
                | Ok _ ->
                    messages.Enqueue { Author = name; Text = body; At = DateTimeOffset.UtcNow }

                    return! seeOther "/" next context
        }

let private page (visit: Visit option) =
    let encode (value: string) = WebUtility.HtmlEncode value

    let said =
        messages
        |> Seq.rev
        |> Seq.truncate 100
        |> Seq.map (fun message ->
            $"<li><b>{encode message.Author}</b> {encode message.Text} <small>{message.At:u}</small></li>")
        |> String.concat ""

    let form =
        match visit with
        | Some { Visitor = Author name; Posts = posts } ->
            $"""<p>Signed in as <b>{encode name}</b>, {posts} posts in this session.</p>
<form method="post" action="/post"><label>Message <input name="text" maxlength="280" required></label> <button>Post</button></form>
<form method="post" action="/sign-out"><button>Sign out</button></form>"""
        | Some { Visitor = Reader }
        | None ->
            """<form method="post" action="/sign-in"><label>Name <input name="name" maxlength="40" required></label> <button>Sign in</button></form>"""

    $"""<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Board</title><style>body{{font:16px/1.5 system-ui;max-width:40rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}}input,button{{font:inherit;padding:.3rem .6rem}}li{{margin:.5rem 0}}small{{opacity:.7}}</style></head>
<body><h1>Board</h1>{form}<ul>{said}</ul></body></html>"""

let home: HttpHandler =
    fun next context ->
        task {
            let! visit = Session.tryGet<Visit> context
            return! html (page visit) next context
        }

let whoAmI (visit: Visit) : HttpHandler =
    match visit.Visitor with
    | Author name -> text name
    | Reader -> text "a reader"

let notSignedIn: HttpHandler = setStatusCode 401 >=> text "Sign in first."

let webApp: HttpHandler =
    choose
        [ GET >=> route "/" >=> home
          GET >=> route "/me" >=> Giraffe.requireSession<Visit> notSignedIn >=> Giraffe.withSession whoAmI
          POST >=> route "/sign-in" >=> signIn
          POST >=> route "/sign-out" >=> signOut
          POST >=> route "/post" >=> Giraffe.requireSession<Visit> notSignedIn >=> Giraffe.withSession post
          setStatusCode 404 >=> text "There is no such page." ]

[<EntryPoint>]
let main args =
    let builder = WebApplication.CreateBuilder args

    if String.IsNullOrEmpty builder.Configuration["urls"] then
        builder.WebHost.UseSetting("urls", "http://127.0.0.1:5081") |> ignore

    let sessions =
        builder.Services.AddSession<Visit>(fun settings ->
            { settings with
                IdleTimeout = TimeSpan.FromMinutes 20L
                // Plain HTTP on the developer's machine only.
                SecurePolicy =
                    if builder.Environment.IsDevelopment() then
                        CookieSecurePolicy.SameAsRequest
                    else
                        CookieSecurePolicy.Always })

    sessions.UseSqlite(IO.Path.Combine(builder.Environment.ContentRootPath, "sessions.db")) |> ignore

    let app = builder.Build()
    app.UseSession<Visit>() |> ignore

    app.Run(fun context ->
        task {
            let! _ = webApp earlyReturn context
            return ()
        }
        :> Task)

    app.Run()
    0
