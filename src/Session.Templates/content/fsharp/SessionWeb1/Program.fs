namespace SessionWeb1

open System.Threading.Tasks
open Microsoft.AspNetCore.Builder
open Microsoft.AspNetCore.Http
open Microsoft.AspNetCore.Http.HttpResults
open Microsoft.Extensions.Configuration
open Microsoft.Extensions.DependencyInjection
open Microsoft.Extensions.Hosting
open Microsoft.Extensions.Logging
open Session.AspNetCore

module Shop =
    let private goTo (path: string) (ctx: HttpContext) : Task = Results.LocalRedirect(path).ExecuteAsync ctx

    let private andThen next result : HttpContext -> Task =
        match result with
        | Ok _ -> next
        | Error error -> SessionEndpoint.failed error

    /// The page that asked for a sign-in. Anybody can write a link to the login page: it leads to no other site.
    let private wayBack (ctx: HttpContext) =
        let asked = string ctx.Request.Query["ReturnUrl"]
        if RedirectHttpResult.IsLocalUrl asked then asked else "/"

    /// Replace this by your own check of the password, with a limit to the tries. A password that everybody knows lets anybody
    /// in as anybody, so this one counts on a developer's machine only.
    let private isRight (app: WebApplication) user password =
        if app.Environment.IsDevelopment() then
            user <> "" && password = "tea"
        else
            app.Logger.LogError
                "Nobody can sign in yet: in Program.fs, replace isRight by your own check of the password."

            false

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

    let signIn (app: WebApplication) (ctx: HttpContext) : Task =
        task {
            let! form = ctx.Request.ReadFormAsync()
            let user = string form["user"]

            if not (isRight app user (string form["password"])) then
                return! Pages.login (Some "The name or the password is wrong.") ctx
            else
                // The cart goes along, under a new token.
                let! cart = Session.tryGet<Cart> ctx
                let device = string ctx.Request.Headers.UserAgent
                let! signedIn = Session.signIn user { defaultArg cart Cart.empty with Device = Some device } ctx
                return! andThen (goTo (wayBack ctx)) signedIn ctx
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
        //#if (isConnected)

        let connection =
            match builder.Configuration.GetConnectionString "Sessions" with
            | null
            | "" ->
                failwith
                    "Set ConnectionStrings:Sessions (in the environment: ConnectionStrings__Sessions) to where the sessions are kept."
            | connection -> connection

        //#endif
        builder.Services.AddSession<Cart>(id).UseSqlite("sessions.db") |> ignore

        builder.Services.AddAuthentication().AddSession<Cart>(fun scheme -> { scheme with LoginPath = Some "/login" })
        |> ignore

        builder.Services.AddAuthorization() |> ignore
        builder.Services.AddAntiforgery() |> ignore

        let app = builder.Build()

        // HSTS: browsers stay with HTTPS. Not on a developer's machine, where other programs share the host name.
        if not (app.Environment.IsDevelopment()) then
            app.UseHsts() |> ignore

        app.UseSession<Cart>() |> ignore

        app.MapGet("/", RequestDelegate Shop.home) |> ignore
        app.MapPost("/cart/{item}", RequestDelegate Shop.addToCart) |> ignore
        app.MapGet("/login", RequestDelegate(Pages.login None)) |> ignore
        app.MapPost("/login", RequestDelegate(Shop.signIn app)) |> ignore
        app.MapPost("/logout", RequestDelegate Shop.signOut) |> ignore

        // Where the user is signed in, and the end of any of it.
        app
        |> MySessions.map<Cart> "/devices" (fun page ->
            { page with Describe = fun _ cart -> cart |> Option.bind _.Device })
        |> ignore

        app.Run()
        0
