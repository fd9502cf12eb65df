/// The sessions of one kind of data: what all requests share.
namespace Session.AspNetCore

open System
open System.Collections.Generic
open System.Threading
open System.Threading.Tasks
open Microsoft.AspNetCore.Http
open Microsoft.Extensions.DependencyInjection
open Microsoft.Extensions.Hosting
open Microsoft.Extensions.Logging
open Microsoft.Extensions.Options
open Session.Domain
open Session.Engine

/// An endpoint that answers 401 without a live session: of anybody, an anonymous one as well, unless SignedIn is said.
type IRequireSessionMetadata =
    /// Which sessions: the type of their data, or null for every one whose middleware the request passes.
    abstract DataType: Type | null
    /// Whether the session needs a subject: somebody has signed in (ASVS 8.2.1).
    abstract SignedIn: bool

/// On an endpoint that needs a sign-in, and one that is not long ago: else a 401 that says so, or another sign-in.
type ISignedInWithinMetadata =
    /// How long ago the sign-in may be. TimeSpan.MaxValue: as long as it likes.
    abstract MaxAge: TimeSpan

/// A session operation that failed, or did not take place as a whole, as an exception: the middleware answers with its status code, if the response has not
/// started. The cookie stays as it is.
type SessionFailedException(statusCode: int, message: string, inner: exn | null) =
    inherit Exception(message, inner)
    /// 401 over or refused, 403 from another site, 409 conflict, 413 too much data, 500 misuse, 503 store or contention.
    member _.StatusCode = statusCode

/// A sign-in, an elevation or a new session that was stored too late for its response.
[<Sealed>]
type internal TokenLostException() =
    inherit
        InvalidOperationException
            "The session was stored, and ended again: its response had started, or its request was over, and no response carries its token. Await session operations before the response starts."

[<RequireQualifiedAccess>]
module SessionFailure =
    /// The error as a status code and a sentence, without ids. Whether an id exists can still be seen: a write with a
    /// wrong secret is a 401 on a real id, and begins a session on any other. An id is public and opens nothing.
    let describe error : struct (int * string) =
        match error with
        | SessionError.NoSession -> struct (401, "There is no session.")
        | SessionError.Ended _ -> struct (401, "The session has ended.")
        | SessionError.Refused _ -> struct (401, "The session is not open to this request any more.")
        | SessionError.Conflict -> struct (409, "Another write to the session came first: reload and try again.")
        | SessionError.Contended -> struct (503, "Too many requests write to this session at once: try again.")
        | SessionError.LimitReached _ ->
            struct (409, "There are as many sessions as there may be: end another one first. Nothing was changed.")
        | SessionError.LimitExceeded _ ->
            struct (401,
                    "More sign-ins came at once than there may be sessions: this one was ended again, and so was the session before it.")
        | SessionError.NewerData _ ->
            struct (503, "The session was written by a newer version of the application: try again.")
        | SessionError.TooLarge _ ->
            struct (413, "The session data is larger than MaxDataBytes allows. Nothing was changed.")
        | SessionError.Unwritable _ ->
            struct (500,
                    "The session data holds what could not be given back: the log has it by name. Nothing was changed.")
        | SessionError.Unreadable _ -> struct (401, "The session cannot be read.")
        | SessionError.InvalidSubject ->
            struct (500,
                    "A subject is 1 to 1,024 bytes of UTF-8, without half of a surrogate pair. Nothing was changed.")
        | SessionError.ResponseStarted ->
            struct (500,
                    "The response has started, or is none that a client receives (a hub, a context without a server), so a new session token could not reach the client: call this in a request of its own, before writing the body.")
        | SessionError.CrossSite ->
            struct (403,
                    "Another site had the browser send this request: it changes, begins and ends no session. Nothing was changed.")
        | SessionError.Unavailable _ ->
            struct (503,
                    "The session store cannot be reached, or takes nothing at the moment. Nothing was changed; try again.")
        | SessionError.Unsure _ ->
            struct (503,
                    "The session store did not say whether it took the change: it may be stored. Reload before you try again.")
        | SessionError.Unacknowledged(:? TokenLostException as lost) -> struct (503, lost.Message)
        | SessionError.Unacknowledged _ ->
            struct (503,
                    "The change is stored, but the session store did not confirm all that belongs to it. Reload before you try again.")
        | SessionError.Incomplete(ended, left, _) ->
            struct (503,
                    String.Concat(
                        "Of the sessions that were to end ",
                        string ended,
                        " ended and at least ",
                        string left + " did not, and may live: try again."
                    ))

    /// What the store threw, if that was it.
    let rec cause error : exn | null =
        match error with
        | SessionError.Unwritable cause
        | SessionError.Unavailable cause
        | SessionError.Unsure cause
        | SessionError.Unacknowledged cause -> cause
        | SessionError.Incomplete(_, _, error) -> cause error
        | _ -> null

    /// The error as an exception, which the middleware answers.
    let toException error : exn =
        let struct (status, message) = describe error
        SessionFailedException(status, message, cause error)

