open System.Net
open System.Threading.Tasks
open Microsoft.AspNetCore.Builder
open Microsoft.AspNetCore.Http
open Microsoft.Extensions.DependencyInjection
open Session.AspNetCore

type Visit = { Clicks: int }

let click (visit: Visit option) =
    match visit with
    | Some visit -> { Clicks = visit.Clicks + 1 }
    | None -> { Clicks = 1 }

let page (body: string) (ctx: HttpContext) : Task =
    ctx.Response.ContentType <- "text/html; charset=utf-8"
    ctx.Response.WriteAsync $"<!doctype html><title>Quick start</title>{body}"

let goTo (path: string) (ctx: HttpContext) : Task =
    ctx.Response.Redirect path
    Task.CompletedTask

let andThen next result : HttpContext -> Task =
    match result with
    | Ok _ -> next
    | Error error -> SessionEndpoint.failed error

let home (subject: string) (ctx: HttpContext) : Task =
    task {
        let! visit = Session.tryGet<Visit> ctx
        let clicks = visit |> Option.map _.Clicks |> Option.defaultValue 0

        return!
            page
                $"""
                <p>{WebUtility.HtmlEncode subject}, {clicks} clicks</p>
                <form method="post" action="/click"><button>Click</button></form>
                <form method="post" action="/logout"><button>Sign out</button></form>
                """
                ctx
    }

let form =
    """<form method="post">Name <input name="user"> Password <input name="password" type="password"> <button>Sign in</button></form>"""

let signIn (ctx: HttpContext) : Task =
    task {
        let! form = ctx.Request.ReadFormAsync()
        let user = string form["user"]

        // Your own check of the password goes here.
        if user = "" || string form["password"] <> "tea" then
            return! goTo "/login" ctx
        else
            let! signedIn = Session.signIn user { Clicks = 0 } ctx
            return! andThen (goTo "/") signedIn ctx
    }

let addClick (_: string) (ctx: HttpContext) : Task =
    task {
        let! clicked = Session.update click ctx
        return! andThen (goTo "/") clicked ctx
    }

let signOut (ctx: HttpContext) : Task =
    task {
        let! ended = Session.destroy<Visit> ctx
        return! andThen (goTo "/login") ended ctx
    }

[<EntryPoint>]
let main args =
    let builder = WebApplication.CreateBuilder args
    builder.Services.AddSession<Visit>(id).UseSqlite("sessions.db") |> ignore

    let app = builder.Build()
    app.UseSession<Visit>() |> ignore

    let get (path: string) (handler: HttpContext -> Task) = app.MapGet(path, RequestDelegate handler) |> ignore
    let post (path: string) (handler: HttpContext -> Task) = app.MapPost(path, RequestDelegate handler) |> ignore
    let signedIn = SessionEndpoint.withSubjectOr<Visit>(goTo "/login")

    get "/" (signedIn home)
    get "/login" (page form)
    post "/login" signIn
    post "/click" (signedIn addClick)
    post "/logout" signOut
    app.Run()
    0
