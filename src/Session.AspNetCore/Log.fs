/// What the request's side writes to the log: each sentence with an id and a name that stay (docs/LOGS.md). Never a token.
namespace Session.AspNetCore

open Microsoft.Extensions.Logging
open Session.Engine

/// 20 to 69. An id is never given to another sentence.
[<RequireQualifiedAccess>]
module internal EdgeLog =
    let book = LogBook()

    // -- at start

    let memoryByDefault =
        book.Define<string>(
            LogLevel.Warning,
            20,
            "MemoryByDefault",
            "Sessions of {Type} are kept in the memory of this process and end with it: choose a store, such as .UseSqlite(\"sessions.db\"), or say .UseMemory()."
        )

    let noCompareAndSwap =
        book.Define<string>(
            LogLevel.Warning,
            21,
            "NoCompareAndSwap",
            "The store of the sessions of {Type} does not compare and swap: with several nodes parallel updates can lose one, and a late save can undo a logout. Choose one that does, such as UseRedis."
        )

    let notAlwaysSecure =
        book.Define<string>(
            LogLevel.Warning,
            22,
            "CookieNotAlwaysSecure",
            "Cookie.SecurePolicy of the sessions of {Type} is not Always: browsers may send the session cookie over plain HTTP, where it can be read and planted. Set it to Always, also behind a proxy that ends TLS."
        )

    let storeNote = book.Define<string>(LogLevel.Warning, 23, "StoreNote", "Session store: {Note}")

    let sweepFailed =
        book.Define(
            LogLevel.Error,
            24,
            "SweepFailed",
            "The session sweep failed; it is tried again in a moment. Expiry does not depend on it. Said once, and each hour, until it works."
        )

    // -- tokens that open nothing

    let replayed =
        book.Define<string>(
            LogLevel.Warning,
            30,
            "TokenReplayed",
            "A superseded token of session {SessionId} was presented after its grace: it may be stolen."
        )

    let outdated =
        book.Define<string>(
            LogLevel.Information,
            31,
            "TokenOutdated",
            "A token of session {SessionId} from before an elevation was presented, and refused."
        )

    let guessed =
        book.Define<string>(
            LogLevel.Information,
            32,
            "TokenGuessed",
            "A token with a wrong secret was presented for session {SessionId}, and refused."
        )

    let doubled =
        book.Define(
            LogLevel.Information,
            33,
            "TokenDoubled",
            "A request brought two different session tokens: it has no session. One may be planted, or left by a cookie of another path or domain; while both are there no sign-in stays. A logout ends both; the other cookie has to be deleted."
        )

    let begunBesideStranger =
        book.Define<string>(
            LogLevel.Information,
            34,
            "TokenOfNobody",
            "A session began for a request whose token this application does not know: the session may be long over, its store emptied, or another application on this host uses the cookie name {Cookie}, too. Then each of the two signs out the other's users: give one another Cookie.Name."
        )

    let crossSite =
        book.Define<string, string>(
            LogLevel.Information,
            35,
            "CrossSiteRefused",
            "Another site ({Origin}) had the browser send a request to {Path}, which was to change, begin or end a session: refused. If the site is yours, name it in TrustedOrigins; if the endpoint is meant for other sites, say .AllowCrossSite() there, or write nothing to the session."
        )

    // -- answers

    let failedLate =
        book.Define(
            LogLevel.Error,
            40,
            "FailedAfterStart",
            "A session operation failed after the response had started: the connection is cut."
        )

    let dataUnreadable =
        book.Define<string>(
            LogLevel.Error,
            41,
            "DataUnreadable",
            "The data of a session cannot be read as {Type}. It stays as it is."
        )

    let plainHttp =
        book.Define<string>(
            LogLevel.Warning,
            42,
            "SecureCookieOverPlainHttp",
            "A session cookie went out over plain HTTP, on {Host}. It is Secure: clients do not send it back there, but for browsers on localhost, and each request begins anew. Use HTTPS; for development only, set Cookie.SecurePolicy to SameAsRequest. Said once."
        )

    let dataUnwritable =
        book.Define<string>(
            LogLevel.Error,
            43,
            "DataUnwritable",
            "The data of a session cannot be stored as {Type}. Nothing was changed."
        )

    let dataChanged =
        book.Define<string>(
            LogLevel.Error,
            44,
            "DataChanged",
            "The data of a session does not come back as it was written: {Difference}. See docs/DATA.md. (Looked for in Development only.)"
        )

    // -- the user of a request

    let userWaitedFor =
        book.Define<string, string>(
            LogLevel.Warning,
            48,
            "UserWaitedFor",
            "HttpContext.User was asked for on {Endpoint} before its session of {Type} was read: a thread waited for the store. Have it read first: by [Authorize], by a parameter of type ClaimsPrincipal or Session<T>, by .WithMetadata(new SessionMetadata(typeof(T))), or await HttpContext.AuthenticateAsync(). Said once."
        )

    let ticketNotExtended =
        book.Define<string>(
            LogLevel.Information,
            45,
            "TicketNotExtended",
            "A ticket of the scheme {Scheme} was not extended or changed as its response began: its session has ended, was written meanwhile, or the store failed. It ends when it would have."
        )

    // -- in detail

    let decided =
        book.Define<string, string, string>(
            LogLevel.Debug,
            50,
            "SessionDecision",
            "Session of {Path}: {Reason} (id: {SessionId})"
        )

    // -- HttpContext.Session

    let readInPlace =
        book.Define<string>(
            LogLevel.Warning,
            55,
            "SessionReadInPlace",
            "HttpContext.Session was read at {Path} before it was loaded, and a thread waited for the store. From now on this endpoint's session is loaded before the endpoint runs; elsewhere call await HttpContext.Session.LoadAsync() first. Said once."
        )

    let noConsent =
        book.Define<string>(
            LogLevel.Warning,
            56,
            "SessionWithoutConsent",
            "What was written to HttpContext.Session at {Path} is not kept: the visitor has not consented to cookies, and Cookie.IsEssential is false. Set it where the application cannot do without the session. Said once."
        )

    let notStoredAtStart =
        book.Define<int>(
            LogLevel.Error,
            57,
            "SessionNotStoredAtStart",
            "What was written to HttpContext.Session while the headers were written could not be stored: the answer is {Status}."
        )

    let formerStoreFailed =
        book.Define(
            LogLevel.Error,
            58,
            "FormerStoreFailed",
            "The store of a session that another middleware began does not answer, or fails. The session is left there; its request gets a 503."
        )

    let formerUnreadable =
        book.Define(
            LogLevel.Warning,
            59,
            "FormerSessionUnreadable",
            "A session that the framework's middleware began cannot be read: it stays where it is, and its client begins anew."
        )

    // -- open connections

    let signalsFailed =
        book.Define(
            LogLevel.Warning,
            60,
            "SignalsFailed",
            "Notices of ended sessions cannot be sent or heard on this node: connections of a session that ends on another node are closed by the next LiveCheck. Said once, until it works."
        )

    let endedCallbackFailed =
        book.Define<string>(
            LogLevel.Error,
            61,
            "EndedCallbackFailed",
            "What was registered with the Ended token of session {SessionId} failed. The session is over, or elevated, all the same."
        )

    let liveCheckFailed =
        book.Define(
            LogLevel.Error,
            62,
            "LiveCheckFailed",
            "The look at the sessions of open connections failed. It is tried again in a moment."
        )

    // -- ends by an identity provider

    let logoutRefused =
        book.Define<string>(
            LogLevel.Warning,
            65,
            "LogoutRefused",
            "A back-channel logout was refused, and nobody was signed out: {Reason}."
        )

    let logoutFailed =
        book.Define<string>(
            LogLevel.Error,
            66,
            "LogoutFailed",
            "A back-channel logout failed: {Reason}. Sessions of it may live; the identity provider was told so, and may try again."
        )

    let logoutDone =
        book.Define<int>(LogLevel.Information, 67, "LogoutDone", "A back-channel logout has ended {Count} sessions.")

    // -- the dashboard

    let endedByOperator =
        book.Define<string, string>(
            LogLevel.Information,
            68,
            "EndedByOperator",
            "{Operator} ended session {SessionId} on the dashboard."
        )

    let allEndedByOperator =
        book.Define<string, int>(
            LogLevel.Information,
            69,
            "AllEndedByOperator",
            "{Operator} ended all {Count} sessions of a subject on the dashboard."
        )

/// Every sentence that the library writes, for the page that lists them.
[<RequireQualifiedAccess>]
module internal LogSentences =
    let all = Seq.append EngineLog.book.Known EdgeLog.book.Known

/// The sentences about HttpContext.Session as functions: C# has no use for values that are functions.
[<RequireQualifiedAccess>]
module internal CompatibilityLog =
    let readInPlace (log: ILogger) (path: string) = EdgeLog.readInPlace log null path
    let noConsent (log: ILogger) (path: string) = EdgeLog.noConsent log null path
    let notStoredAtStart (log: ILogger) (error: exn) (status: int) = EdgeLog.notStoredAtStart log error status
    let formerUnreadable (log: ILogger) = EdgeLog.formerUnreadable log null

/// The sentences about back-channel logouts as functions.
[<RequireQualifiedAccess>]
module internal LogoutLog =
    let refused (log: ILogger) (reason: string) = EdgeLog.logoutRefused log null reason
    let failed (log: ILogger) (error: exn | null) (reason: string) = EdgeLog.logoutFailed log error reason
    let finished (log: ILogger) (count: int) = EdgeLog.logoutDone log null count
