/// What goes into the engine and what comes out of it.
namespace Session.Engine

open System
open System.Buffers
open System.Text.Unicode
open Session.Domain

/// What happens at a sign-in when the subject has as many live sessions as it may have.
type LimitPolicy =
    /// The oldest sign-in makes room.
    | EndOldest
    /// The sign-in is refused, and the others stay.
    | RefuseNew

    override it.ToString() =
        match it with
        | EndOldest -> "EndOldest"
        | RefuseNew -> "RefuseNew"

/// Whose a session is: a name that the application gives.
[<RequireQualifiedAccess>]
module Subject =
    let maxBytes = 1024

    /// Whether it is 1 to 1,024 bytes of UTF-8. Half of a surrogate pair has no UTF-8: two such subjects would be stored
    /// as one.
    let isValid (subject: string | null) =
        match subject with
        | null
        | "" -> false
        | subject ->
            let buffer = Array.zeroCreate<byte> maxBytes
            let mutable read, written = 0, 0

            Utf8.FromUtf16(subject.AsSpan(), Span<byte> buffer, &read, &written, false, true) = OperationStatus.Done

/// Encrypts and authenticates whole records, under keys that the store does not have (ASVS 11.3.3, 14.2.4).
type IRecordProtector =
    abstract Protect: record: byte[] -> byte[]
    /// The record, or null when these bytes were not made by `Protect` under a key that is still known.
    abstract Unprotect: stored: byte[] -> byte[] | null

/// Keys for the hashes of secrets, each at least 32 bytes. New hashes are made under the current one; those under a former
/// one still open their sessions, until a renewal or an elevation replaces them. Once AbsoluteTimeout has passed none is
/// left. Not for a key that has leaked: sessions under it have to end.
[<Sealed>]
type ServerKeys(current: byte[], former: byte[] list) =
    // Of its own: an application that wipes its arrays, as it should, would leave keys of zeros, which anybody knows.
    let current = Array.copy current
    let former = List.map Array.copy former
    new(current: byte[]) = ServerKeys(current, [])
    member _.Current = current
    member _.Former = former

/// A data key, wrapped for one token.
type KeyWrap = { Label: int64; Bytes: byte[] }

/// What the engine is to do, besides the lifecycle's times.
type EngineSettings =
    {
        Policy: Policy
        /// The largest serialized data of a session, in bytes (ASVS 2.4.1). A larger write is refused, nothing changes.
        MaxDataBytes: int
        /// How many live sessions a subject may have. None: any number (ASVS 7.1.2).
        MaxSessionsPerSubject: int option
        WhenLimitReached: LimitPolicy
        /// Null: secrets are hashed with SHA-256. Else with HMAC-SHA-256, together with the session id.
        ServerKey: ServerKeys | null
        /// Whether session data is encrypted under keys that only the session's client has.
        SealsToBearer: bool
        /// Encrypts whole records, or null.
        Protector: IRecordProtector | null
    }

/// How long is waited, and for what.
type WaitLimits =
    {
        /// How long one request waits for the store, all its operations together.
        RequestTimeout: TimeSpan
        /// How long an event handler is waited for. It goes on by itself then.
        EventTimeout: TimeSpan
        /// The clock of these limits: real time, whatever the clock of the sessions says. Another one for a simulation.
        Timer: TimeProvider
        /// Where the pauses between attempts and the numbers of writes come from. A seeded one for a simulation.
        Chance: Random
    }

    /// Five seconds each.
    static member Default =
        { RequestTimeout = TimeSpan.FromSeconds 5L
          EventTimeout = TimeSpan.FromSeconds 5L
          Timer = TimeProvider.System
          Chance = Random.Shared }

/// The time and the chance of a simulation: a service, for whoever makes the engine.
[<Sealed>]
type internal Surroundings(timer: TimeProvider, chance: Random) =
    member _.Around(limits: WaitLimits) = { limits with Timer = timer; Chance = chance }

