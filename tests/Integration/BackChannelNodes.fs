/// Nodes of an application that an identity provider signs users in to, and out of: over HTTP, with real keys and discovery.
module Integration.BackChannelNodes

open System
open System.Buffers.Text
open System.Diagnostics
open System.Net.Http
open System.Security.Cryptography
open System.Text
open System.Text.Json
open System.Threading
open System.Threading.Tasks
open Expecto
open Microsoft.AspNetCore.Builder
open Microsoft.AspNetCore.Hosting
open Microsoft.AspNetCore.Http
open Microsoft.Extensions.DependencyInjection
open Microsoft.Extensions.Logging
open Integration.Http
open Integration.World
open Session.AspNetCore
open Session.Engine

type Basket = { Items: int }

let said (handler: HttpContext -> Task) = RequestDelegate handler

let addressOf (app: WebApplication) = Uri(Seq.head app.Urls)

let serving (services: IServiceCollection -> unit) (map: WebApplication -> unit) =
    task {
        let builder = WebApplication.CreateSlimBuilder()
        builder.Logging.ClearProviders() |> ignore
        builder.WebHost.UseUrls "http://127.0.0.1:0" |> ignore
        services builder.Services
        let app = builder.Build()
        map app
        do! app.StartAsync()
        return app
    }

// -- the provider

let key = ECDsa.Create(ECCurve.NamedCurves.nistP256)
let encode (bytes: byte array) = Base64Url.EncodeToString(ReadOnlySpan bytes)

let provider =
    lazy
        ((task {
            let it = key.ExportParameters false

            let shown =
                $$"""{"keys":[{"kty":"EC","use":"sig","kid":"one","crv":"P-256","x":"{{encode (nonNull it.Q.X)}}","y":"{{encode (nonNull it.Q.Y)}}"}]}"""

            let answer (text: string) =
                said (fun context ->
                    context.Response.ContentType <- "application/json"
                    context.Response.WriteAsync text)

            return!
                serving ignore (fun app ->
                    app.MapGet("/keys", answer shown) |> ignore

                    app.MapGet(
                        "/.well-known/openid-configuration",
                        said (fun context ->
                            let issuer = $"http://{context.Request.Host}"
                            context.Response.ContentType <- "application/json"

                            context.Response.WriteAsync $$"""{"issuer":"{{issuer}}","jwks_uri":"{{issuer}}/keys"}""")
                    )
                    |> ignore)
        })
            .GetAwaiter()
            .GetResult())

let issuer () = (addressOf (provider.Force())).GetLeftPart UriPartial.Authority

let logoutToken (claim: string) (value: string) =
    let now = DateTimeOffset.UtcNow.ToUnixTimeSeconds()
    let text (value: string) = JsonSerializer.Serialize value

    let claims =
        $$"""{"iss":{{text (issuer ())}},"aud":"shop","iat":{{now}},"exp":{{now + 120L}},"jti":"{{Guid.NewGuid()}}","events":{"http://schemas.openid.net/event/backchannel-logout":{} },"{{claim}}":{{text value}}}"""

    let part (json: string) = encode (Encoding.UTF8.GetBytes json)

    let signed = part """{"alg":"ES256","kid":"one","typ":"logout+jwt"}""" + "." + part claims

    signed + "." + encode (key.SignData(Encoding.ASCII.GetBytes signed, HashAlgorithmName.SHA256))

// -- the application

let signIn (context: HttpContext) : Task =
    task {
        let asked (name: string) = string context.Request.Query[name]

        match!
            Session.signInExternal (ExternalSession(issuer (), asked "sid")) (asked "user") { Items = 0 } context
        with
        | Ok _ -> ()
        | Error(SessionError.Ended _) -> context.Response.StatusCode <- 401
        | Error error -> failtestf "%A" error
    }

let write (context: HttpContext) : Task =
    task {
        match! Session.save { Items = 1 } context with
        | Ok _ -> ()
        | Error _ -> context.Response.StatusCode <- 409
    }

let who (context: HttpContext) : Task =
    task {
        match! Session.subject<Basket> context with
        | Some user -> do! context.Response.WriteAsync user
        | None -> context.Response.StatusCode <- 401
    }

let patience = TimeSpan.FromSeconds 2L

let node (choose: SessionBuilder -> unit) =
    serving
        (fun services ->
            choose (services.AddSession<Basket>(fun (s: SessionSettings) -> { s with RequestTimeout = patience })))
        (fun app ->
            app.UseSession<Basket>() |> ignore
            app.MapPost("/login", said signIn) |> ignore
            app.MapPost("/write", said write) |> ignore
            app.MapGet("/who", said who) |> ignore

            app.MapBackChannelLogout<Basket>(
                "/out",
                fun o ->
                    o.Authority <- issuer ()
                    o.Audience <- "shop"
                    o.RequireHttpsMetadata <- false
            )
            |> ignore)

let onStore (store: unit -> ISessionStore) (sessions: SessionBuilder) = sessions.UseStore(fun _ -> store ()) |> ignore

let client = lazy (newClient ())

/// Nodes, until `body` is done.
let nodes (choices: (SessionBuilder -> unit) list) (body: WebApplication list -> Task<unit>) =
    task {
        let! apps = choices |> List.map node |> Http.all

        try
            do! body (List.ofArray apps)
        finally
            for app in apps do
                app.DisposeAsync().AsTask().GetAwaiter().GetResult()
    }

let cookie (token: string) = [ "Cookie", "__Host-sid=" + token ]

/// The token of somebody who comes from this session of the provider's; None: they are refused.
let comes (app: WebApplication) (user: string) (sid: string) =
    task {
        let! answer = send (client.Force()) (addressOf app) "POST" $"/login?user={user}&sid={sid}" []

        match answer.Status with
        | 200 -> return Some(token answer)
        | 401 when answer.SetCookies.IsEmpty -> return None
        | status -> return failtestf "the sign-in: %d %A" status answer
    }

let came app user sid =
    task {
        let! token = comes app user sid
        return Expect.wantSome token "signed in"
    }

/// Whose session this token opens here; "-": nobody's.
let opens (app: WebApplication) (token: string) =
    task {
        let! answer = send (client.Force()) (addressOf app) "GET" "/who" (cookie token)
        return if answer.Status = 200 then answer.Body else "-"
    }

let open' (app: WebApplication) (tokens: string list) =
    task {
        let! users = tokens |> List.map (opens app) |> Http.all
        return String.Join(' ', users)
    }

/// Status, and the kind of refusal and its description.
let posts (app: WebApplication) (logout: string) =
    task {
        use form = new FormUrlEncodedContent(dict [ "logout_token", logout ])
        use! answer = client.Force().PostAsync(Uri(addressOf app, "/out"), form)
        let! body = answer.Content.ReadAsStringAsync()
        return int answer.StatusCode, body
    }

let logsOut app claim value =
    task {
        let! answer = posts app (logoutToken claim value)
        Expect.equal answer (200, "") "the logout"
    }

/// Timers are too coarse for what these races are about.
let after (microseconds: int) =
    task {
        let began = Stopwatch.GetTimestamp()

        while Stopwatch.GetElapsedTime began < TimeSpan.FromMicroseconds(float microseconds) do
            do! Task.Yield()
    }
