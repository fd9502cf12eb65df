namespace SessionWeb1

open System.Threading.Tasks
open Microsoft.AspNetCore.Builder
open Microsoft.AspNetCore.Http
open Microsoft.Extensions.Configuration
open Microsoft.Extensions.DependencyInjection
open Session.AspNetCore

module Shop =
    let private goTo (path: string) (ctx: HttpContext) : Task =
        ctx.Response.Redirect path
        Task.CompletedTask

    let private andThen next result : HttpContext -> Task =
        match result with
        | Ok _ -> next
        | Error error -> SessionEndpoint.failed error

    let home (ctx: HttpContext) : Task =
        task {
            let! cart = Session.tryGet<Cart> ctx
            let! user = Session.subject<Cart> ctx
            return! Pages.home user (defaultArg cart Cart.empty) ctx
        }

    let addToCart (ctx: HttpContext) : Task =
        task {
            let! added = Session.update (Cart.add (string ctx.Request.RouteValues["item"])) ctx
            return! andThen (goTo "/") added ctx
        }

    let signIn (ctx: HttpContext) : Task =
        task {
            let! form = ctx.Request.ReadFormAsync()
            let user = string form["user"]

            // Your own check of the password goes here.
            if user = "" || string form["password"] <> "tea" then
                return! goTo "/login" ctx
            else
                // The cart goes along, under a new token.
                let! cart = Session.tryGet<Cart> ctx
                let device = string ctx.Request.Headers.UserAgent
                let! signedIn = Session.signIn user { defaultArg cart Cart.empty with Device = Some device } ctx
                return! andThen (goTo "/") signedIn ctx
        }

    let signOut (ctx: HttpContext) : Task =
        task {
            let! ended = Session.destroy<Cart> ctx
            return! andThen (goTo "/") ended ctx
        }

/// For the tests, which find the application by it.
type Program() = class end

module Main =
    [<EntryPoint>]
    let main args =
        let builder = WebApplication.CreateBuilder args
        builder.Services.AddSession<Cart>(id).UseSqlite("sessions.db") |> ignore
        builder.Services.AddAntiforgery() |> ignore

        let app = builder.Build()
        app.UseSession<Cart>() |> ignore

        app.MapGet("/", RequestDelegate Shop.home) |> ignore
        app.MapPost("/cart/{item}", RequestDelegate Shop.addToCart) |> ignore
        app.MapGet("/login", RequestDelegate Pages.login) |> ignore
        app.MapPost("/login", RequestDelegate Shop.signIn) |> ignore
        app.MapPost("/logout", RequestDelegate Shop.signOut) |> ignore

        // Where the user is signed in, and the end of any of it.
        app
        |> MySessions.map<Cart> "/devices" (fun page ->
            { page with Describe = fun _ cart -> cart |> Option.bind _.Device })
        |> ignore

        app.Run()
        0
