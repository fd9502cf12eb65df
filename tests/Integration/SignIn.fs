/// The session as an authentication scheme of an F# application, on a real server whose commands are counted.
module Integration.SignIn

open System
open System.Security.Claims
open System.Threading.Tasks
open Expecto
open Microsoft.AspNetCore.Authentication
open Microsoft.AspNetCore.Builder
open Microsoft.AspNetCore.Hosting
open Microsoft.AspNetCore.Http
open Microsoft.Extensions.DependencyInjection
open Microsoft.Extensions.Logging
open Microsoft.Extensions.Time.Testing
open Integration.Http
open Integration.RedisServer
open Session.AspNetCore

type Member = { Role: string }

let private addTo (services: IServiceCollection) (address: string) =
    services.AddSession<Member>(id).UseRedis address |> ignore

    services
        .AddAuthentication()
        .AddSession<Member>(fun scheme ->
            { scheme with
                Claims = fun _ data -> [ Claim(ClaimTypes.Role, data.Role) ]
                Data = fun _ current -> Some(defaultArg current { Role = "customer" })
                LoginPath = Some "/login" })
    |> ignore

let private write (context: HttpContext) (body: string) : Task = context.Response.WriteAsync body
let private said (handler: HttpContext -> Task) = RequestDelegate handler

let private signIn (role: string) (context: HttpContext) : Task =
    task {
        match! Session.signIn "ada" { Role = role } context with
        | Ok _ -> ()
        | Error error -> failtestf "%A" error
    }

let private map (app: WebApplication) =
    app.MapPost("/login/{role}", said (fun context -> signIn (string context.Request.RouteValues["role"]) context))
    |> ignore

    app.MapPost(
        "/principal",
        said (fun context ->
            context.SignInAsync(ClaimsPrincipal(ClaimsIdentity([ Claim(ClaimTypes.Name, "eve") ], "a page"))))
    )
    |> ignore

    app.MapPost("/out", said _.SignOutAsync()) |> ignore
    let name (context: HttpContext) = write context (string (nonNull context.User.Identity).Name)
    app.MapGet("/me", said name).RequireAuthorization() |> ignore

    app.MapGet("/admin", said name).RequireAuthorization(fun policy -> policy.RequireRole "admin" |> ignore)
    |> ignore

    app.MapGet("/plain", said (fun context -> write context "plain")) |> ignore

    let minutes = TimeSpan.FromMinutes 5L
    app.MapGet("/vault", said (SessionEndpoint.requireSignInWithin<Member> minutes name)) |> ignore

    let otherwise _ (context: HttpContext) =
        task {
            context.Response.StatusCode <- 401
            return Some context
        }

    let giraffe (context: HttpContext) : Task =
        task {
            let go (context: HttpContext) =
                task {
                    do! name context
                    return Some context
                }

            let! _ = SessionHandler.requireSignInWithin<Member> minutes otherwise go context
            ()
        }

    app.MapGet("/giraffe-vault", said giraffe) |> ignore

let private within
    (body:
        FakeTimeProvider
            -> StackExchange.Redis.IServer
            -> (string -> string -> string option -> Task<Answer>)
            -> Task<unit>)
    =
    task {
        // A server of its own: its statistics count whoever talks to it.
        use server = startOne []
        let! admin = connect server.Address
        use admin = admin
        let clock = FakeTimeProvider(DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero))
        let builder = WebApplication.CreateSlimBuilder()
        builder.Logging.ClearProviders() |> ignore
        builder.WebHost.UseUrls "http://127.0.0.1:0" |> ignore
        builder.Services.AddSingleton<TimeProvider> clock |> ignore
        addTo builder.Services server.Address
        builder.Services.AddAuthorization() |> ignore
        let app = builder.Build()
        app.UseSession<Member>() |> ignore
        map app
        do! app.StartAsync()
        use client = newClient ()

        let ask verb path token =
            send
                client
                (Uri(Seq.head app.Urls))
                verb
                path
                [ for token in Option.toList token -> "Cookie", "__Host-sid=" + token ]

        try
            do! body clock (admin.GetServer server.Address) ask
        finally
            (app :> IAsyncDisposable).DisposeAsync().AsTask().GetAwaiter().GetResult()
    }

