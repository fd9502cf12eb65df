/// The session of one request: loaded at the first touch, changed by explicit calls, each stored when it returns.
namespace Session.AspNetCore

open System
open System.Runtime.ExceptionServices
open System.Threading
open System.Threading.Tasks
open Microsoft.AspNetCore.Http
open Microsoft.Extensions.DependencyInjection
open Session.Domain
open Session.Engine

/// That a request passed the middleware: the same for all of them.
[<Sealed>]
type internal SessionPassed<'T>(service: SessionService<'T>) =
    member _.Service = service

[<Sealed>]
type internal RequestSession<'T>
    private (service: SessionService<'T>, context: HttpContext, received: Received, around: RequestSession<'T> | null) =
    let visit = Visit<'T>(service, context, received)
    let errand = visit.Errand
    let turn = Turn()
    let mutable hasSignedOut = false
    let mutable watching: Watching<'T> | null = null

    let isRead () =
        match visit.Presence with
        | NotRead -> false
        // A connection that was opened while the store was away (ContinueWithoutStore) has its session once it is back.
        | Shut(SessionError.Unavailable _) -> visit.CanIssue
        | _ ->
            visit.LookAgain()
            true

    /// A request waits no longer than it may, all its operations together. What lives on behind its answer, such as a WebSocket, a
    /// stream or a hub's connection, may ask the store for hours: each of its operations waits as long as a request.
    let renewBehindAnswer () =
        if errand.HasWaited && not visit.CanIssue then
            errand.Renew()

    /// One at a time. What is to be told is told when the next one may begin, for a handler may be the next one.
    let takingTurn hasTurn (operation: unit -> Task<Result<'a, SessionError>>) : Task<Result<'a, SessionError>> =
        task {
            let waits = visit.Engine.Waits
            let! isIts = if hasTurn then Task.FromResult true else turn.Take(waits.RequestTimeout, waits.Timer)

            if not isIts then
                return Error SessionError.Contended
            else
                let mutable answer = Error SessionError.NoSession
                let mutable thrown: ExceptionDispatchInfo | null = null

                if not hasTurn then
                    renewBehindAnswer ()

                try
                    try
                        visit.HasLostToken <- false
                        let! result = operation ()
                        answer <- result

                        if visit.HasLostToken then
                            let! ended = Leaving.endLost visit
                            answer <- result |> Result.bind (fun _ -> Error ended)
                    with error ->
                        thrown <- ExceptionDispatchInfo.Capture error
                finally
                    errand.Pause()
                    turn.Leave()

                if isNull thrown && answer.IsError then
                    visit.NoteFailed()

                // What had happened before something threw is told all the same.
                do! visit.Engine.TellAll errand

                match thrown with
                | null -> ()
                | thrown -> thrown.Throw()

                return answer
        }

    /// Also of a session that is over, by this request perhaps.
    let idNow () =
        match visit.Presence with
        | Gone { Id = ValueSome its } -> its
        | presence ->
            match Presence.opened presence with
            | ValueSome opened -> opened.Snapshot.Id
            | ValueNone -> ""

    /// In a span of this name, where this request's trace is followed.
    let within name (work: unit -> Task<Result<'a, SessionError>>) : Task<Result<'a, SessionError>> =
        match visit.Engine.Telemetry.Begin name with
        | null -> work ()
        | span -> Spans.operation visit.Engine.Telemetry span idNow work

    /// Reads what the request has, if nothing has yet, and does something with it.
    let presenceThen cancel (operation: unit -> Task<Result<'a, SessionError>>) () : Task<Result<'a, SessionError>> =
        let readFirst () =
            task {
                match! Reading.read visit cancel with
                | Error error -> return Error error
                | Ok() -> return! operation ()
            }

        takingTurn false (fun () -> if isRead () then operation () else readFirst ())

    let withPresence name cancel operation = OffContext.start (fun () -> within name (presenceThen cancel operation))

    let load cancel = presenceThen cancel (fun () -> Task.FromResult(Ok()))

    /// A store in this process answers at once, and costs no state machine.
    let loadAtOnce cancel : ValueTask<Result<unit, SessionError>> =
        if turn.TryTake() then
            renewBehindAnswer ()

            let reading =
                try
                    Reading.read visit cancel
                with error ->
                    ValueTask.FromException<Result<unit, SessionError>> error

            if reading.IsCompletedSuccessfully && not errand.HasNews then
                turn.Leave()
                reading
            else
                ValueTask<_>(task = takingTurn true reading.AsTask)
        else
            ValueTask<_>(task = load cancel ())

    /// Does something that changes a session, unless another site had the browser send the request.
    let changing name cancel (operation: unit -> Task<Result<'a, SessionError>>) : Task<Result<'a, SessionError>> =
        withPresence name cancel (fun () ->
            if visit.IsForeign then Task.FromResult(visit.RefuseForeign()) else operation ())

    /// The session that a write goes to; without one it begins one, unless something speaks against it.
    let write
        name
        cancel
        (whenOpen: Opened -> Task<Result<'a, SessionError>>)
        (whenNone: unit -> Task<Result<'a, SessionError>>)
        =
        changing name cancel (fun () ->
            match visit.Presence, Presence.refusesToBegin visit.Presence with
            | Open(opened, _), _ -> whenOpen opened
            | _, Some error -> Task.FromResult(Error error)
            | _, None -> whenNone ())

    let change (update: 'T option -> Result<'T, 'E>) (answer: Result<'T, 'E> -> Result<'a, SessionError>) cancel =
        let whenOpen (opened: Opened) =
            task {
                // Of the last attempt: with it nothing is stored.
                let mutable declined = ValueNone

                let compute bytes =
                    declined <- ValueNone

                    let read =
                        match visit.TakeData bytes with
                        | ValueSome value -> Ok(Some value)
                        | ValueNone -> service.Deserialize bytes

                    match read with
                    | Error error -> Error error
                    | Ok value ->
                        match update value with
                        | Ok result -> service.Serialize result |> Result.map (fun bytes -> struct (bytes, result))
                        | Error refusal ->
                            declined <- ValueSome refusal
                            Error SessionError.Conflict

                let! reply = visit.Engine.Requests.Update(opened, (fun bytes -> compute bytes), errand, cancel)

                match reply, declined with
                | Reply.Failed SessionError.Conflict, ValueSome refusal -> return answer (Error refusal)
                | reply, _ ->
                    return
                        visit.Accept(
                            reply,
                            fun (struct (opened, result)) ->
                                visit.GoOn(opened, Some result)
                                result
                        )
                        |> Result.bind (Ok >> answer)
            }

        let whenNone () =
            task {
                match update None with
                | Error refusal -> return answer (Error refusal)
                | Ok value ->
                    let! begun = Beginning.beginNew visit None ValueNone value false cancel
                    return begun |> Result.bind (Ok >> answer)
            }

        write "session update" cancel whenOpen whenNone

    new(service, context, received) = RequestSession<'T>(service, context, received, null)

    /// The same session for one of several that work at once in a request that stays open, such as the calls of a hub: what
    /// one of them reads or writes is no basis for what another one saves. Its end is watched as that of the request.
    member request.Fork() : RequestSession<'T> =
        let fork = RequestSession<'T>(service, context, received, request)

        fork.Begin(
            (match visit.Presence with
             | Open(opened, _) -> Open({ opened with Issued = None }, None)
             | presence -> presence),
            visit.IsForeign
        )

        fork

    member private _.Begin(presence: Presence<'T>, isForeign: bool) =
        visit.Presence <- presence
        visit.IsForeign <- isForeign

    /// What the C# face shows of it: one for the whole request.
    member val Face: obj | null = null with get, set

    member _.Service = service
    /// Whether no cache may give this answer to anybody else.
    member _.IsKeptOut = visit.IsKeptOut
    member _.Origin = visit.Origin
    member _.Data = visit.Data
    /// Whether this request itself has ended its session: what comes after is nobody's late write.
    member _.HasSignedOut = hasSignedOut

    /// Where in its life the session is at this moment.
    member _.Phase = Presence.phase visit.Engine.Settings.Policy (service.Clock.GetUtcNow()) visit.Presence

    member _.Id =
        match Presence.opened visit.Presence with
        | ValueSome opened -> Some opened.Snapshot.Id
        | ValueNone -> None

    member _.Live =
        match Presence.opened visit.Presence with
        | ValueSome opened -> Some opened.Live
        | ValueNone -> None

    /// What the store failed with where the settings let the request go on without its session: nobody knows whether it has one.
    member _.Outage =
        match visit.Presence with
        | Shut(SessionError.Unavailable _ as error) -> Some error
        | _ -> None

    /// Whether a session may live that this request cannot read, and that a sign-out would be about all the same.
    member _.HasUnseen =
        match Presence.opened visit.Presence, Presence.signOut visit.Presence with
        | ValueSome _, _
        | ValueNone, NothingToEnd -> false
        | ValueNone, (EndThis _ | EndEachToken | CannotEnd _) -> true

    /// Whether it was read, so that what it says may be of long ago in a request that stays open.
    member _.IsRead = isRead ()

    /// Nothing is watched, and nothing made, before somebody asks.
    member _.Watching: Watching<'T> =
        match watching, around with
        | null, null ->
            watching <- Watching<'T> visit
            nonNull watching
        | null, around -> (nonNull around).Watching
        | made, _ -> made

    /// For what may end before the request does, such as one of several circuits of a connection: it stops its own and no other.
    member _.WatchApart() : Watching<'T> = Watching<'T> visit

    member _.ExpiresAt =
        match Presence.opened visit.Presence with
        | ValueSome opened ->
            match visit.Engine.Deadline opened.Snapshot.State with
            | ValueSome(struct (_, at)) -> Some at
            | ValueNone -> None
        | ValueNone -> None

    /// Reads the session at the first call: one store call, or none without a token.
    member _.Load(cancel: CancellationToken) : ValueTask<Result<unit, SessionError>> =
        if isRead () then
            ValueTask<_>(Ok())
        else
            OffContext.start (fun () ->
                match visit.Engine.Telemetry.Begin "session load" with
                | null -> loadAtOnce cancel
                | span -> ValueTask<_>(task = Spans.operation visit.Engine.Telemetry span idNow (load cancel)))

    /// Reads the session again, by its id and on the authority of this request: its token may have been renewed meanwhile.
    /// A session that has ended says so by its state; one that has been elevated by another request is none here.
    member _.Reload(cancel: CancellationToken) : Task<Result<unit, SessionError>> =
        withPresence "session reload" cancel (fun () ->
            task {
                match visit.Presence with
                | Open(opened, _)
                | Locked opened ->
                    match! visit.Engine.Requests.Reload(opened, errand, cancel) with
                    | Ok fresh ->
                        match service.Deserialize fresh.Live.Data with
                        | Ok value ->
                            visit.Presence <- Open({ fresh with Issued = None }, value)
                            return Ok()
                        | Error error -> return Error error
                    | Error(SessionError.Ended _ | SessionError.Refused _ | SessionError.NoSession as error) ->
                        visit.Fail error |> ignore<Result<unit, SessionError>>
                        return Ok()
                    | Error error -> return Error error
                | Shut(SessionError.Unavailable _) -> return! Reading.read visit cancel
                | _ -> return Ok()
            })

    /// A new session; one that was there is destroyed, after the new one is stored.
    member _.Create(value: 'T, cancel: CancellationToken) : Task<Result<'T, SessionError>> =
        changing "session create" cancel (fun () ->
            match Presence.refusesToBeginAnew visit.Presence with
            | Some error -> Task.FromResult(Error error)
            | None -> Beginning.beginNew visit None ValueNone value true cancel)

    /// The data computed from the data as it is stored; called again for each conflict. `Error`: the function refuses, and
    /// nothing is written. Creates the session if there is none.
    member _.TryUpdate
        (update: 'T option -> Result<'T, 'E>, cancel: CancellationToken)
        : Task<Result<Result<'T, 'E>, SessionError>> =
        change update Ok cancel

    /// The same, with a function that never refuses.
    member _.Update(update: 'T option -> 'T, cancel: CancellationToken) : Task<Result<'T, SessionError>> =
        change (update >> Ok) (Result.mapError (fun () -> SessionError.NoSession)) cancel

    /// The data as given: `Conflict` when another write came first since it was read.
    member _.Save(value: 'T, cancel: CancellationToken) : Task<Result<'T, SessionError>> =
        let whenOpen (opened: Opened) =
            task {
                match service.Serialize value with
                | Error error -> return Error error
                | Ok bytes ->
                    let! reply = visit.Engine.Requests.Save(opened, bytes, errand, cancel)

                    return
                        visit.Accept(
                            reply,
                            fun saved ->
                                visit.GoOn(saved, Some value)
                                value
                        )
            }

        write "session save" cancel whenOpen (fun () -> Beginning.beginNew visit None ValueNone value false cancel)

    /// An elevation: a new token, the old one is dead at once. Starts a session if there is none. `external`: who may end it.
    member _.SignIn(subject: string, value: 'T, external: ExternalSession | null, cancel: CancellationToken) =
        let signIn tie : Task<Result<'T, SessionError>> =
            task {
                match visit.Presence, Presence.refusesToBeginAnew visit.Presence with
                | _ when not (Subject.isValid subject) -> return Error SessionError.InvalidSubject
                | _ when not visit.CanIssue -> return Error SessionError.ResponseStarted
                | Open(opened, _), _ ->
                    let goOn (signedIn: Opened) =
                        visit.GoOn(signedIn, Some value)

                        visit.Explain(
                            signedIn.Snapshot.Id,
                            "signed in: the response carries a new token, the old one is dead"
                        )

                        value

                    match service.Serialize value with
                    | Error error -> return Error error
                    | Ok bytes ->
                        let signingIn = visit.Engine.Requests.SignIn(opened, subject, bytes, errand, cancel)
                        let! reply = visit.Engine.Externals.Confirmed(tie, signingIn, errand)
                        return visit.AcceptElevation(reply, goOn)
                | _, Some error -> return Error error
                | _, None -> return! Beginning.beginNew visit (Some subject) tie value true cancel
            }

        changing "session sign_in" cancel (fun () -> visit.Engine.Externals.Tied(external, subject, errand, signIn))

    /// An elevation without a sign-in; with new data, if there is any.
    member _.Regenerate(value: 'T option, cancel: CancellationToken) : Task<Result<unit, SessionError>> =
        changing "session regenerate" cancel (fun () ->
            task {
                match visit.Presence with
                | _ when not visit.CanIssue -> return Error SessionError.ResponseStarted
                | Open(opened, _) ->
                    let bytes =
                        match value with
                        | None -> Ok None
                        | Some value -> service.Serialize value |> Result.map Some

                    // As it is stored: another request may have written since it was read, and what is saved later is based on that.
                    let goOn (elevated: Opened) =
                        let current =
                            match value with
                            | Some value -> Ok(Some value)
                            | None -> service.Deserialize elevated.Live.Data

                        match current with
                        | Ok value -> visit.GoOn(elevated, value)
                        | Error _ ->
                            visit.GoOn(elevated, None)
                            visit.Presence <- Locked elevated

                    match bytes with
                    | Error error -> return Error error
                    | Ok bytes ->
                        let! reply = visit.Engine.Requests.Regenerate(opened, bytes, errand, cancel)
                        return visit.AcceptElevation(reply, goOn)
                | presence -> return Error(defaultArg (Presence.refusesToBegin presence) SessionError.NoSession)
            })

    /// Ends the session and expires the cookie. Nothing to do without a token, or when the session is over. An error when
    /// a token came that does not open the session, which may live under another one: nothing was ended. Of two different
    /// tokens each session is ended; what is no token ends nothing, and Origin is Invalid.
    member _.Destroy(cancel: CancellationToken) : Task<Result<unit, SessionError>> =
        withPresence "session destroy" cancel (fun () ->
            task {
                match Presence.signOut visit.Presence with
                | EndThis _
                | EndEachToken
                | CannotEnd _ when visit.IsForeign -> return visit.RefuseForeign()
                | _ ->
                    let! ended = Leaving.signOut visit cancel
                    hasSignedOut <- hasSignedOut || ended.IsOk
                    return ended
            })

[<RequireQualifiedAccess>]
module internal RequestSession =
    /// The session of this request for this data: one object for the whole request, and no work yet.
    let find<'T> (context: HttpContext) : RequestSession<'T> =
        // By key: the generic Get and Set of the interface are looked up at each call.
        match context.Features[typeof<RequestSession<'T>>] with
        | :? RequestSession<'T> as request -> request
        | _ ->
            let service: SessionService<'T> | null =
                match context.Features[typeof<SessionPassed<'T>>] with
                | :? SessionPassed<'T> as passed -> passed.Service
                | _ -> context.RequestServices.GetService<SessionService<'T>>()

            match service with
            | null ->
                invalidOp (
                    String.Concat(
                        "No sessions of ",
                        typeof<'T>.Name,
                        " are registered: call services.AddSession<",
                        typeof<'T>.Name + ">()."
                    )
                )
            | service ->
                if not service.IsMounted then
                    invalidOp (
                        String.Concat(
                            "The session middleware is missing: call app.UseSession<",
                            typeof<'T>.Name,
                            ">() before the endpoints."
                        )
                    )

                let request = RequestSession<'T>(service, context, Received.Of(service.Clock, context))
                context.Features[typeof<RequestSession<'T>>] <- request
                request

    /// Whether whoever has signed in to the session of this request, which was read, did so less than this time ago.
    let isFresh<'T> (maxAge: TimeSpan) (context: HttpContext) : bool =
        let request = find<'T> context
        request.Live |> Option.exists (SessionGuard.isFresh maxAge (request.Service.Clock.GetUtcNow()))
