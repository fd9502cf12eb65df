/// The user of a Blazor circuit, which lives longer than the request that it began with.
namespace Session.AspNetCore

open System
open System.Security.Claims
open System.Threading
open System.Threading.Tasks
open Microsoft.AspNetCore.Components.Authorization
open Microsoft.AspNetCore.Components.Server
open Microsoft.Extensions.DependencyInjection
open Microsoft.Extensions.Logging
open Microsoft.Extensions.Options
open Session.Domain
open Session.Engine

/// Looks at the session of the circuit's user again and again, one store call each time, which extends nothing. Signed out as soon
/// as the session is over or another subject's; new claims, when its data gives others.
/// A store that does not answer signs nobody out before the session's deadline as it was last seen.
[<Sealed>]
type SessionAuthenticationStateProvider<'T>
    internal
    (
        service: SessionService<'T>,
        schemes: IOptionsMonitor<SessionSchemeOptions<'T>>,
        loggers: ILoggerFactory,
        interval: TimeSpan
    ) =
    inherit RevalidatingServerAuthenticationStateProvider(loggers)

    let policy = service.Engine.Settings.Policy
    // For a user of whom nothing more is known.
    let longest = service.Clock.GetUtcNow() + service.Settings.IdleTimeout
    // Of the session that was looked at last.
    let mutable seen: struct (string * DateTimeOffset) voption = ValueNone

    /// As of the last look; before there was one, as the request saw it that the circuit was opened by.
    let endsAt (session: Claim) =
        match seen with
        | ValueSome(struct (id, at)) when id = session.Value -> at
        | _ -> SessionUser.endOf session |> Option.defaultValue longest

    let fresh (scheme: string) (id: string) (subject: string) endsAt (live: Live) =
        match service.Deserialize live.Data with
        | Ok(Some data) -> Some(SessionUser.make scheme (schemes.Get scheme) id subject (Some endsAt) (Some data))
        | Ok None
        | Error _ -> None

    /// The user as the session has it now; None: it is over, or somebody else's.
    let look (identity: ClaimsIdentity) (user: ClaimsPrincipal) (session: Claim) (cancel: CancellationToken) =
        task {
            let subject = session.Properties[SessionUser.SubjectProperty]

            match! service.Engine.Find(session.Value, cancel) with
            | Error _ -> return if service.Clock.GetUtcNow() < endsAt session then Some user else None
            | Ok None -> return None
            | Ok(Some snapshot) ->
                let state = Lifecycle.settle policy (service.Clock.GetUtcNow()) snapshot.State

                match Lifecycle.liveOf state with
                | Some live when live.Subject = Some subject ->
                    match service.Engine.Deadline state with
                    | ValueSome(struct (_, at)) -> seen <- ValueSome(struct (session.Value, at))
                    | ValueNone -> ()

                    return
                        fresh (string identity.AuthenticationType) session.Value subject (endsAt session) live
                        |> Option.orElse (Some user)
                | _ -> return None
        }

    override _.RevalidationInterval = interval

    override provider.ValidateAuthenticationStateAsync(state, cancel) =
        let user = state.User

        match user.FindFirst SessionUser.IdClaim with
        // Whoever that is, no session says so.
        | null -> Task.FromResult true
        | session ->
            task {
                let identity =
                    match session.Subject with
                    | null -> ClaimsIdentity()
                    | identity -> identity

                match! look identity user session cancel with
                | None -> return false
                | Some now ->
                    // One that was put together from several schemes stays as it is.
                    if Seq.length user.Identities = 1 && not (SessionUser.isSame user now) then
                        provider.SetAuthenticationState(Task.FromResult(AuthenticationState now))

                    return true
            }

[<RequireQualifiedAccess>]
module SessionRevalidation =
    /// Default: 1 minute between two looks.
    let interval = TimeSpan.FromMinutes 1L

    /// The authentication state of Blazor circuits from the sessions of 'T: after AddInteractiveServerComponents.
    let add<'T> (interval: TimeSpan) (services: IServiceCollection) : IServiceCollection =
        if interval <= TimeSpan.Zero then
            invalidArg (nameof interval) "The time between two looks at a session is longer than none."

        services.AddScoped<AuthenticationStateProvider>(fun provider ->
            new SessionAuthenticationStateProvider<'T>(
                provider.GetRequiredService<SessionService<'T>>(),
                provider.GetRequiredService<IOptionsMonitor<SessionSchemeOptions<'T>>>(),
                provider.GetRequiredService<ILoggerFactory>(),
                interval
            ))
