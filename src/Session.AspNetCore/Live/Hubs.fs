/// SignalR: a connection ends together with the session that it was opened under, whatever carries it.
namespace Session.AspNetCore

open System
open System.Collections.Concurrent
open System.Runtime.ExceptionServices
open System.Threading
open System.Threading.Tasks
open Microsoft.AspNetCore.Builder
open Microsoft.AspNetCore.Hosting
open Microsoft.AspNetCore.Http
open Microsoft.AspNetCore.SignalR
open Microsoft.Extensions.DependencyInjection
open Microsoft.Extensions.DependencyInjection.Extensions
open Session.Domain
open Session.Engine

/// A connection that later requests may take up: the session that it was opened under, and the tokens of its requests.
[<Sealed>]
type internal HubConnection(session: string, first: SecretHash voption) =
    // The token is renewed while the connection is open. Old ones come with what was sent before.
    let mutable known = ValueOption.toList first
    let kept = 8

    member _.Session = session
    member _.Knows(secret: SecretHash) = List.contains secret (Volatile.Read &known)
    member _.Learn(secret: SecretHash) = Volatile.Write(&known, List.truncate kept (secret :: known))

/// Which connections were opened under which session, by the secret that the client adds to each of its requests.
[<Sealed>]
type internal HubConnections<'T>() =
    let connections = ConcurrentDictionary<string, HubConnection>(StringComparer.Ordinal)

    /// None where a connection is a single request, which nobody takes up again.
    static let secretOf (context: HttpContext) = string context.Request.Query["id"]

    member _.Open(service: SessionService<'T>, context: HttpContext, session: string) =
        match secretOf context with
        | "" -> ()
        | secret ->
            let token =
                match service.Transport.Read context with
                | TokenCame token when token.Id = session -> ValueSome(token.Hash)
                | _ -> ValueNone

            connections[secret] <- HubConnection(session, token)

    member _.Close(context: HttpContext) = connections.TryRemove(secretOf context) |> ignore

    /// The connection that a request takes up, if it is a request of one.
    member _.Of(context: HttpContext) : HubConnection voption =
        if context.Request.QueryString.HasValue && not connections.IsEmpty then
            match connections.TryGetValue(secretOf context) with
            | true, connection -> ValueSome connection
            | false, _ -> ValueNone
        else
            ValueNone

/// Polls, messages and reconnects come as requests of their own: each has to come from the session of its connection. Its id is
/// public: a token that the connection has not seen yet is looked up in the store, once.
[<Sealed>]
type internal HubDoor<'T>(service: SessionService<'T>, connections: HubConnections<'T>) =
    let foreign context = Answers.write context 403 "This connection belongs to another session: open one of its own."

    let lookUp
        (connection: HubConnection)
        (token: PresentedToken)
        (context: HttpContext)
        (next: RequestDelegate)
        : Task =
        task {
            // What it comes to is told: a renewal may be confirmed by it, or a theft be found.
            match! Tickets.look service token context.RequestAborted with
            | Ok _ ->
                connection.Learn(token.Hash)
                do! next.Invoke context
            | Error(SessionError.Unavailable _ as error) -> do! Answers.failed context error
            | Error _ -> do! foreign context
        }

    /// A browser asks whether a page of another origin may send what comes next. It asks without cookies, and takes up nothing.
    let isPreflight (request: HttpRequest) =
        HttpMethods.IsOptions request.Method
        && request.Headers.ContainsKey "Origin"
        && request.Headers.ContainsKey "Access-Control-Request-Method"

    let pass (context: HttpContext) (next: RequestDelegate) : Task =
        match connections.Of context with
        | ValueNone -> next.Invoke context
        | ValueSome _ when isPreflight context.Request -> next.Invoke context
        | ValueSome connection ->
            match service.Transport.Read context with
            | TokenCame token when token.Id <> connection.Session -> foreign context
            | TokenCame token when connection.Knows(token.Hash) -> next.Invoke context
            | TokenCame token -> lookUp connection token context next
            | Arrival.Garbage
            | NothingCame -> foreign context

    interface IStartupFilter with
        member _.Configure(next) =
            Action<IApplicationBuilder>(fun app ->
                app.Use(Func<HttpContext, RequestDelegate, Task> pass) |> ignore
                next.Invoke app)

/// What a connection keeps of its session.
[<Sealed>]
type internal HubWatch<'T>(request: RequestSession<'T>, context: HubCallerContext) =
    do request.Watching.OutliveRequest()
    let ended = request.Watching.Ended

    let registration =
        ended.UnsafeRegister(
            Action<objnull>(fun it ->
                match it with
                | :? HubCallerContext as context -> context.Abort()
                | _ -> ()),
            context
        )

    member _.HasEnded = ended.IsCancellationRequested

    member _.Leave() =
        registration.Dispose()
        request.Watching.Stop()

