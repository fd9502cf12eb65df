/// What docs/FSHARP.md says of registration, settings, events and errors.
module FSharpFace.Programs.Registrations

open System
open System.Threading.Tasks
open Microsoft.AspNetCore.Builder
open Microsoft.AspNetCore.Http
open Microsoft.Extensions.Configuration
open Microsoft.Extensions.DependencyInjection
open Microsoft.Extensions.Logging
open Session.AspNetCore

type Preferences = { Theme: string }

let inCode (builder: WebApplicationBuilder) =
    builder.Services
        .AddSession<Cart>(fun settings ->
            { settings with
                IdleTimeout = TimeSpan.FromMinutes 20L
                OnReplay = Session.OnReplay.RefuseToken
                MaxSessionsPerSubject = Some 5
                WhenLimitReached = Session.LimitPolicy.RefuseNew })
        .UseSqlite("sessions.db")

let fromConfiguration (builder: WebApplicationBuilder) =
    builder.Services
        .AddSessionWith<Cart>(fun services settings ->
            let configuration = services.GetRequiredService<IConfiguration>()
            settings |> SessionConfiguration.apply (configuration.GetSection "Session"))
        .UseSqlite("sessions.db")

let twoKinds (builder: WebApplicationBuilder) =
    builder.Services.AddSession<Cart>(id).UseSqlite("carts.db") |> ignore

    builder.Services
        .AddSession<Preferences>(fun settings ->
            { settings with
                CookieName = Some "__Host-theme"
                AbsoluteTimeout = TimeSpan.FromDays 30 })
        .UseSqlite("preferences.db")
    |> ignore

let tell (event: SessionEvent<Cart>) (services: IServiceProvider) : Task =
    task {
        let log = services.GetRequiredService<ILogger<Cart>>()

        match event with
        | SessionEvent.SignedIn { Subject = Some name } -> log.LogInformation("{Name} has signed in", name)
        | SessionEvent.Destroyed({ Subject = Some name }, Session.DestroyReason.Replayed) ->
            log.LogWarning("{Name} may have lost a token", name)
        | event -> log.LogDebug("{Event}", event)
    }

let withEvents (builder: WebApplicationBuilder) =
    builder.Services.AddSession<Cart>((fun settings -> { settings with HearsExpiry = true }), onEvent = tell)

let say (error: SessionError) =
    match error with
    | SessionError.NoSession
    | SessionError.Ended _
    | SessionError.Refused _ -> "Please sign in."
    | SessionError.Conflict -> "Somebody else was faster: look again."
    | SessionError.TooLarge(_, limit) -> $"That is more than {limit} bytes."
    | error when error.Outcome = Session.Outcome.NothingChanged -> error.Sentence
    | error -> $"It may have been stored: {error}"

/// What the cart says no to.
type Refusal =
    | Full
    | Already of string

let addOnce sku (cart: Cart option) =
    match cart with
    | Some cart when cart.Items.Length >= 10 -> Error Full
    | Some cart when List.contains sku cart.Items -> Error(Already sku)
    | cart -> Ok(add sku cart)

let addOnceTo sku (ctx: HttpContext) : Task<string> =
    task {
        match! Session.tryUpdate (addOnce sku) ctx with
        | Ok cart -> return $"{cart.Items.Length} items"
        | Error(UpdateError.Declined Full) -> return "The cart is full."
        | Error(UpdateError.Declined(Already sku)) -> return $"There is {sku} in it."
        | Error(UpdateError.Failed error) -> return say error
    }
