/// The session of one request: loaded at the first touch, changed by explicit calls, each stored when it returns.
namespace Session.AspNetCore

open System
open System.Threading
open System.Threading.Tasks
open Microsoft.AspNetCore.Http
open Microsoft.Extensions.DependencyInjection
open Microsoft.Extensions.Logging
open Microsoft.Extensions.Primitives
open Session.Domain
open Session.Engine

/// That a request passed the middleware, and when: its token is judged as of then.
[<Sealed>]
type internal SessionArrival<'T>(service: SessionService<'T>, at: DateTimeOffset) =
    member _.Service = service
    member _.At = at

[<Sealed>]
type RequestSession<'T> internal (service: SessionService<'T>, context: HttpContext, arrivedAt: DateTimeOffset) =
    let engine = service.Engine
    let requests = engine.Requests
    let patience = engine.NewPatience()
    let outbox = Outbox()
    let turn = Turn()
    let parter = Parter(service.Transport, engine, context)
    let mutable presence: Presence<'T> = NotRead
    let mutable origin = Origin.New

    let explain (reason: string) =
        if service.Explains && not context.Response.HasStarted then
            context.Response.Headers["X-Session-Explain"] <- StringValues reason
            service.Log.LogDebug("Session of {Path}: {Reason}", context.Request.Path, reason)

    let nextId () =
        match service.Settings.GenerateId with
        | Some generate -> generate context
        | None -> Token.newId ()

    let deserialize (bytes: byte[]) : Result<'T option, SessionError> =
        if bytes.Length = 0 then
            Ok None
        else
            try
                Ok(Some(service.Serializer.Deserialize(ReadOnlyMemory<byte> bytes)))
            with
            | :? NewerSessionDataException as newer -> Error(SessionError.NewerData(newer.Version, newer.Known))
            | error ->
                service.Log.LogError(
                    error,
                    "The data of a session cannot be read as {Type}. It opens nothing, and stays as it is.",
                    typeof<'T>.Name
                )

                Error(SessionError.Unreadable "the data cannot be deserialized")

    /// One at a time; what is to be told is told when the next one may begin, for a handler may be the next one.
    let inTurn (operation: unit -> Task<Result<'a, SessionError>>) : Task<Result<'a, SessionError>> =
        task {
            match! turn.Take(engine.Waits.RequestTimeout) with
            | false -> return Error SessionError.Contended
            | true ->
                let mutable answer = Error SessionError.NoSession

                try
                    let! result = operation ()
                    answer <- result
                finally
                    patience.Pause()
                    turn.Leave()

                do! engine.TellAll outbox
                return answer
        }

    let past (id: string) secret ending at isRecent =
        { Id = id
          Secret = secret
          Ending = ending
          IsRecent = isRecent
          At = at }

    /// The request goes on with this session, and the response carries its token, if there is a new one.
    let goOn (opened: Opened) value =
        presence <- Open(opened, value)

        match opened.Issued with
        | Some token when opened.IsRenewal -> parter.Decide(HandIfItStands token)
        | Some token -> parter.Decide(Hand token)
        | None -> ()

    /// What was opened here has ended meanwhile, or belongs to somebody else by now.
    let fail (error: SessionError) : Result<'a, SessionError> =
        match presence, error with
        | Open(opened, _), SessionError.Ended(ending, at) ->
            presence <- Gone(past opened.Snapshot.Id opened.Grant.Secret ending at true)
        // A predecessor's request keeps its session: only what needs the new token is refused to it.
        | Open(opened, _), SessionError.Refused Outdated when opened.Grant.ByPredecessor -> ()
        | Open _, (SessionError.Refused _ | SessionError.NoSession) -> presence <- Shut error
        | _ -> ()

        Error error

    /// What is stored is handed over, even where the answer is a failure.
    let accept (reply: Reply<'a>) (goOn: 'a -> 'b) : Result<'b, SessionError> =
        match reply with
        | Reply.Done out -> Ok(goOn out)
        | Reply.Failed error -> fail error
        | Reply.Partly(out, error) ->
            goOn out |> ignore
            Error error

    /// The session of this request has ended here.
    let close (opened: Opened) (state: State) =
        let struct (ending, at) =
            match state with
            | Destroyed(_, reason, at) -> struct (OnPurpose reason, at)
            | Expired(_, kind, at, _) -> struct (ByTime kind, at)
            | Absent
            | Created _
            | Active _
            | Regenerated _ -> struct (OnPurpose SignedOut, service.Clock.GetUtcNow())

        let ended = past opened.Snapshot.Id opened.Grant.Secret ending at true
        presence <- Gone ended
        // The user signs out: the cookie goes, whatever it was that ended the session.
        parter.Decide Clear

    /// Ends a session that this request has a token of. One that is over already is no failure.
    let endOne (opened: Opened) : Task<SessionError option> =
        task {
            match! requests.SignOut(opened, patience, outbox, CancellationToken.None) with
            | Reply.Done _
            | Reply.Failed(SessionError.NoSession | SessionError.Ended _) -> return None
            | Reply.Failed error
            | Reply.Partly(_, error) -> return Some error
        }

    /// Ends what each of several tokens opens: whoever planted the others loses sessions of his own. How many were ended,
    /// and why not all.
    let endEach () : Task<struct (int * SessionError option)> =
        task {
            let struct (tokens, areAll) = service.Transport.AllTokens context
            let mutable count = 0
            let mutable failure = if areAll then None else Some(SessionError.Refused Guess)

            for token in tokens do
                let! presented = requests.Present(token, arrivedAt, false, patience, outbox, CancellationToken.None)

                let! ended =
                    match presented with
                    | Ok session -> endOne session
                    | Error(SessionError.NoSession | SessionError.Ended _) -> Task.FromResult None
                    | Error error -> Task.FromResult(Some error)

                if presented.IsOk && ended.IsNone then
                    count <- count + 1

                match failure, ended with
                | Some(SessionError.Unavailable _ | SessionError.Unsure _), _
                | _, None -> ()
                | _, ended -> failure <- ended

            return struct (count, failure)
        }

    /// A new session is stored: what the request had before ends, if somebody asked for a new one (ASVS 7.2.4); a session
    /// that is over is left behind, so that no late answer about it takes the new token away.
    let leave (before: Presence<'T>) isAsked : Task<SessionError option> =
        task {
            match before with
            | Gone({ Ending = ByTime _ } as past) ->
                let! _ = requests.Leave(past.Id, patience, outbox)
                return None
            | Open(opened, _)
            | Locked opened when isAsked -> return! endOne opened
            | Garbage when isAsked ->
                let! struct (_, failure) = endEach ()
                return failure
            | NotRead
            | Nothing
            | Stranger
            | Garbage
            | Open _
            | Locked _
            | CannotRead _
            | Gone _
            | Shut _ -> return None
        }

    let beginNew subject (value: 'T) isAsked (cancel: CancellationToken) : Task<Result<'T, SessionError>> =
        task {
            if context.Response.HasStarted then
                return Error SessionError.ResponseStarted
            else
                // Whatever throws does so while nothing is changed.
                let bytes = service.Serializer.Serialize value
                let before = presence

                match! requests.Create(nextId, subject, bytes, patience, outbox, cancel) with
                | Reply.Failed error -> return Error error
                | Reply.Partly(created, error) ->
                    goOn created (Some value)
                    return Error error
                | Reply.Done created ->
                    goOn created (Some value)
                    explain "new session: it is created, and the response carries its token"

                    match! leave before isAsked with
                    | None -> return Ok value
                    | Some error ->
                        let cause =
                            match error with
                            | SessionError.Unavailable cause
                            | SessionError.Unsure cause
                            | SessionError.Unacknowledged cause -> cause
                            | _ -> InvalidOperationException "The session before could not be ended." :> exn

                        return Error(SessionError.Unacknowledged cause)
        }

    /// What a presented token led to: what the request has, or why there is no answer.
    let found (token: PresentedToken) (presented: Result<Opened, SessionError>) : Result<unit, SessionError> =
        let has it (why: string) : Result<unit, SessionError> =
            presence <- it
            origin <- Presence.origin it
            explain why
            Ok()

        match presented with
        | Ok opened ->
            match deserialize opened.Live.Data with
            | Ok value ->
                goOn opened value

                has
                    presence
                    (if opened.Issued.IsSome then
                         "live session: the token is due for renewal, and the response carries the next one"
                     else
                         "live session")
            | Error(SessionError.Unreadable reason) ->
                engine.NoteUnreadable(outbox, token.Id, reason)
                has (Locked opened) "no session: its data cannot be read"
            | Error error ->
                explain "no session here: its data was written by a newer version of the application"
                Error error
        | Error(SessionError.Unavailable _ as error) when service.Settings.ContinueWithoutStore ->
            has (Shut error) "no session: the store is down, and the settings say to go on without"
        | Error(SessionError.Ended(ending, at)) ->
            let isRecent = service.Clock.GetUtcNow() - at < service.Settings.RotationGrace
            let ended = past token.Id token.Hash ending at isRecent

            match ending with
            | ByTime kind ->
                parter.Decide(ClearUnlessLeft ended)

                has
                    (Gone ended)
                    (match kind with
                     | Unconfirmed -> "no session: its token was never presented in time"
                     | Idle -> "no session: it was idle for too long"
                     | Absolute -> "no session: it reached its absolute timeout")
            | OnPurpose _ -> has (Gone ended) "no session: it was ended"
        | Error(SessionError.Refused _ as error) ->
            has (Shut error) "no session: the token does not open it (superseded, or a guess); the cookie is left alone"
        | Error SessionError.NoSession -> has Stranger "no session: none is known under this token"
        | Error(SessionError.Unreadable _ as error) -> has (CannotRead error) "no session: its record cannot be read"
        | Error error -> Error error

    let read (cancel: CancellationToken) : ValueTask<Result<unit, SessionError>> =
        match service.Transport.Read context with
        | NothingCame ->
            presence <- Nothing
            explain "no session: the request has no token"
            ValueTask<_>(Ok())
        | Arrival.Garbage ->
            let reason =
                if service.Transport.IsDoubled context then RefusalReason.Duplicated else RefusalReason.Malformed

            engine.NoteRefused(outbox, reason)
            presence <- Garbage
            origin <- Presence.origin presence
            explain "no session: what came under the token's name is no token, or two different ones"
            ValueTask<_>(Ok())
        | TokenCame token ->
            let mayIssue = not context.Response.HasStarted
            let presenting = requests.Present(token, arrivedAt, mayIssue, patience, outbox, cancel)

            if presenting.IsCompletedSuccessfully then
                ValueTask<_>(found token presenting.Result)
            else
                ValueTask<_>(
                    task =
                        task {
                            let! presented = presenting
                            return found token presented
                        }
                )

    let isRead () =
        match presence with
        | NotRead -> false
        | _ -> true

    /// For an operation that has its turn.
    let ensureRead (cancel: CancellationToken) : ValueTask<Result<unit, SessionError>> =
        if isRead () then ValueTask<_>(Ok()) else read cancel

    /// Reads what the request has, and does something with it.
    let withPresence cancel (operation: unit -> Task<Result<'a, SessionError>>) : Task<Result<'a, SessionError>> =
        inTurn (fun () ->
            task {
                match! ensureRead cancel with
                | Error error -> return Error error
                | Ok() -> return! operation ()
            })

    /// The session that a write goes to; without one it begins one, unless something speaks against it.
    let write
        cancel
        (whenOpen: Opened -> Task<Result<'a, SessionError>>)
        (whenNone: unit -> Task<Result<'a, SessionError>>)
        =
        withPresence cancel (fun () ->
            match presence, Presence.refusesToBegin presence with
            | Open(opened, _), _ -> whenOpen opened
            | _, Some error -> Task.FromResult(Error error)
            | _, None -> whenNone ())

    member _.Service = service
    member _.Origin = origin
    member _.Data = Presence.data presence

    /// Where in its life the session is at this moment.
    member _.Phase = Presence.phase engine.Settings.Policy (service.Clock.GetUtcNow()) presence

    member _.Id =
        match Presence.opened presence with
        | ValueSome opened -> Some opened.Snapshot.Id
        | ValueNone -> None

    member _.Live =
        match Presence.opened presence with
        | ValueSome opened -> Some opened.Live
        | ValueNone -> None

    member _.ExpiresAt =
        match Presence.opened presence with
        | ValueSome opened ->
            match Lifecycle.deadline engine.Settings.Policy opened.Snapshot.State with
            | ValueSome(struct (_, at)) -> Some at
            | ValueNone -> None
        | ValueNone -> None

    /// Reads the session at the first call: one store call, or none without a token.
    member _.Load(cancel: CancellationToken) : ValueTask<Result<unit, SessionError>> =
        if isRead () then
            ValueTask<_>(Ok())
        elif turn.TryTake() then
            // Most stores' first answer comes later; a store in this process costs no state machine.
            let mutable reading = ValueTask<_>(Ok())
            let mutable isDone = false

            try
                reading <- read cancel
                isDone <- reading.IsCompletedSuccessfully
            finally
                if isDone then
                    turn.Leave()

            if isDone && outbox.IsEmpty then
                reading
            else
                let isLeft = isDone

                ValueTask<_>(
                    task =
                        task {
                            let mutable answer = Ok()

                            try
                                let! result = reading
                                answer <- result
                            finally
                                if not isLeft then
                                    patience.Pause()
                                    turn.Leave()

                            do! engine.TellAll outbox
                            return answer
                        }
                )
        else
            ValueTask<_>(task = withPresence cancel (fun () -> Task.FromResult(Ok())))

    /// Reads the session again, by its id and on the authority of this request: its token may have been renewed meanwhile.
    /// A session that has ended says so by its state; one that has been elevated by another request is none here.
    member _.Reload(cancel: CancellationToken) : Task<Result<unit, SessionError>> =
        withPresence cancel (fun () ->
            task {
                match presence with
                | Open(opened, _)
                | Locked opened ->
                    match! requests.Reload(opened, patience, cancel) with
                    | Ok fresh ->
                        match deserialize fresh.Live.Data with
                        | Ok value ->
                            presence <- Open({ fresh with Issued = None }, value)
                            return Ok()
                        | Error error -> return Error error
                    | Error(SessionError.Ended _ | SessionError.Refused _ | SessionError.NoSession as error) ->
                        fail error |> ignore<Result<unit, SessionError>>
                        return Ok()
                    | Error error -> return Error error
                | Shut(SessionError.Unavailable _) -> return! read cancel
                | _ -> return Ok()
            })

    /// A new session; one that was there is destroyed, after the new one is stored.
    member _.Create(value: 'T, cancel: CancellationToken) : Task<Result<'T, SessionError>> =
        withPresence cancel (fun () ->
            match Presence.refusesToBeginAnew presence with
            | Some error -> Task.FromResult(Error error)
            | None -> beginNew None value true cancel)

    /// The data computed from the data as it is stored; called again for each conflict. `Error`: the function refuses, and
    /// nothing is written. Creates the session if there is none.
    member _.TryUpdate
        (update: 'T option -> Result<'T, 'E>, cancel: CancellationToken)
        : Task<Result<Result<'T, 'E>, SessionError>> =
        let whenOpen (opened: Opened) =
            task {
                // Of the last attempt: with it nothing is stored.
                let mutable declined = ValueNone

                let change bytes =
                    declined <- ValueNone

                    match deserialize bytes with
                    | Error error -> Error error
                    | Ok value ->
                        match update value with
                        | Ok result -> Ok(struct (service.Serializer.Serialize result, result))
                        | Error refusal ->
                            declined <- ValueSome refusal
                            Error SessionError.Conflict

                let! reply = requests.Update(opened, (fun bytes -> change bytes), patience, outbox, cancel)

                match reply, declined with
                | Reply.Failed SessionError.Conflict, ValueSome refusal -> return Ok(Error refusal)
                | reply, _ ->
                    return
                        accept reply (fun (struct (opened, result)) ->
                            goOn opened (Some result)
                            Ok result)
            }

        let whenNone () =
            task {
                match update None with
                | Error refusal -> return Ok(Error refusal)
                | Ok value ->
                    let! answer = beginNew None value false cancel
                    return answer |> Result.map Ok
            }

        write cancel whenOpen whenNone

    /// The same, with a function that never refuses.
    member request.Update(update: 'T option -> 'T, cancel: CancellationToken) : Task<Result<'T, SessionError>> =
        task {
            match! request.TryUpdate<unit>((fun data -> Ok(update data)), cancel) with
            | Ok(Ok result) -> return Ok result
            | Ok(Error()) -> return Error SessionError.NoSession
            | Error error -> return Error error
        }

    /// The data as given: `Conflict` when another write came first since it was read.
    member _.Save(value: 'T, cancel: CancellationToken) : Task<Result<'T, SessionError>> =
        let whenOpen (opened: Opened) =
            task {
                let! reply = requests.Save(opened, service.Serializer.Serialize value, patience, outbox, cancel)

                return
                    accept reply (fun saved ->
                        goOn saved (Some value)
                        value)
            }

        write cancel whenOpen (fun () -> beginNew None value false cancel)

    /// An elevation: a new token, the old one is dead at once. Starts a session if there is none.
    member _.SignIn(subject: string, value: 'T, cancel: CancellationToken) : Task<Result<'T, SessionError>> =
        withPresence cancel (fun () ->
            task {
                match presence, Presence.refusesToBeginAnew presence with
                | _ when not (Subject.isValid subject) -> return Error SessionError.InvalidSubject
                | _ when context.Response.HasStarted -> return Error SessionError.ResponseStarted
                | Open(opened, _), _ ->
                    let bytes = service.Serializer.Serialize value
                    let! reply = requests.SignIn(opened, subject, bytes, patience, outbox, cancel)

                    return
                        accept reply (fun signedIn ->
                            goOn signedIn (Some value)
                            explain "signed in: the response carries a new token, the old one is dead"
                            value)
                | _, Some error -> return Error error
                | _, None -> return! beginNew (Some subject) value true cancel
            })

    /// An elevation without a sign-in; with new data, if there is any.
    member _.Regenerate(value: 'T option, cancel: CancellationToken) : Task<Result<unit, SessionError>> =
        withPresence cancel (fun () ->
            task {
                match presence with
                | _ when context.Response.HasStarted -> return Error SessionError.ResponseStarted
                | Open(opened, data) ->
                    let bytes = value |> Option.map service.Serializer.Serialize
                    let! reply = requests.Regenerate(opened, bytes, patience, outbox, cancel)
                    return accept reply (fun elevated -> goOn elevated (Option.orElse data value))
                | presence -> return Error(defaultArg (Presence.refusesToBegin presence) SessionError.NoSession)
            })

    /// Ends the session and expires the cookie. Nothing to do without a token, or when the session is over. An error when
    /// a token came that does not open the session, which may live under another one: nothing was ended. Of two different
    /// tokens each session is ended; what is no token ends nothing, and Origin is Invalid.
    member _.Destroy(cancel: CancellationToken) : Task<Result<unit, SessionError>> =
        withPresence cancel (fun () ->
            task {
                match Presence.signOut presence with
                | NothingToEnd -> return Ok()
                | CannotEnd error -> return Error error
                | EndEachToken ->
                    let! struct (count, failure) = endEach ()

                    // Whichever of them was the user's.
                    if count > 0 then
                        let at = service.Clock.GetUtcNow()
                        presence <- Gone(past "" Unchecked.defaultof<SecretHash> (OnPurpose SignedOut) at true)
                        parter.Decide Clear

                    match failure with
                    | Some error -> return Error error
                    | None -> return Ok()
                | EndThis opened ->
                    match! requests.SignOut(opened, patience, outbox, cancel) with
                    | Reply.Done snapshot ->
                        close opened snapshot.State
                        return Ok()
                    | Reply.Partly(snapshot, error) ->
                        close opened snapshot.State
                        return Error error
                    | Reply.Failed(SessionError.NoSession | SessionError.Ended _) ->
                        close opened Absent
                        return Ok()
                    | Reply.Failed error -> return fail error
            })

[<RequireQualifiedAccess>]
module RequestSession =
    /// The session of this request for this data: one object for the whole request, and no work yet.
    let find<'T> (context: HttpContext) : RequestSession<'T> =
        // By key: the generic Get and Set of the interface are looked up at each call.
        match context.Features[typeof<RequestSession<'T>>] with
        | :? RequestSession<'T> as request -> request
        | _ ->
            let struct (service: SessionService<'T> | null, at) =
                match context.Features[typeof<SessionArrival<'T>>] with
                | :? SessionArrival<'T> as arrival -> struct (arrival.Service, arrival.At)
                | _ ->
                    match context.RequestServices.GetService<SessionService<'T>>() with
                    | null -> struct (null, DateTimeOffset.MinValue)
                    | service -> struct (service, service.Clock.GetUtcNow())

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

                let request = RequestSession<'T>(service, context, at)
                context.Features[typeof<RequestSession<'T>>] <- request
                request