[<Sealed>]
type internal SessionHubFilter<'T>(connections: HubConnections<'T>) =
    let watchOf (context: HubCallerContext) =
        match context.Items.TryGetValue typeof<SessionHubFilter<'T>> with
        | true, (:? HubWatch<'T> as watch) -> ValueSome watch
        | _ -> ValueNone

    /// The hub has not heard of the connection, and hears of no end of it.
    let refuse (context: HubCallerContext) =
        context.Items[typeof<HubDoor<'T>>] <- true
        context.Abort()

    interface IHubFilter with
        member _.OnConnectedAsync(connected: HubLifetimeContext, next: Func<HubLifetimeContext, Task>) : Task =
            task {
                match connected.Context.GetHttpContext() with
                | null -> do! next.Invoke connected
                | context ->
                    let request = RequestSession.find<'T> context

                    match! request.Load connected.Context.ConnectionAborted with
                    | Error error -> return raise (SessionFailure.toException error)
                    | Ok() ->
                        // First: once anything is seen of the connection, no other session takes it up.
                        match request.Id with
                        | Some id -> connections.Open(request.Service, context, id)
                        | None -> ()

                        let watch = HubWatch<'T>(request, connected.Context)

                        if watch.HasEnded then
                            connections.Close context
                            refuse connected.Context
                        else
                            if request.Id.IsSome then
                                connected.Context.Items[typeof<SessionHubFilter<'T>>] <- watch

                            try
                                do! next.Invoke connected
                            with failure ->
                                // The hub refuses the connection: nobody says that it is over.
                                watch.Leave()
                                connections.Close context
                                ExceptionDispatchInfo.Throw failure
            }

        member _.InvokeMethodAsync
            (invocation: HubInvocationContext, next: Func<HubInvocationContext, ValueTask<objnull>>)
            : ValueTask<objnull> =
            match watchOf invocation.Context with
            // Its connection is closed in this moment.
            | ValueSome watch when watch.HasEnded -> raise (HubException "The session has ended.")
            | _ -> next.Invoke invocation

        member _.OnDisconnectedAsync
            (connected: HubLifetimeContext, failure: exn | null, next: Func<HubLifetimeContext, exn | null, Task>)
            : Task =
            task {
                match watchOf connected.Context, connected.Context.GetHttpContext() with
                | ValueSome watch, context ->
                    watch.Leave()

                    match context with
                    | null -> ()
                    | context -> connections.Close context
                | ValueNone, _ -> ()

                if not (connected.Context.Items.ContainsKey typeof<HubDoor<'T>>) then
                    do! next.Invoke(connected, failure)
            }

[<RequireQualifiedAccess>]
module SessionHubs =
    /// Connections of hubs end together with the session of 'T that they were opened under.
    let add<'T> (builder: ISignalRServerBuilder) : ISignalRServerBuilder =
        let isThere = builder.Services |> Seq.exists (fun it -> it.ServiceType = typeof<HubConnections<'T>>)

        if not isThere then
            let connections = HubConnections<'T>()
            builder.Services.AddSingleton<HubConnections<'T>> connections |> ignore
            builder.Services.TryAddEnumerable(ServiceDescriptor.Singleton<IStartupFilter, HubDoor<'T>>())

            builder.Services.Configure<HubOptions>(fun (options: HubOptions) ->
                options.AddFilter(SessionHubFilter<'T> connections))
            |> ignore

        builder