/// A session at one version.
type Snapshot =
    {
        Id: string
        /// Zero: there is no record.
        Version: int64
        /// The write that stored it.
        Operation: int64
        State: State
        /// What the store has; the state may have been seen later.
        StoredLastSeen: DateTimeOffset
        /// False: the data is sealed to the bearer, and nobody here has the key. It then looks empty.
        IsOpen: bool
        /// The wrapped keys of sealed data.
        Wraps: KeyWrap list
        /// What it was read from; null when it was not read.
        Record: StoredRecord | null
    }

/// What is true of the store after an operation that failed.
type Outcome =
    /// Refused: the store is as it was.
    | NothingChanged
    /// The store did not say: the change may be stored, now or later.
    | MayHaveChanged
    /// The store is not as it was: what is stored is handed over, and something that belongs to it did not happen; or, after
    /// `LimitExceeded`, it was ended again.
    | Changed

    override it.ToString() =
        match it with
        | NothingChanged -> "NothingChanged"
        | MayHaveChanged -> "MayHaveChanged"
        | Changed -> "Changed"

/// Why an operation on a session did not take place, or not whole. See `SessionError.outcome`. Its text is for logs.
[<RequireQualifiedAccess>]
type SessionError =
    /// The request has no session, and the operation needs one.
    | NoSession
    /// The session is over, since then.
    | Ended of Ending * at: DateTimeOffset
    /// The session may live, but not for this token: it is a guess, or was superseded.
    | Refused of Refusal
    /// Another write came first, since the data was read.
    | Conflict
    /// So many other writes came first that the engine gave up.
    | Contended
    /// The subject has as many live sessions as it may have.
    | LimitReached of most: int
    /// A sign-in was stored, and ended again: others of the same subject were stored at the same time, and there were more
    /// than there may be. The session that it was made in is over with it.
    | LimitExceeded of most: int
    /// The serialized data is larger than allowed.
    | TooLarge of bytes: int * limit: int
    /// The data holds what could not be given back, such as half of a surrogate pair: the serializer refuses it.
    | Unwritable of exn
    /// A subject is 1 to 1,024 bytes of UTF-8, without half of a surrogate pair.
    | InvalidSubject
    /// The stored record, or the data in it, cannot be read.
    | Unreadable of reason: string
    /// The data was written by a newer version of the application: this one leaves it alone.
    | NewerData of version: int * known: int
    /// The response has started, or is none that a client receives: a new token could not reach the client.
    | ResponseStarted
    /// Another site had the browser send the request, which brought no token: the browser may hold one that it did not
    /// send, and a new session would take its place.
    | CrossSite
    /// The store did not answer, or failed, before anything was changed.
    | Unavailable of exn
    /// The store did not say whether it took the change: it may be stored, now or later.
    | Unsure of exn
    /// The change is stored and its token handed over, but the store does not keep it as widely as it should, or a limit or
    /// an end that belongs to it failed.
    | Unacknowledged of exn
    /// Of several sessions some were ended, and at least so many were not: where the store stopped to answer, the rest is not
    /// counted. Try again.
    | Incomplete of ended: int * left: int * cause: SessionError

    // Without what an exception says: that may name servers, and texts of errors get into answers.
    override error.ToString() =
        let because (cause: exn) = String.Concat(" (", cause.GetType().Name, ")")

        match error with
        | SessionError.NoSession -> "NoSession"
        | SessionError.Ended(ending, _) -> String.Concat("Ended (", ending, ")")
        | SessionError.Refused refusal -> String.Concat("Refused (", refusal, ")")
        | SessionError.Conflict -> "Conflict"
        | SessionError.Contended -> "Contended"
        | SessionError.LimitReached most -> String.Concat("LimitReached (", string most, ")")
        | SessionError.LimitExceeded most -> String.Concat("LimitExceeded (", string most, ")")
        | SessionError.TooLarge(bytes, limit) -> String.Concat("TooLarge (", bytes, " of ", string limit + " bytes)")
        | SessionError.Unwritable cause -> "Unwritable" + because cause
        | SessionError.InvalidSubject -> "InvalidSubject"
        | SessionError.Unreadable reason -> String.Concat("Unreadable (", reason, ")")
        | SessionError.NewerData(version, known) ->
            String.Concat("NewerData (version ", string version, ", known ", string known + ")")
        | SessionError.ResponseStarted -> "ResponseStarted"
        | SessionError.CrossSite -> "CrossSite"
        | SessionError.Unavailable cause -> "Unavailable" + because cause
        | SessionError.Unsure cause -> "Unsure" + because cause
        | SessionError.Unacknowledged cause -> "Unacknowledged" + because cause
        | SessionError.Incomplete(ended, left, cause) ->
            String.Concat(String.Concat("Incomplete (", string ended, " ended, ", string left), " left: ", cause, ")")

