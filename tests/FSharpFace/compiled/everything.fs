module Everything

open System
open System.Data.Common
open System.Security.Claims
open System.Threading.Tasks
open Microsoft.AspNetCore.Builder
open Microsoft.AspNetCore.Http
open Microsoft.Extensions.Configuration
open Microsoft.Extensions.DependencyInjection
open Session.AspNetCore
open Session.Engine

type Cart = { Items: string list; Note: string option }

let empty = { Items = []; Note = None }
let add sku cart = { (defaultArg cart empty) with Items = [ sku ] }

let addFew sku cart =
    match cart with
    | Some cart when cart.Items.Length > 9 -> Error "full"
    | cart -> Ok(add sku cart)

let request (ctx: HttpContext) =
    task {
        let! data = Session.tryGet<Cart> ctx
        let! read = Session.read<Cart> ctx
        let! reloaded = Session.reload<Cart> ctx
        let! id = Session.tryId<Cart> ctx
        let! subject = Session.subject<Cart> ctx
        let! created = Session.createdAt<Cart> ctx
        let! signedIn = Session.authenticatedAt<Cart> ctx
        let! ends = Session.expiresAt<Cart> ctx
        let! updated = Session.update (add "tea") ctx
        let! tried = Session.tryUpdate (addFew "tea") ctx
        let! saved = Session.save empty ctx
        let! begun = Session.create empty ctx
        let! mine = Session.signIn "ada" empty ctx
        let! theirs = Session.signInExternal (ExternalSession("https://id.example.com", "its session")) "ada" empty ctx
        let! fresh = Session.regenerate<Cart> ctx
        let! elevated = Session.regenerateWith empty ctx
        let! closing = Session.ended<Cart> ctx
        use listening = closing.Register(fun () -> ctx.Abort())
        let! over = Session.destroy<Cart> ctx

        match Session.endedBecause<Cart> ctx with
        | Some cause -> Console.WriteLine $"{cause}"
        | None -> ()

        match! Session.origin<Cart> ctx with
        | Session.Origin.Expired -> return "Your session has expired."
        | Session.Origin.New
        | Session.Origin.Resumed
        | Session.Origin.Invalid ->
            match! Session.state<Cart> ctx with
            | Session.State.None -> return "none"
            | Session.State.Created
            | Session.State.Active
            | Session.State.Regenerated -> return "live"
            | Session.State.Destroyed
            | Session.State.Expired -> return "over"
    }

let say error =
    match error with
    | SessionError.NoSession -> "none"
    | SessionError.Ended(Session.Ending.OnPurpose reason, at) -> $"{reason} at {at}"
    | SessionError.Ended(Session.Ending.ByTime kind, at) -> $"{kind} at {at}"
    | SessionError.Refused refusal -> $"{refusal}"
    | SessionError.Conflict
    | SessionError.Contended -> "again"
    | SessionError.LimitExceeded most
    | SessionError.LimitReached most -> $"{most} at most"
    | SessionError.TooLarge(bytes, limit) -> $"{bytes} of {limit}"
    | SessionError.Unwritable cause -> cause.Message
    | SessionError.InvalidSubject -> "nobody is called that"
    | SessionError.Unreadable reason -> reason
    | SessionError.NewerData(version, known) -> $"{version} after {known}"
    | SessionError.ResponseStarted
    | SessionError.CrossSite -> error.Sentence
    | SessionError.Unavailable _
    | SessionError.Unsure _
    | SessionError.Unacknowledged _ -> string error.Outcome
    | SessionError.Incomplete(ended, left, cause) -> $"{ended}, {left}, {cause.Status}"

let others (transaction: DbTransaction) (ctx: HttpContext) =
    task {
        let! listed = Sessions.list<Cart> "ada" ctx
        let! found = Sessions.find<Cart> "id" ctx
        let! own = Sessions.findOwn<Cart> "id" ctx
        let! updated = Sessions.update "id" (add "gift") ctx
        let! ended = Sessions.destroy<Cart> "id" ctx
        let! all = Sessions.destroyAll<Cart> "ada" ctx
        let! but = Sessions.destroyAllBut<Cart> "id" "ada" ctx
        let! within = Sessions.destroyAllIn<Cart> transaction "ada" ctx
        let! butWithin = Sessions.destroyAllButIn<Cart> transaction "id" "ada" ctx
        let! every = Sessions.destroyEvery<Cart> ctx

        return
            listed
            |> Result.map (
                List.map (fun info -> $"{info.Id} {info.Subject} {info.State} {info.LastSeen} {info.ExpiresAt}")
            )
    }