let all =
    testList
        "sign-in"
        [ testCaseTask "[Authorize] is one command on Redis, and an endpoint that asks for no user none" (fun () ->
              within (fun _ stats ask ->
                  task {
                      let! login = ask "POST" "/login/admin" None
                      let signedIn = Some(token login)
                      // The first presentation is stored.
                      let! _ = ask "GET" "/me" signedIn

                      for path, expected in
                          [ "/me", Map.ofList [ "get", 1 ]
                            "/admin", Map.ofList [ "get", 1 ]
                            "/vault", Map.ofList [ "get", 1 ]
                            "/plain", Map.empty
                            "/nothing-there", Map.empty ] do
                          do! stats.ConfigResetStatisticsAsync()
                          let! answer = ask "GET" path signedIn
                          let! seen = RedisWorld.commands stats
                          Expect.equal seen expected path

                          if not expected.IsEmpty then
                              Expect.equal (answer.Status, answer.Body) (200, "ada") path

                          do! stats.ConfigResetStatisticsAsync()
                          let! _ = ask "GET" path None
                          let! seen = RedisWorld.commands stats
                          Expect.equal seen Map.empty (path + ", no token")
                  }))

          testCaseTask "F#: roles, the login page, sign-in and sign-out of a principal" (fun () ->
              within (fun _ _ ask ->
                  task {
                      let! stranger = ask "GET" "/admin" None

                      Expect.equal
                          (stranger.Status, stranger.Header "location")
                          (302, Some "/login?ReturnUrl=%2Fadmin")
                          ""

                      let! customer = ask "POST" "/login/customer" None
                      let! refused = ask "GET" "/admin" (Some(token customer))
                      Expect.equal refused.Status 403 "no page is named"
                      let! principal = ask "POST" "/principal" None
                      let signedIn = Some(token principal)
                      let! me = ask "GET" "/me" signedIn
                      Expect.equal me.Body "eve" "the principal's name"
                      let! out = ask "POST" "/out" signedIn
                      Expect.equal out.Status 200 "signed out"
                      let! after = ask "GET" "/me" signedIn
                      Expect.equal after.Status 302 "and it is over"
                  }))

          testCaseTask "F#: a handler may want a sign-in of a moment ago" (fun () ->
              within (fun clock _ ask ->
                  task {
                      let! stranger = ask "GET" "/vault" None

                      Expect.equal
                          (stranger.Status, stranger.Header "location")
                          (302, Some "/login?ReturnUrl=%2Fvault")
                          ""

                      let! stranger = ask "GET" "/giraffe-vault" None
                      Expect.equal stranger.Status 401 "the handler for those who may not"
                      let! login = ask "POST" "/login/admin" None
                      let signedIn = Some(token login)
                      clock.Advance(TimeSpan.FromMinutes 5L - TimeSpan.FromTicks 1L)

                      for path in [ "/vault"; "/giraffe-vault" ] do
                          let! answer = ask "GET" path signedIn
                          Expect.equal (answer.Status, answer.Body) (200, "ada") path

                      clock.Advance(TimeSpan.FromTicks 1L)
                      let! stale = ask "GET" "/vault" signedIn

                      Expect.equal
                          (stale.Status, stale.Header "location")
                          (302, Some "/login?ReturnUrl=%2Fvault&reason=insufficient_user_authentication")
                          "to the login page, with the reason"

                      let! stale = ask "GET" "/giraffe-vault" signedIn
                      Expect.equal stale.Status 401 "the handler for those who may not"
                  })) ]