[<RequireQualifiedAccess>]
module SessionError =
    /// What is true of the store after this error.
    let outcome error =
        match error with
        | SessionError.NoSession
        | SessionError.Ended _
        | SessionError.Refused _
        | SessionError.Conflict
        | SessionError.Contended
        | SessionError.LimitReached _
        | SessionError.TooLarge _
        | SessionError.Unwritable _
        | SessionError.InvalidSubject
        | SessionError.Unreadable _
        | SessionError.NewerData _
        | SessionError.ResponseStarted
        | SessionError.CrossSite
        | SessionError.Unavailable _ -> NothingChanged
        | SessionError.Unsure _ -> MayHaveChanged
        | SessionError.LimitExceeded _
        | SessionError.Unacknowledged _
        | SessionError.Incomplete _ -> Changed

    let internal ofRefusal refusal =
        match refusal with
        | Refusal.NoSession -> SessionError.NoSession
        | Refusal.Over(ending, at) -> SessionError.Ended(ending, at)
        | Refusal.Conflict -> SessionError.Conflict
        | Refusal.Exists
        | Refusal.NotDue
        | Refusal.Guess
        | Refusal.Outdated as refusal -> SessionError.Refused refusal

/// What came in place of a token that opens something.
[<RequireQualifiedAccess>]
type RefusalReason =
    /// The id of a session that there is or was, with a secret that it never had, or too long ago to tell.
    | Guessed
    /// Two different values under one name, or a cookie and a header at once: a planted cookie, perhaps.
    | Duplicated
    /// Not of the form of a token.
    | Malformed

    override it.ToString() =
        match it with
        | RefusalReason.Guessed -> "Guessed"
        | RefusalReason.Duplicated -> "Duplicated"
        | RefusalReason.Malformed -> "Malformed"

/// What the application and the log hear of, once it is stored.
type NoticeKind =
    /// With a subject: somebody has signed in, without a session before.
    | CreatedNotice
    /// A renewal was confirmed.
    | RenewedNotice
    | ElevatedNotice
    | SignedInNotice
    | DestroyedNotice of DestroyReason
    | ExpiredNotice of ExpiryKind
    /// A superseded token was presented after its grace: somebody else has, or had, this session's token.
    | ReplayedNotice
    /// A token that an elevation superseded was presented, and refused: a request in flight, or a planted token.
    | OutdatedNotice
    /// A record, or the data in it, cannot be read. It opens nothing, and stays as it is until its time is over.
    | UnreadableNotice of reason: string
    /// Each time. Only a guess names a session.
    | RefusedNotice of reason: RefusalReason

/// Never with a secret, a token or a hash.
type Notice =
    {
        Kind: NoticeKind
        Id: string
        Subject: string option
        /// The data at the end, or as it is now.
        Data: byte[]
        At: DateTimeOffset
    }

/// Told after the commit, in the order of events. What it throws is logged and changes nothing.
type INoticeBoard =
    abstract Post: Notice -> System.Threading.Tasks.ValueTask
