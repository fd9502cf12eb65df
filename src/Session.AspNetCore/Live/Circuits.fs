/// Blazor Server: a circuit ends together with the session that it was opened under. It outlives its connection, which the browser
/// replaces by itself; so it is the circuit that has to hear of the end, and each connection that takes it up is looked at. It outlives
/// even itself: what is kept of a paused or evicted one becomes another circuit, which has to know whose it was.
namespace Session.AspNetCore

open System
open System.Globalization
open System.Security.Claims
open System.Threading
open System.Threading.Tasks
open Microsoft.AspNetCore.Components
open Microsoft.AspNetCore.Components.Authorization
open Microsoft.AspNetCore.Components.Server.Circuits
open Microsoft.AspNetCore.Components.Web
open Microsoft.AspNetCore.Http
open Microsoft.AspNetCore.SignalR
open Microsoft.Extensions.DependencyInjection
open Microsoft.Extensions.DependencyInjection.Extensions

/// The connection by which a circuit is spoken to at the moment: the framework says it to hubs, and not to circuits.
[<Sealed>]
type internal CircuitConnection() =
    static let current = AsyncLocal<HubCallerContext | null>()
    static member Current = current.Value

    interface IHubFilter with
        member _.InvokeMethodAsync(invocation, next) =
            // The framework's own hub of circuits, and no other one.
            if invocation.Hub.GetType().Assembly = typeof<CircuitHandler>.Assembly then
                current.Value <- invocation.Context

            next.Invoke invocation

/// Whose session a circuit was opened under. None: nobody's, and it goes on as it is.
[<NoEquality; NoComparison>]
type private CircuitOwner = { Session: string; Elevations: int; Subject: string option }

[<Sealed>]
type internal SessionCircuit<'T>
    (navigation: NavigationManager, kept: PersistentComponentState, services: IServiceProvider) =
    inherit CircuitHandler()

    // A page that does not follow is cut off.
    let patience = TimeSpan.FromSeconds 5L

    let time =
        match services.GetService<TimeProvider>() with
        | null -> TimeProvider.System
        | time -> time

    let gate = Lock()
    let mutable isKnown = false
    let mutable owner: CircuitOwner option = None
    let mutable isOver = false
    let mutable watching: Watching<'T> | null = null
    let mutable listening: IDisposable | null = null

    let ownerOf (request: RequestSession<'T>) =
        match request.Id, request.Live with
        | Some id, Some live -> Some { Session = id; Elevations = live.Elevations; Subject = live.Subject }
        | _ -> None

    let isSame (one: CircuitOwner) (other: CircuitOwner option) =
        match other with
        | Some other -> one.Session = other.Session && one.Elevations = other.Elevations && one.Subject = other.Subject
        | None -> false

    // Without versions of assemblies: what was kept before an upgrade has its owner after it, too.
    let key = String.Concat("Session.CircuitOwner ", typeof<'T>.Namespace, ".", Shapes.nameOf typeof<'T>)

    /// Goes with what the page's components keep, under the framework's protection: on to a browser, a cache, another node.
    let keep () : Task =
        match owner with
        | Some owner ->
            kept.PersistAsJson(
                key,
                [| owner.Session
                   owner.Elevations.ToString CultureInfo.InvariantCulture
                   yield! Option.toArray owner.Subject |]
            )
        | None -> ()

        Task.CompletedTask

    let cutOff (connection: HubCallerContext) : Task =
        task {
            do! Task.Delay(patience, time)
            connection.Abort()
        }

    /// Nothing that the page sends is run any more; it shows nobody's view, and comes anew as whoever its cookies say.
    let close (connection: HubCallerContext) =
        lock gate (fun () -> isOver <- true)
        cutOff connection |> ignore<Task>

        match box (services.GetService<AuthenticationStateProvider>()) with
        | :? IHostEnvironmentAuthenticationStateProvider as provider ->
            provider.SetAuthenticationState(Task.FromResult(AuthenticationState(ClaimsPrincipal(ClaimsIdentity()))))
        | _ -> ()

        navigation.NavigateTo(navigation.Uri, forceLoad = true, replace = true)

    let leave () =
        let held, watched =
            lock gate (fun () ->
                let both = listening, watching
                listening <- null
                watching <- null
                both)

        match held with
        | null -> ()
        | held -> held.Dispose()

        match watched with
        | null -> ()
        | watched -> watched.Stop()

    /// Who takes up what was there before, on a connection that may have been open for as long, is looked at as of now.
    let read (its: RequestSession<'T>) (connection: HubCallerContext) =
        task {
            let wasRead = its.IsRead

            match! its.Load connection.ConnectionAborted with
            | Ok() when isKnown && wasRead -> return! its.Reload connection.ConnectionAborted
            | loaded -> return loaded
        }

    let take (connection: HubCallerContext) (context: HttpContext) : Task =
        task {
            let its = RequestSession.find<'T> context

            match! read its connection with
            | Error error -> raise (SessionFailure.toException error)
            | Ok() ->
                let whose = ownerOf its

                if not isKnown then
                    isKnown <- true
                    owner <- whose

                match owner with
                | None -> ()
                | Some first when isOver || not (isSame first whose) -> close connection
                | Some _ ->
                    let its = its.WatchApart()
                    watching <- its
                    listening <- its.Ended.UnsafeRegister(Action<objnull>(fun _ -> close connection), null)
        }

    override _.OnCircuitOpenedAsync(_circuit, _cancel) : Task =
        kept.RegisterOnPersisting(keep, RenderMode.InteractiveServer)
        |> ignore<PersistingComponentStateSubscription>

        let resume session (elevations: string) subject =
            isKnown <- true
            let elevations = Int32.Parse(elevations, CultureInfo.InvariantCulture)
            owner <- Some { Session = session; Elevations = elevations; Subject = subject }

        match kept.TryTakeFromJson<string array> key with
        | true, [| session; elevations |] -> resume session elevations None
        | true, [| session; elevations; subject |] -> resume session elevations (Some subject)
        | _ -> ()

        Task.CompletedTask

    override _.OnConnectionUpAsync(_circuit, _cancel) : Task =
        leave ()

        match CircuitConnection.Current with
        | null -> Task.CompletedTask
        | connection ->
            match connection.GetHttpContext() with
            | null -> Task.CompletedTask
            | context -> take connection context

    override _.OnConnectionDownAsync(_circuit, _cancel) : Task =
        leave ()
        Task.CompletedTask

    override _.CreateInboundActivityHandler(next) =
        Func<CircuitInboundActivityContext, Task>(fun activity ->
            if isOver then Task.CompletedTask else next.Invoke activity)

[<RequireQualifiedAccess>]
module SessionCircuits =
    /// Circuits end together with the session of 'T that they were opened under: after AddInteractiveServerComponents.
    let add<'T> (builder: IServerSideBlazorBuilder) : IServerSideBlazorBuilder =
        let services = builder.Services
        let isThere = services |> Seq.exists (fun it -> it.ServiceType = typeof<CircuitConnection>)

        if not isThere then
            let connections = CircuitConnection()
            services.AddSingleton<CircuitConnection> connections |> ignore

            services.Configure<HubOptions>(fun (options: HubOptions) -> options.AddFilter(connections :> IHubFilter))
            |> ignore

        services.TryAddEnumerable(ServiceDescriptor.Scoped<CircuitHandler, SessionCircuit<'T>>())
        builder
