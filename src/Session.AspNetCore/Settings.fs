/// Every knob, its default and its reason.
namespace Session.AspNetCore

open System
open System.Collections.Generic
open System.Text.Json.Nodes
open System.Threading.Tasks
open Microsoft.AspNetCore.Http
open Session.Domain
open Session.Engine

/// Why an operation on a session did not take place, or not whole. See `SessionError.outcome`.
type SessionError = Session.Engine.SessionError

/// What hears of one notice. Its services are a scope of their own, which ends when the task does.
type NoticeHandler = IServiceProvider -> Task

/// How sessions of one kind of data live and travel. (CLIMutable is for the options of C#, which change a copy of their own.)
[<CLIMutable; NoEquality; NoComparison>]
type SessionSettings =
    {
        /// Default: `__Host-sid`; with a Domain or another Path `__Secure-sid`; without Secure `sid`.
        CookieName: string option
        /// Default none: the cookie goes to this host only. With one, every sub-domain can read and overwrite it.
        CookieDomain: string option
        /// Default `/`.
        CookiePath: string
        /// Default Lax. None needs Secure (RFC 6265bis 5.6.7).
        SameSite: SameSiteMode
        /// Default Always, whatever the request looks like behind a proxy (ASVS 3.3.1).
        SecurePolicy: CookieSecurePolicy
        /// Default true; false is refused at start (ASVS 3.3.4).
        HttpOnly: bool
        /// Default false. For third-party contexts (CHIPS): needs Secure and SameSite=None. The cookie's name ends in `-p` then.
        Partitioned: bool
        /// Default none: the cookie ends with the browser. At most the absolute timeout, and that or at least RotateEvery and
        /// IdleTimeout together: renewals send it again.
        CookieMaxAge: TimeSpan option
        /// Default none: cookies only. The name of a request and response header that carries the token instead, for
        /// APIs and mobile clients. A request with both is a 400.
        HeaderName: string option
        /// Default none. Origins such as `https://app.example.com` whose pages may have the browser change sessions here. Other
        /// origins than the request's own may not, sub-domains included, by an unsafe method and the cookie (OWASP).
        TrustedOrigins: string list
        /// Default false: what another site had the browser send changes, begins and ends no session, and where it brings no
        /// token begins none by a GET either: the browser may hold one that it did not send (SameSite).
        AllowCrossSiteWrites: bool
        /// Default 30 minutes (ASVS 7.3.1).
        IdleTimeout: TimeSpan
        /// Default 8 hours (ASVS 7.3.2).
        AbsoluteTimeout: TimeSpan
        /// An anonymous session whose token never came back ends then. Default none: 10 minutes, or AbsoluteTimeout when that
        /// is shorter.
        ConfirmTimeout: TimeSpan option
        /// Default 15 minutes; None: a token is renewed by elevations only.
        RotateEvery: TimeSpan option
        /// Default 30 seconds: for requests in flight while a renewal is confirmed.
        RotationGrace: TimeSpan
        /// Default 1 hour: how long a session that ended is remembered as such.
        TombstoneRetention: TimeSpan
        /// Default: a token that is presented after its grace ends the session.
        OnReplay: OnReplay
        /// Default 65,536 bytes of serialized data.
        MaxDataBytes: int
        /// Default none.
        MaxSessionsPerSubject: int option
        /// Default: the oldest sign-in makes room.
        WhenLimitReached: LimitPolicy
        /// Default 1. Raise it with each change of the data's shape that old data does not fit, and say in Upcasters how
        /// to bring data of each version before to the next. Data of a newer version is left alone (503), so that old
        /// and new nodes can run side by side. JSON only.
        DataVersion: int
        /// From each version before DataVersion to the next.
        Upcasters: Map<int, JsonNode -> JsonNode>
        /// Default none; at least 32 bytes. Stored hashes are then worthless to whoever writes to the store.
        ServerKey: byte[] option
        /// Default none. Keys that still open sessions, and make no new hashes. To replace ServerKey in a fleet: first the
        /// new one here on every node, then change places, and remove the old one after AbsoluteTimeout.
        FormerServerKeys: byte[] list
        /// Default: 128 random bits. 1 to 64 of A-Z a-z 0-9 _ -. The secret is always ours.
        GenerateId: (HttpContext -> string) option
        /// Default 1 minute, give or take a fifth.
        SweepInterval: TimeSpan
        /// Default 30 seconds: how often the sessions that this node has connections open for are looked at in the store, 500 by
        /// one command. So long a connection outlives its session where no notice of the end comes through.
        LiveCheck: TimeSpan
        /// Default false: an open connection is no activity. True: while this node has a connection open for a session, and looks
        /// whether it has ended, IdleTimeout does not end it. AbsoluteTimeout does. Needs a LiveCheck of at most a quarter of
        /// IdleTimeout.
        ConnectionsExtendIdle: bool
        /// Default 5 seconds, at most 10 minutes: what one request waits for the store, all its operations together. Then it
        /// gets a 503. Each operation by itself waits so long in what goes on behind its answer (a WebSocket, a stream, a hub), and
        /// for each session a call without a request: after three that the store has left without an answer it tries no more.
        RequestTimeout: TimeSpan
        /// Default 5 seconds, at most 10 minutes: how long the handler of an event is waited for, of an end by time at least
        /// 30 seconds. It goes on by itself then.
        EventTimeout: TimeSpan
        /// Default false: 503 when the store is down. True: requests that only read go on without a session; what needs
        /// a session or a user is a 503 then as well.
        ContinueWithoutStore: bool
        /// Default false. Whether OnNotice has to hear of ends by time: a store that cannot find them is refused at start.
        HearsExpiry: bool
        /// What hears of this notice, which is stored already. Default none, which costs nothing. What a handler throws is
        /// logged, and changes nothing.
        OnNotice: Notice -> NoticeHandler option
    }
