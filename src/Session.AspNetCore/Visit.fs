/// What the operations of one request share.
namespace Session.AspNetCore

open System
open System.Threading.Tasks
open Microsoft.AspNetCore.Http
open Microsoft.AspNetCore.Http.Features
open Microsoft.Extensions.Logging
open Microsoft.Extensions.Primitives
open Session.Domain
open Session.Engine

/// Whose operation has failed last in a request: where sessions of several kinds are, each has a login page of its own.
[<Sealed>]
type internal FailedKind(dataType: Type) =
    member _.DataType = dataType

/// What a request has of a session, what its response does for the client's token, its time and its news.
[<Sealed>]
type internal Visit<'T>(service: SessionService<'T>, context: HttpContext, received: Received) =
    let engine = service.Engine
    let errand = engine.NewErrand()
    let mutable parter: Parter | null = null
    let mutable isDataFresh = false
    // A live session was opened for it.
    let mutable isPersonal = false
    // Something came in place of a token.
    let mutable hasToken = false
    // An endpoint allowed shared caches, and nobody has asked since who does not.
    let mutable isAllowed = false
    let mutable isKeptOut = false
    // The browser drops the cookie.
    let mutable isLost = false
    // The response had started, or the request was over, before there was a token for its client.
    let mutable hasLostToken = false

    // Nobody has looked.
    let mutable isForeign = true

    static let sayWhose =
        Func<obj, Task>(fun visit ->
            (visit :?> Visit<'T>).SayWhose()
            Task.CompletedTask)

    let lookAtSite () = isForeign <- CrossSite.forbids service.Settings service.Transport context

    member _.Service = service
    member _.Engine = engine
    member _.Context = context
    member _.Received = received
    member _.ArrivedAt = received.At
    member _.Errand = errand

    /// Whether the response can still carry a token. That of a context without a server, such as a hub's over long polling,
    /// goes nowhere, and never starts.
    member _.CanIssue =
        not received.IsOver
        && not context.Response.HasStarted
        && not (context.Features.Get<IHttpResponseFeature>() :? HttpResponseFeature)

    member val Presence: Presence<'T> = NotRead with get, set
    member val Origin = Origin.New with get, set

    /// For the developer: in the log at Debug, and in Development in a header of the response as well. `id`: of the session
    /// that it is about, or that the token named; null: none. It opens nothing, and leads from the log to a user's session.
    member _.Explain(id: string | null, reason: string) =
        if (service.Explains || service.Log.IsEnabled LogLevel.Debug) && received.TryEnter() then
            try
                if service.Log.IsEnabled LogLevel.Debug then
                    EdgeLog.decided
                        service.Log
                        null
                        (string context.Request.Path)
                        reason
                        (Option.ofObj id |> Option.defaultValue "none")

                if service.Explains && not context.Response.HasStarted then
                    context.Response.Headers["X-Session-Explain"] <-
                        StringValues(
                            if isLost then
                                String.Concat(
                                    reason,
                                    "; but the cookie is Secure and this is plain HTTP: only browsers on localhost send it back. Use HTTPS, or Cookie.SecurePolicy = SameAsRequest for development"
                                )
                            else
                                reason
                        )
            finally
                received.Leave()

    /// The answer depends on what comes where tokens are looked for. Said at once, for caches in this process, and once more
    /// when the headers are written, in case somebody has set theirs meanwhile. While the request goes on.
    member visit.LookAt() =
        lookAtSite ()

        if not context.Response.HasStarted then
            visit.SayWhose()
            context.Response.OnStarting(sayWhose, visit)

    /// Unless the endpoint says that it is everybody's. That is a word about its own answer: not about that of the error page
    /// which the request is routed to next.
    member _.SayWhose() =
        isAllowed <- Sharing.isAllowed context

        if not isAllowed then
            service.Transport.Vary context

            if isPersonal then
                Sharing.makePrivate context

            if isPersonal || hasToken then
                isKeptOut <- true
                Sharing.keepOut context

    /// Of a session that was read before.
    member visit.LookAgain() =
        if isAllowed then
            visit.SayNow()

    member private visit.SayNow() =
        received.Touch(
            (fun () ->
                if not context.Response.HasStarted then
                    visit.SayWhose()),
            ignore
        )

    /// Whether another site had the browser send this request; of one that is over as it was when somebody looked last.
    member _.IsForeign
        with get () =
            received.Touch(lookAtSite, ignore)
            isForeign
        and set value = isForeign <- value

    member private _.SayForeign() =
        received.Touch(
            (fun () -> EdgeLog.crossSite service.Log null (CrossSite.sender context) (string context.Request.Path)),
            ignore
        )

    /// An operation that changes a session, in a request that another site had the browser send.
    member visit.RefuseForeign() : Result<'a, SessionError> =
        engine.Telemetry.Measures.Refused "cross_site"
        visit.SayForeign()
        let id = Presence.opened visit.Presence |> ValueOption.map _.Snapshot.Id |> ValueOption.toObj
        visit.Explain(id, "nothing is changed: another site had the browser send this request")
        Error SessionError.CrossSite

    /// Something came in place of a token: whatever it opens, others who bring one must not get this answer from the output
    /// cache, which does not tell them apart.
    member visit.KeepOut() =
        if not hasToken then
            hasToken <- true
            visit.SayNow()

    /// Whether no cache may give this answer to anybody else.
    member _.IsKeptOut = isKeptOut || (isPersonal || hasToken) && not (Sharing.isAllowed context)

    /// Nothing, once the request is over: no response of this client's is left. Whether it was in time.
    member _.TryPart(decision: Parting) : bool =
        if received.TryEnter() then
            try
                let parter =
                    match parter with
                    | null ->
                        let made = Parter(service.Transport, engine, context, service.Clock, received.At)
                        parter <- made
                        made
                    | parter -> parter

                let isInTime = not context.Response.HasStarted
                parter.Decide decision
                isInTime
            finally
                received.Leave()
        else
            false

    member visit.Part(decision: Parting) = visit.TryPart decision |> ignore

    /// The data, which the application may change in place from now on.
    member visit.Data: 'T option =
        isDataFresh <- false

        match visit.Presence with
        | Open(opened, None) ->
            match service.Deserialize opened.Live.Data with
            | Ok value ->
                visit.Presence <- Open(opened, value)
                value
            | Error _ -> None
        | presence -> Presence.data presence

    /// The data that these bytes were read as, if the application has never seen it: a write need not read them again.
    /// It is the writer's then, and read anew for whoever asks for it later.
    member visit.TakeData(bytes: byte[]) : 'T voption =
        match visit.Presence with
        | Open(opened, Some value) when isDataFresh && obj.ReferenceEquals(opened.Live.Data, bytes) ->
            visit.Presence <- Open(opened, None)
            ValueSome value
        | _ -> ValueNone

    /// The session was read, and nobody has seen its data yet.
    member visit.Begin(opened: Opened, value: 'T option) =
        visit.GoOn(opened, value)
        isDataFresh <- true

    /// The request goes on with this session, and the response carries its token, if there is a new one.
    member visit.GoOn(opened: Opened, value: 'T option) =
        isDataFresh <- false
        visit.Presence <- Open(opened, value)

        if (not isPersonal || opened.Issued.IsSome) && received.TryEnter() then
            try
                if not isPersonal then
                    isPersonal <- true

                    // Once the headers are out, the output cache still asks whose it is.
                    if not context.Response.HasStarted then
                        visit.SayWhose()

                if opened.Issued.IsSome && not isLost && service.Transport.IsLost context then
                    isLost <- true
                    service.NoteLost context
            finally
                received.Leave()

        match opened.Issued with
        | Some token when opened.IsRenewal -> visit.Part(HandIfItStands token)
        | Some token -> hasLostToken <- not (visit.TryPart(Hand token))
        | None -> ()

    /// Whether what this operation has stored has a token that no response carries, since nobody waited for it.
    member _.HasLostToken
        with get () = hasLostToken
        and set value = hasLostToken <- value

    /// Of a session of this request that has just ended, or was found to have ended meanwhile.
    member _.Past(id: string voption, ending, at) : Past = { Id = id; Ending = ending; IsRecent = true; At = at }

    /// An operation has failed: whoever answers for it may be the middleware of another kind of sessions.
    member _.NoteFailed() =
        received.Touch((fun () -> context.Features[typeof<FailedKind>] <- FailedKind typeof<'T>), ignore)

    /// What was opened here has ended meanwhile, or belongs to somebody else by now.
    member visit.Fail(error: SessionError) : Result<'a, SessionError> =
        match visit.Presence, error with
        | Open(opened, _), SessionError.Ended(ending, at) ->
            visit.Presence <- Gone(visit.Past(ValueSome opened.Snapshot.Id, ending, at))
        | Open(opened, _), SessionError.LimitExceeded _ ->
            visit.Presence <- Gone(visit.Past(ValueSome opened.Snapshot.Id, OnPurpose Limit, service.Clock.GetUtcNow()))
        | Open _, (SessionError.Refused _ | SessionError.NoSession) -> visit.Presence <- Shut error
        | _ -> ()

        Error error

    /// What is stored is handed over, even where the answer is a failure.
    member visit.Accept(reply: Reply<'a>, goOn: 'a -> 'b) : Result<'b, SessionError> =
        match reply with
        | Reply.Done out -> Ok(goOn out)
        | Reply.Failed error -> visit.Fail error
        | Reply.Partly(out, error) ->
            goOn out |> ignore
            Error error

    /// The same of an elevation. A predecessor's request keeps its session where it may not elevate: it needs the new token for that
    /// alone. Whatever else is refused to it is so because somebody else has elevated the session.
    member visit.AcceptElevation(reply: Reply<'a>, goOn: 'a -> 'b) : Result<'b, SessionError> =
        match visit.Presence, reply with
        | Open(opened, _), Reply.Failed(SessionError.Refused Outdated as error) when opened.Grant.ByPredecessor ->
            Error error
        | _ -> visit.Accept(reply, goOn)

    /// The user has signed out here: the cookie goes, whatever it was that ended the session.
    member visit.Close(id: string voption, state: State) =
        let struct (ending, at) =
            match state with
            | Destroyed(_, reason, at) -> struct (OnPurpose reason, at)
            | Expired(_, kind, at, _) -> struct (ByTime kind, at)
            | Absent
            | Created _
            | Active _
            | Regenerated _ -> struct (OnPurpose SignedOut, service.Clock.GetUtcNow())

        visit.Presence <- Gone(visit.Past(id, ending, at))
        visit.Part Clear
