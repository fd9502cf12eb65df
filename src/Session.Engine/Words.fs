/// What goes into the engine and what comes out of it.
namespace Session.Engine

open System
open Session.Domain

/// What the engine is to do, besides the lifecycle's times.
type EngineSettings =
    {
        Policy: Policy
        /// The largest serialized data of a session, in bytes (ASVS 2.4.1). A larger write is refused, nothing changes.
        MaxDataBytes: int
        /// How many live sessions a subject may have; the oldest sign-ins make room. None: any number (ASVS 7.1.2).
        MaxSessionsPerSubject: int option
        /// At least 32 bytes, or null: secrets are hashed with HMAC-SHA-256 under it.
        ServerKey: byte[] | null
    }

/// A session at one version.
type Snapshot =
    {
        Id: string
        Version: int64
        State: State
        /// What the store has; the state may have been seen later.
        StoredLastSeen: DateTimeOffset
    }

/// Why an operation on a session did not take place. Nothing was changed.
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
    /// The serialized data is larger than allowed.
    | TooLarge of bytes: int * limit: int
    /// The stored record, or the data in it, cannot be read.
    | Unreadable of reason: string
    /// The response has started: a new token could not reach the client any more.
    | ResponseStarted
    /// The store did not answer, or failed.
    | Unavailable of exn

/// What the application and the log hear of, once it is stored.
type NoticeKind =
    | CreatedNotice
    /// A renewal was confirmed.
    | RenewedNotice
    | ElevatedNotice
    | SignedInNotice
    | DestroyedNotice of DestroyReason
    | ExpiredNotice of ExpiryKind
    /// A superseded token was presented after its grace: somebody else has, or had, this session's token.
    | ReplayedNotice

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
