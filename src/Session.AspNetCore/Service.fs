/// The sessions of one kind of data: what all requests share.
namespace Session.AspNetCore

open System
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

/// A failed session operation as an exception: the middleware answers with its status code, if the response has not
/// started. The cookie stays as it is.
type SessionFailedException(statusCode: int, message: string, inner: exn | null) =
    inherit Exception(message, inner)
    /// 401 over or refused, 409 conflict, 413 too much data, 500 misuse, 503 store or contention.
    member _.StatusCode = statusCode

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
        | SessionError.NewerData _ ->
            struct (503, "The session was written by a newer version of the application: try again.")
        | SessionError.TooLarge _ ->
            struct (413, "The session data is larger than MaxDataBytes allows. Nothing was changed.")
        | SessionError.Unreadable _ -> struct (401, "The session cannot be read.")
        | SessionError.ResponseStarted ->
            struct (500,
                    "The response has started, so a new session token could not reach the client: call this before writing the body.")
        | SessionError.Unavailable _ ->
            struct (503, "The session store cannot be reached. Nothing was acknowledged; try again.")

    let toException error : exn =
        let struct (status, message) = describe error

        match error with
        | SessionError.Unavailable inner -> SessionFailedException(status, message, inner)
        | _ -> SessionFailedException(status, message, null)

/// Made once for each kind of data. Wrong settings stop the program here, with what to change.
[<Sealed>]
type SessionService<'T>
    (settings: SessionSettings, serializer: ISessionSerializer<'T>, store: ISessionStore, provider: IServiceProvider) =
    do
        let contradictions = SessionSettings.contradictions settings

        if contradictions.Count > 0 then
            raise (OptionsValidationException(typeof<'T>.Name, typeof<SessionSettings>, contradictions))

    let clock =
        match provider.GetService<TimeProvider>() with
        | null -> TimeProvider.System
        | clock -> clock

    let log = provider.GetRequiredService<ILoggerFactory>().CreateLogger "Session"

    let board =
        { new INoticeBoard with
            member _.Post notice =
                match notice.Kind with
                | ReplayedNotice ->
                    log.LogWarning(
                        "A superseded token of session {SessionId} was presented after its grace: it may be stolen.",
                        notice.Id
                    )
                | OutdatedNotice ->
                    log.LogInformation(
                        "A token of session {SessionId} from before an elevation was presented, and refused.",
                        notice.Id
                    )
                | RefusedNotice RefusalReason.Guessed ->
                    log.LogInformation(
                        "A token with a wrong secret was presented for session {SessionId}, and refused.",
                        notice.Id
                    )
                | RefusedNotice RefusalReason.Duplicated ->
                    log.LogInformation(
                        "A request brought two different session tokens: it has no session. One may be planted."
                    )
                | _ -> ()

                ValueTask(settings.OnNotice provider notice) }

    let engineSettings =
        { SessionSettings.toEngine settings with
            SealsToBearer = not (isNull (provider.GetKeyedService<BearerSealing> typeof<'T>))
            Protector = provider.GetKeyedService<IRecordProtector> typeof<'T> }

    do
        // The report would have to be stored in a record that only the session's client can write.
        if engineSettings.SealsToBearer && settings.OnReplay = RefuseToken then
            let sentence =
                "SealToBearer cannot keep a session whose token was replayed: let a replay end the session (the default), or do without SealToBearer."

            raise (OptionsValidationException(typeof<'T>.Name, typeof<SessionSettings>, [| sentence |]))

    let engine = SessionEngine(store, engineSettings, clock, log, board)

    let isDevelopment =
        match provider.GetService<IHostEnvironment>() with
        | null -> false
        | environment -> environment.IsDevelopment()

    member _.Settings = settings
    member _.Serializer = serializer
    member _.Engine = engine
    member _.Clock = clock
    member _.Log: ILogger = log
    member val Transport = Transport(settings, engine.Hasher)
    /// Whether decisions explain themselves to the client.
    member _.Explains = isDevelopment
    /// Whether the middleware is in the pipeline.
    member val IsMounted = false with get, set