/// Made once for each kind of data. Wrong settings stop the program here, with what to change.
[<Sealed>]
type SessionService<'T>
    (settings: SessionSettings, serializer: ISessionSerializer<'T>, store: ISessionStore, provider: IServiceProvider) =
    do
        let contradictions = SessionSettings.contradictions settings

        if contradictions.Count > 0 then
            raise (OptionsValidationException(typeof<'T>.Name, typeof<SessionSettings>, contradictions))

    // As browsers write them: compared as text.
    let settings =
        { settings with
            TrustedOrigins = List.choose Origins.tryNormal settings.TrustedOrigins }

    let clock =
        match provider.GetService<TimeProvider>() with
        | null -> TimeProvider.System
        | clock -> clock

    let log = provider.GetRequiredService<ILoggerFactory>().CreateLogger "Session"

    let scopes = provider.GetRequiredService<IServiceScopeFactory>()

    let inScope (handle: NoticeHandler) =
        task {
            use scope = scopes.CreateAsyncScope()
            do! handle scope.ServiceProvider
        }

    let mutable live: OpenSessions | null = null
    let mutable chronicle: Chronicle | null = null

    let board =
        { new INoticeBoard with
            member _.Post notice =
                match chronicle with
                | null -> ()
                | chronicle -> chronicle.Note notice

                match notice.Kind with
                | ReplayedNotice -> EdgeLog.replayed log null notice.Id
                | OutdatedNotice -> EdgeLog.outdated log null notice.Id
                | RefusedNotice RefusalReason.Guessed -> EdgeLog.guessed log null notice.Id
                | RefusedNotice RefusalReason.Duplicated -> EdgeLog.doubled log null
                | _ -> ()

                match settings.OnNotice notice with
                | None -> ValueTask()
                | Some handle -> ValueTask(inScope handle)
          interface IHearsFirst with
              member _.Hear news =
                  match live with
                  | null -> ()
                  | live -> live.Hear news }

    let ownEnd: Func<byte[], DateTimeOffset> | null =
        match box serializer with
        | :? IKnowsEnd as it -> Func<_, _> it.EndOf
        | _ -> null

    let engineSettings =
        let plain = SessionSettings.toEngine settings

        { plain with
            SealsToBearer = not (isNull (provider.GetKeyedService<BearerSealing> typeof<'T>))
            Protector = provider.GetKeyedService<IRecordProtector> typeof<'T> }

    do
        // The report would have to be stored in a record that only the session's client can write.
        if engineSettings.SealsToBearer && settings.OnReplay = RefuseToken then
            let sentence =
                "SealToBearer cannot keep a session whose token was replayed: let a replay end the session (the default), or do without SealToBearer."

            raise (OptionsValidationException(typeof<'T>.Name, typeof<SessionSettings>, [| sentence |]))

    let waits =
        match provider.GetService<Surroundings>() with
        | null -> SessionSettings.toWaits settings
        | surroundings -> surroundings.Around(SessionSettings.toWaits settings)

    let telemetry = SessionTelemetry.of'<'T> provider
    let engine = SessionEngine(store, engineSettings, ownEnd, waits, clock, log, board, telemetry)

    let openSessions = OpenSessions(engine, clock, settings.LiveCheck, settings.ConnectionsExtendIdle, log)
    do live <- openSessions

    let isDevelopment =
        match provider.GetService<IHostEnvironment>() with
        | null -> false
        | environment -> environment.IsDevelopment()

    let serializerName = serializer.GetType().Name.Split('`')[0]

    let serializer: ISessionSerializer<'T> =
        CheckedSerializer<'T>(serializer, isDevelopment && TypeState.isVisible && isNull ownEnd, log)

    let isTestServer = isDevelopment && TestServers.isUsed provider

    let mutable isLossSaid = 0

    member _.Settings = settings
    member _.Serializer = serializer
    /// What writes the data, within the checks of it: for the dashboard.
    member internal _.SerializerName = serializerName
    member _.Engine = engine
    member _.Clock = clock
    member _.Log: ILogger = log
    /// The sessions that connections of this node are open for.
    member internal _.OpenSessions = openSessions
    member val internal Transport = Transport(settings, engine.Hasher, isTestServer)

    /// Where the dashboard reads what happened lately. Null without one: nothing is kept.
    member internal _.Chronicle
        with set (kept: Chronicle) = chronicle <- kept

    /// What pages of the library's own do once the application runs. What it throws stops the program.
    member val internal Started = List<unit -> unit>()
    /// And when it stops.
    member val internal Stopping = List<unit -> unit>()
    /// Sessions of another middleware that go on here, or null.
    member val internal Former = provider.GetService<IFormerSessions<'T>>()

    /// A cookie goes out that its client will not send back: said once, where somebody develops. In production the TLS may
    /// end at a proxy that does not say so.
    member internal _.NoteLost(context: HttpContext) =
        if isDevelopment && Interlocked.Exchange(&isLossSaid, 1) = 0 then
            EdgeLog.plainHttp log null (string context.Request.Host)

    /// Whether decisions explain themselves to the client.
    member _.Explains = isDevelopment
    /// Whether the middleware is in the pipeline.
    member val IsMounted = false with get, set
    /// An identity provider ends sessions here: sign-ins that come from one have to say so.
    member val internal HearsLogouts = false with get, set

    /// The data of a session. None: it is sealed, and nobody here holds its token. Whatever the serializer throws is logged, and makes the data unreadable.
    member _.Deserialize(bytes: byte[]) : Result<'T option, SessionError> =
        if bytes.Length = 0 then
            Ok None
        else
            try
                Ok(Some(serializer.Deserialize(ReadOnlyMemory<byte> bytes)))
            with
            | :? NewerSessionDataException as newer -> Error(SessionError.NewerData(newer.Version, newer.Known))
            | error ->
                EdgeLog.dataUnreadable log error typeof<'T>.Name
                Error(SessionError.Unreadable "the data cannot be deserialized")

    /// The data as bytes. What the serializer refuses is logged, and changes nothing; whatever else it throws goes on.
    member _.Serialize(value: 'T) : Result<byte[], SessionError> =
        try
            Ok(serializer.Serialize value)
        with :? UnwritableSessionDataException as refused ->
            EdgeLog.dataUnwritable log refused typeof<'T>.Name
            Error(SessionError.Unwritable refused)

    /// New data for a session without its request, whoever holds it: computed from the data as it is, again for each
    /// conflict. No token and no deadline changes. None: there is no live session under this id. Not for data that is
    /// sealed to its bearer.
    member service.UpdateById
        (id: string, update: 'T option -> 'T, cancel: CancellationToken)
        : Task<Result<'T option, SessionError>> =
        if engineSettings.SealsToBearer then
            raise (
                NotSupportedException
                    "The data is sealed to its bearer (SealToBearer): only a request with the session's token can change it."
            )

        let change bytes =
            service.Deserialize bytes
            |> Result.bind (fun data ->
                let updated = update data
                service.Serialize updated |> Result.map (fun bytes -> struct (bytes, updated)))

        task {
            match! engine.UpdateById(id, change, cancel) with
            | Ok updated -> return Ok(Some updated)
            | Error(SessionError.NoSession | SessionError.Ended _) -> return Ok None
            | Error error -> return Error error
        }

[<RequireQualifiedAccess>]
module internal SessionServiceOf =
    /// The sessions of 'T that the application has registered.
    let services<'T> (provider: IServiceProvider) : SessionService<'T> =
        match provider.GetService<SessionService<'T>>() with
        | null ->
            invalidOp (
                String.Concat(
                    "No sessions of ",
                    typeof<'T>.Name,
                    " are registered: call services.AddSession<" + typeof<'T>.Name,
                    ">() first."
                )
            )
        | service -> service
