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

/// What the request came with.
type Origin =
    /// No token came.
    | New = 0
    /// A live session.
    | Resumed = 1
    /// A session that time has ended.
    | Expired = 2
    /// Anything else: no token of ours, a guess, a superseded one, a session ended on purpose or long gone.
    | Invalid = 3

/// What the response has to do for the client.
type private Parting =
    | LeaveAlone
    | Hand of IssuedToken
    | Clear

[<Sealed>]
type RequestSession<'T>(service: SessionService<'T>, context: HttpContext) =
    let engine = service.Engine
    let mutable isLoaded = false
    let mutable opened: Opened voption = ValueNone
    // ValueNone: to be read from what was opened, at the next look.
    let mutable data: 'T option voption = ValueSome None
    // Whether nobody has seen it since it was read.
    let mutable isUnseen = false
    let mutable origin = Origin.New
    // The end of what was opened or presented here.
    let mutable ended: State = Absent
    // A session that lives, and whose data cannot be read here.
    let mutable unreadable: Opened voption = ValueNone
    // Why a logout cannot end what came.
    let mutable unendable: SessionError option = None
    // Whether something came that is no token, or more than one.
    let mutable isGarbage = false
    // Why nothing may begin here but by an explicit sign-in or create: the browser may hold a newer token by now.
    let mutable blocked: SessionError option = None
    let mutable parting = LeaveAlone
    let mutable isParting = false

    let explain (reason: string) =
        if service.Explains && not context.Response.HasStarted then
            context.Response.Headers["X-Session-Explain"] <- StringValues reason
            service.Log.LogDebug("Session of {Path}: {Reason}", context.Request.Path, reason)

    let part decision =
        parting <- decision

        if not isParting && not context.Response.HasStarted then
            isParting <- true

            context.Response.OnStarting(fun () ->
                match parting with
                | LeaveAlone -> ()
                | Hand token -> service.Transport.Hand(context, token)
                | Clear -> service.Transport.Clear context

                Task.CompletedTask)

    let accept (now: Opened) value =
        opened <- ValueSome now
        data <- value
        isUnseen <- false
        blocked <- None

        match now.Issued with
        | Some token -> part (Hand token)
        | None -> ()

    /// What was opened here has ended meanwhile, or belongs to somebody else by now.
    let lose error =
        match error with
        | SessionError.Ended _
        | SessionError.Refused _
        | SessionError.NoSession ->
            opened <- ValueNone
            data <- ValueSome None
            blocked <- Some error
        | _ -> ()

        Error error

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

    /// What an update is given, for it to change as it likes: what was read for this request, if nobody has seen it, and
    /// nobody will.
    let takeOrRead (session: Opened) (bytes: byte[]) : Result<'T option, SessionError> =
        match data with
        | ValueSome value when isUnseen && obj.ReferenceEquals(bytes, session.Live.Data) ->
            data <- ValueNone
            isUnseen <- false
            Ok value
        | _ -> deserialize bytes

    let create subject (value: 'T) cancel =
        task {
            if context.Response.HasStarted then
                return Error SessionError.ResponseStarted
            else
                match! engine.Create(nextId, subject, service.Serializer.Serialize value, cancel) with
                | Error error -> return Error error
                | Ok created ->
                    accept created (ValueSome(Some value))
                    explain "new session: it is created, and the response carries its token"
                    return Ok value
        }

    let nothingWrong () = ValueTask<Result<unit, SessionError>>(Ok())

    /// What a presented token led to.
    let arrived (id: string) (presented: Result<Opened, SessionError>) : ValueTask<Result<unit, SessionError>> =
        match presented with
        | Ok presented ->
            match deserialize presented.Live.Data with
            | Ok value ->
                origin <- Origin.Resumed
                accept presented (ValueSome value)
                isUnseen <- true

                explain (
                    match presented.Issued with
                    | Some _ -> "live session: the token is due for renewal, and the response carries the next one"
                    | None -> "live session"
                )

                nothingWrong ()
            | Error(SessionError.Unreadable reason) ->
                ValueTask<_>(
                    task =
                        task {
                            do! engine.TellUnreadable(id, reason)
                            origin <- Origin.Invalid
                            unreadable <- ValueSome presented
                            explain "no session: its data cannot be read"
                            return Ok()
                        }
                )
            | Error error ->
                explain "no session here: its data was written by a newer version of the application"
                ValueTask<_>(Error error)
        | Error(SessionError.Unavailable _ as error) ->
            if service.Settings.ContinueWithoutStore then
                origin <- Origin.Invalid
                blocked <- Some error
                explain "no session: the store is down, and the settings say to go on without"
                nothingWrong ()
            else
                ValueTask<_>(Error error)
        | Error(SessionError.Ended(ByTime kind, at)) ->
            origin <- Origin.Expired
            ended <- Expired(Unchecked.defaultof<Live>, kind, at, true)

            explain (
                match kind with
                | Unconfirmed -> "no session: its token was never presented in time"
                | Idle -> "no session: it was idle for too long"
                | Absolute -> "no session: it reached its absolute timeout"
            )

            nothingWrong ()
        | Error(SessionError.Ended(OnPurpose reason, at) as error) ->
            origin <- Origin.Invalid
            ended <- Destroyed(Unchecked.defaultof<Live>, reason, at)

            // Requests in flight at a logout are normal: they must not replace what the browser got since.
            if service.Clock.GetUtcNow() - at < service.Settings.RotationGrace then
                blocked <- Some error

            explain "no session: it was ended"
            nothingWrong ()
        | Error(SessionError.Refused _ as error) ->
            origin <- Origin.Invalid
            blocked <- Some error
            explain "no session: the token does not open it (superseded, or a guess); the cookie is left alone"
            nothingWrong ()
        | Error(SessionError.NoSession | SessionError.Unreadable _ as error) ->
            origin <- Origin.Invalid

            // Nobody here can read its record; another node may.
            if error <> SessionError.NoSession then
                unendable <- Some error

            explain "no session: none is known under this token"
            nothingWrong ()
        | Error error -> ValueTask<_>(Error error)

    let loaded (loading: ValueTask<Result<unit, SessionError>>) : ValueTask<Result<unit, SessionError>> =
        if loading.IsCompletedSuccessfully then
            let answer = loading.Result
            isLoaded <- answer.IsOk
            ValueTask<_> answer
        else
            ValueTask<_>(
                task =
                    task {
                        let! answer = loading
                        isLoaded <- answer.IsOk
                        return answer
                    }
            )

    let load (cancel: CancellationToken) : ValueTask<Result<unit, SessionError>> =
        opened <- ValueNone
        data <- ValueSome None
        ended <- Absent
        blocked <- None
        unreadable <- ValueNone
        unendable <- None
        isGarbage <- false

        match service.Transport.Read context with
        | NothingCame ->
            origin <- Origin.New
            explain "no session: the request has no token"
            loaded (nothingWrong ())
        | Garbage ->
            origin <- Origin.Invalid
            isGarbage <- true
            explain "no session: what came under the token's name is no token, or two different ones"

            let telling =
                task {
                    do!
                        engine.TellRefused(
                            if service.Transport.IsDoubled context then
                                RefusalReason.Duplicated
                            else
                                RefusalReason.Malformed
                        )

                    return Ok()
                }

            loaded (ValueTask<_>(task = telling))
        | TokenCame token ->
            let id = token.Id

            let presenting = engine.Present(token, not context.Response.HasStarted, cancel)

            if presenting.IsCompletedSuccessfully then
                loaded (arrived id presenting.Result)
            else
                ValueTask<_>(
                    task =
                        task {
                            let! presented = presenting
                            return! loaded (arrived id presented)
                        }
                )

    let close (state: State) =
        opened <- ValueNone
        unreadable <- ValueNone
        data <- ValueSome None
        ended <- state
        blocked <- Some(SessionError.Ended(OnPurpose SignedOut, service.Clock.GetUtcNow()))
        part Clear

    /// The user wants to be signed out, and one of several tokens is his: ends what each of them opens. Whoever planted the
    /// others loses sessions of his own.
    let destroyEach (cancel: CancellationToken) : Task<Result<unit, SessionError>> =
        task {
            let struct (tokens, areAll) = service.Transport.AllTokens context
            let mutable failure = if areAll then None else Some(SessionError.Refused Guess)

            let fail error =
                match failure with
                | Some(SessionError.Unavailable _) -> failure
                | _ -> Some error

            for token in tokens do
                match! engine.Present(token, false, cancel) with
                | Ok session ->
                    match! engine.SignOut(session, CancellationToken.None) with
                    | Ok snapshot -> close snapshot.State
                    | Error(SessionError.NoSession | SessionError.Ended _) -> ()
                    | Error error -> failure <- fail error
                | Error(SessionError.NoSession | SessionError.Ended _) -> ()
                | Error error -> failure <- fail error

            match failure with
            | Some error -> return Error error
            | None ->
                isGarbage <- false
                return Ok()
        }

    /// Reads the session at the first call: one store call, or none without a token.
    member _.Load(cancel: CancellationToken) : ValueTask<Result<unit, SessionError>> =
        if isLoaded then nothingWrong () else load cancel

    member _.Service = service
    member _.Origin = origin

    member _.Data =
        isUnseen <- false

        match data, opened with
        | ValueSome value, _ -> value
        | ValueNone, ValueNone -> None
        | ValueNone, ValueSome session ->
            let value = deserialize session.Live.Data |> Result.defaultValue None
            data <- ValueSome value
            value

    /// The state at this moment. Absent: there is no session.
    member _.State =
        match opened with
        | ValueSome session -> Lifecycle.settle (service.Clock.GetUtcNow()) session.Snapshot.State
        | ValueNone -> ended

    member _.Id =
        match opened with
        | ValueSome session -> Some session.Snapshot.Id
        | ValueNone -> None

    member _.Live =
        match opened with
        | ValueSome session -> Some session.Live
        | ValueNone -> None

    member _.ExpiresAt =
        match opened with
        | ValueSome session ->
            match Lifecycle.deadline engine.Settings.Policy session.Snapshot.State with
            | ValueSome(struct (_, at)) -> Some at
            | ValueNone -> None
        | ValueNone -> None

    /// What a face of this session for another language keeps here: one for the whole request.
    member val Face: obj | null = null with get, set

    /// Reads the session again.
    member request.Reload(cancel: CancellationToken) : Task<Result<unit, SessionError>> =
        task {
            match opened with
            | ValueNone when isLoaded && parting <> LeaveAlone -> return Ok()
            | ValueSome session when parting <> LeaveAlone || session.Issued.IsSome ->
                // The client does not have the new token yet: read by id, on the authority of this request.
                match! engine.Reload(session, cancel) with
                | Error error -> return Error error
                | Ok None -> return lose SessionError.NoSession
                | Ok(Some fresh) ->
                    match deserialize fresh.Live.Data with
                    | Error error -> return Error error
                    | Ok value ->
                        opened <- ValueSome fresh
                        data <- ValueSome value
                        isUnseen <- true
                        return Ok()
            | _ ->
                isLoaded <- false
                return! request.Load cancel
        }

    /// A new session; one that was there is destroyed.
    member request.Create(value: 'T, cancel: CancellationToken) : Task<Result<'T, SessionError>> =
        task {
            match! request.Load cancel with
            | Error error -> return Error error
            | Ok() ->
                match opened with
                | ValueSome session when not context.Response.HasStarted ->
                    match! engine.SignOut(session, cancel) with
                    | Error(SessionError.Unavailable _ as error) -> return Error error
                    | _ -> return! create None value cancel
                | _ -> return! create None value cancel
        }

    /// The data computed from the data as it is stored; called again for each conflict. Creates the session if there
    /// is none.
    member request.Update(update: 'T option -> 'T, cancel: CancellationToken) : Task<Result<'T, SessionError>> =
        task {
            match! request.Load cancel with
            | Error error -> return Error error
            | Ok() ->
                match opened, blocked with
                | ValueNone, Some error -> return Error error
                | ValueNone, None -> return! create None (update None) cancel
                | ValueSome session, _ ->
                    let mutable result = Unchecked.defaultof<'T>

                    let change bytes =
                        takeOrRead session bytes
                        |> Result.map (fun value ->
                            result <- update value
                            service.Serializer.Serialize result)

                    match! engine.Update(session, (fun bytes -> change bytes), cancel) with
                    | Error error -> return lose error
                    | Ok updated ->
                        accept updated (ValueSome(Some result))
                        return Ok result
        }

    /// The data as given: `Conflict` when another write came first since it was read.
    member request.Save(value: 'T, cancel: CancellationToken) : Task<Result<'T, SessionError>> =
        task {
            match! request.Load cancel with
            | Error error -> return Error error
            | Ok() ->
                match opened, blocked with
                | ValueNone, Some error -> return Error error
                | ValueNone, None -> return! create None value cancel
                | ValueSome session, _ ->
                    match! engine.Save(session, service.Serializer.Serialize value, cancel) with
                    | Error error -> return lose error
                    | Ok saved ->
                        accept saved (ValueSome(Some value))
                        return Ok value
        }

    /// An elevation: a new token, the old one is dead at once. Starts a session if there is none.
    member request.SignIn(subject: string, value: 'T, cancel: CancellationToken) : Task<Result<'T, SessionError>> =
        task {
            if String.IsNullOrEmpty subject || Text.Encoding.UTF8.GetByteCount subject > Codec.maxSubjectBytes then
                invalidArg (nameof subject) "The subject must be 1 to 1,024 bytes of UTF-8."

            match! request.Load cancel with
            | Error error -> return Error error
            | Ok() when context.Response.HasStarted -> return Error SessionError.ResponseStarted
            | Ok() ->
                match opened, blocked with
                | ValueNone, Some(SessionError.Unavailable _ as error) -> return Error error
                | ValueNone, _ -> return! create (Some subject) value cancel
                | ValueSome session, _ ->
                    match! engine.SignIn(session, subject, service.Serializer.Serialize value, cancel) with
                    | Error error -> return lose error
                    | Ok signedIn ->
                        accept signedIn (ValueSome(Some value))
                        explain "signed in: the response carries a new token, the old one is dead"
                        return Ok value
        }

    /// An elevation without a sign-in.
    member request.Regenerate(cancel: CancellationToken) : Task<Result<unit, SessionError>> =
        task {
            match! request.Load cancel with
            | Error error -> return Error error
            | Ok() when context.Response.HasStarted -> return Error SessionError.ResponseStarted
            | Ok() ->
                match opened with
                | ValueNone -> return Error(defaultArg blocked SessionError.NoSession)
                | ValueSome session ->
                    match! engine.Regenerate(session, cancel) with
                    | Error error -> return lose error
                    | Ok regenerated ->
                        accept regenerated data
                        return Ok()
        }

    /// Ends the session and expires the cookie. Nothing to do without a token, or when the session is over. An error when
    /// a token came that does not open the session, which may live under another one: nothing was ended. Of two different
    /// tokens each session is ended; what is no token ends nothing, and Origin is Invalid.
    member request.Destroy(cancel: CancellationToken) : Task<Result<unit, SessionError>> =
        task {
            match! request.Load cancel with
            | Error error -> return Error error
            | Ok() ->
                match ValueOption.orElse unreadable opened, Option.orElse unendable blocked with
                | ValueNone,
                  Some(SessionError.Unavailable _ | SessionError.Refused _ | SessionError.Unreadable _ as error) ->
                    return Error error
                | ValueNone, None when isGarbage -> return! destroyEach cancel
                | ValueNone, _ -> return Ok()
                | ValueSome session, _ ->
                    match! engine.SignOut(session, cancel) with
                    | Error(SessionError.NoSession | SessionError.Ended _) ->
                        opened <- ValueNone
                        unreadable <- ValueNone
                        data <- ValueSome None
                        part Clear
                        return Ok()
                    | Error error -> return lose error
                    | Ok snapshot ->
                        close snapshot.State
                        return Ok()
        }

[<RequireQualifiedAccess>]
module RequestSession =
    /// The session of this request for this data: one object for the whole request, and no work yet.
    let find<'T> (context: HttpContext) : RequestSession<'T> =
        // By key: the generic Get and Set of the interface are looked up at each call.
        match context.Features[typeof<RequestSession<'T>>] with
        | :? RequestSession<'T> as request -> request
        | _ ->
            let service: SessionService<'T> | null =
                match context.Features[typeof<SessionService<'T>>] with
                | :? SessionService<'T> as service -> service
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

                let request = RequestSession<'T>(service, context)
                context.Features[typeof<RequestSession<'T>>] <- request
                request
