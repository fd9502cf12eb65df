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

/// Which connections were opened under which session: the secret of a connection, and the public id of the session.
[<Sealed>]
type internal HubConnections<'T>() =
    let sessions = ConcurrentDictionary<string, string>(StringComparer.Ordinal)

    /// What the client adds to each of its requests; none where a connection is a single request, which nobody takes up again.
    static let secretOf (context: HttpContext) = string context.Request.Query["id"]

    member _.Open(context: HttpContext, session: string) =
        match secretOf context with
        | "" -> ()
        | secret -> sessions[secret] <- session

    member _.Close(context: HttpContext) = sessions.TryRemove(secretOf context) |> ignore

    /// Whether the request takes up a connection that was opened under another session. No store is asked: the session of the
    /// connection is watched.
    member _.IsForeign(service: SessionService<'T>, context: HttpContext) =
        context.Request.QueryString.HasValue
        && not sessions.IsEmpty
        && (match sessions.TryGetValue(secretOf context) with
            | false, _ -> false
            | true, session ->
                match service.Transport.Read context with
                | TokenCame token -> token.Id <> session
                | Arrival.Garbage
                | NothingCame -> true)

/// Polls, messages and reconnects come as requests of their own: each has to come from the session of its connection.
[<Sealed>]
type internal HubDoor<'T>(service: SessionService<'T>, connections: HubConnections<'T>) =
    interface IStartupFilter with
        member _.Configure(next) =
            Action<IApplicationBuilder>(fun app ->
                app.Use(
                    Func<HttpContext, RequestDelegate, Task>(fun context next ->
                        if connections.IsForeign(service, context) then
                            Answers.write
                                context
                                403
                                "This connection belongs to another session: open one of its own."
                        else
                            next.Invoke context)
                )
                |> ignore

                next.Invoke app)

/// What a connection keeps of its session.
[<Sealed>]
type internal HubWatch<'T>(request: RequestSession<'T>, context: HubCallerContext) =
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
                        let watch = HubWatch<'T>(request, connected.Context)

                        if watch.HasEnded then
                            connected.Context.Abort()
                        else
                            match request.Id with
                            | Some id ->
                                connected.Context.Items[typeof<SessionHubFilter<'T>>] <- watch
                                connections.Open(context, id)
                            | None -> ()

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