let job (transaction: DbTransaction) (services: IServiceProvider) =
    task {
        let! listed = SessionServices.list<Cart> "ada" services
        let! found = SessionServices.find<Cart> "id" services
        let! updated = SessionServices.update "id" (add "gift") services
        let! ended = SessionServices.destroy<Cart> "id" services
        let! all = SessionServices.destroyAll<Cart> "ada" services
        let! but = SessionServices.destroyAllBut<Cart> "id" "ada" services
        let! within = SessionServices.destroyAllIn<Cart> transaction "ada" services
        let! butWithin = SessionServices.destroyAllButIn<Cart> transaction "id" "ada" services
        let! every = SessionServices.destroyEvery<Cart> services
        return every
    }

let hear event (_: IServiceProvider) : Task =
    match event with
    | SessionEvent.Created facts
    | SessionEvent.SignedIn facts
    | SessionEvent.Replayed facts
    | SessionEvent.Outdated facts -> Console.Out.WriteLineAsync $"{facts.Id} {facts.Subject} {facts.At}"
    | SessionEvent.Regenerated(_, Session.RegenerationReason.Renewal) -> Task.CompletedTask
    | SessionEvent.Regenerated(_, reason) -> Console.Out.WriteLineAsync $"{reason}"
    | SessionEvent.Destroyed(facts, reason) -> Console.Out.WriteLineAsync $"{facts.Data |> Option.map _.Items} {reason}"
    | SessionEvent.Expired(_, kind) -> Console.Out.WriteLineAsync $"{kind}"
    | SessionEvent.Refused(_, Session.RefusalReason.Guessed) -> Console.Out.WriteLineAsync $"{event.Facts.Id}"
    | SessionEvent.Refused _
    | SessionEvent.Unreadable _ -> Task.CompletedTask

let hours settings =
    { settings with
        IdleTimeout = TimeSpan.FromHours 1
        WhenLimitReached = Session.LimitPolicy.EndOldest
        OnReplay = Session.OnReplay.DestroySession }

let services (services: IServiceCollection) (configuration: IConfiguration) =
    services.AddSession<Cart>(hours, onEvent = hear).UseMemory() |> ignore

    services.AddSessionWith<Cart>(fun provider settings ->
        settings |> hours |> SessionConfiguration.apply (configuration.GetSection "Session"))
    |> ignore

    services
        .AddAuthentication()
        .AddSession<Cart>(fun scheme ->
            { scheme with
                LoginPath = Some "/sign-in"
                Claims = fun _ cart -> [ Claim(ClaimTypes.Role, if cart.Items.IsEmpty then "guest" else "buyer") ] })
    |> ignore

let app (app: WebApplication) =
    app.UseSession<Cart>() |> ignore
    app |> SessionStatus.map<Cart> "/session" |> ignore

    app
    |> MySessions.map<Cart> "/account/sessions" (fun page ->
        { page with
            Title = "Where you are signed in"
            Describe = fun info cart -> if info.Subject.IsSome then cart |> Option.map string else None })
    |> ignore

    (app
     |> SessionDashboard.map<Cart> "/operators/sessions" (fun page ->
         { page with
             Title = "Sessions of the shop"
             ShowData = Some string
             AlwaysCount = true }))
        .RequireAuthorization
        "Operators"
    |> ignore

    app.MapPost(
        "/password",
        RequestDelegate(
            SessionEndpoint.requireSignInWithin<Cart> (TimeSpan.FromMinutes 5L) (fun ctx ->
                Session.allowCrossSite ctx
                ctx.Response.WriteAsync "changed")
        )
    )
    |> SessionEndpoint.allowCrossSite [ "https://accounts.example.com" ]
    |> SessionEndpoint.noTouch
    |> ignore

    app.MapGet("/me", RequestDelegate(SessionEndpoint.requireSignIn<Cart>(fun ctx -> ctx.Response.WriteAsync "ada")))
    |> SessionEndpoint.allowSharedCaching
    |> ignore
