/// Guards endpoints that need a session, and turns failed session operations into answers. It touches no session by
/// itself: a request that needs none costs nothing here.
namespace Session.AspNetCore

open System
open System.Threading.Tasks
open Microsoft.AspNetCore.Http
open Microsoft.AspNetCore.Http.Features
open Session.Engine

/// What `UseSession` puts into the pipeline.
[<Sealed>]
type SessionMiddleware<'T>(next: RequestDelegate, service: SessionService<'T>) =
    do service.IsMounted <- true
    let passed = SessionPassed<'T> service

    let isFor (metadata: IRequireSessionMetadata) =
        match metadata.DataType with
        | null -> true
        | dataType -> dataType = typeof<'T>

    /// `body`: as it was. What keeps the response back may have left its own in its place, and have closed that.
    let answer (context: HttpContext) (body: obj | null) (failure: SessionFailedException) =
        if context.Response.HasStarted then
            EdgeLog.failedLate service.Log failure
        elif not (obj.ReferenceEquals(context.Features[typeof<IHttpResponseBodyFeature>], body)) then
            context.Features[typeof<IHttpResponseBodyFeature>] <- body

        let kind =
            match context.Features[typeof<FailedKind>] with
            | :? FailedKind as failed -> failed.DataType
            | _ -> typeof<'T>

        Answers.writeOf kind context failure.StatusCode failure.Message

    let watch (running: Task) (context: HttpContext) (body: obj | null) : Task =
        task {
            try
                do! running
            with :? SessionFailedException as failure ->
                do! answer context body failure
        }

    let pass (context: HttpContext) : Task =
        let body = context.Features[typeof<IHttpResponseBodyFeature>]

        try
            let running = next.Invoke context
            if running.IsCompletedSuccessfully then running else watch running context body
        with :? SessionFailedException as failure ->
            answer context body failure

    let guard (context: HttpContext) (endpoint: Endpoint) (needsSubject: bool) (maxAge: TimeSpan) : Task =
        task {
            let request = RequestSession.find<'T> context

            match! request.Load context.RequestAborted with
            | Error error -> do! Answers.failed context error
            | Ok() ->
                match request.Live with
                | Some live when needsSubject && live.Subject.IsNone ->
                    do! Answers.writeOf typeof<'T> context 401 "Nobody is signed in to this session."
                | Some live when needsSubject && not (SessionGuard.isFresh maxAge (service.Clock.GetUtcNow()) live) ->
                    do! Answers.stale typeof<'T> context maxAge
                | Some _ ->
                    SessionGuard.admit context endpoint typeof<'T>
                    do! pass context
                | None ->
                    match Nobody.isSure request with
                    | Ok() -> do! Answers.writeOf typeof<'T> context 401 "There is no live session."
                    | Error error -> do! Answers.failed context error
        }

    /// Reads the session first, since the framework's antiforgery asks for it without waiting.
    let readThenPass (context: HttpContext) : Task =
        task {
            match! (RequestSession.find<'T> context).Load context.RequestAborted with
            | Error error -> do! Answers.failed context error
            | Ok() -> do! pass context
        }

    member _.Invoke(context: HttpContext) : Task =
        let received = Received.Of(service.Clock, context)

        if isNull received.First then
            received.First <- context.GetEndpoint()

        // For whoever looks for it: the framework makes a scope of services for each request that asks for one.
        context.Features[typeof<SessionPassed<'T>>] <- passed

        if service.Transport.IsAmbiguous context then
            Answers.write context 400 "The request has its session token in a cookie and in a header: send one of them."
        else
            match context.GetEndpoint() with
            | null -> pass context
            | endpoint ->
                // All of them: an endpoint may need sessions of two kinds.
                let required = endpoint.Metadata.GetOrderedMetadata<IRequireSessionMetadata>()
                let mutable isGuarded = false
                let mutable needsSubject = false

                for i in 0 .. required.Count - 1 do
                    if isFor required[i] then
                        isGuarded <- true
                        needsSubject <- needsSubject || required[i].SignedIn

                if isGuarded && not (SessionGuard.isOpenToAll endpoint) then
                    guard context endpoint needsSubject (SessionGuard.maxAge endpoint)
                elif service.Transport.HasAny context && Antiforgery.isAsked context endpoint then
                    readThenPass context
                else
                    pass context
