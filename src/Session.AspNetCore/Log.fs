/// What the request's side writes to the log: each sentence with an id and a name that stay (docs/LOGS.md). Never a token.
namespace Session.AspNetCore

open Microsoft.Extensions.Logging
open Session.Engine

/// 20 to 59. An id is never given to another sentence.
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
            "The session sweep failed; it is tried again in a moment. Expiry does not depend on it."
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
        book.Define<string>(
            LogLevel.Information,
            35,
            "CrossSiteRefused",
            "A request that another site had the browser send to {Path} brought no session token, and was to begin a session: refused, since a new cookie would take the place of one that the browser holds and did not send. If the endpoint is meant for it, write nothing to the session there, or set AllowCrossSiteCreation."
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

    // -- in detail

    let decided = book.Define<string, string>(LogLevel.Debug, 50, "SessionDecision", "Session of {Path}: {Reason}")

/// Every sentence that the library writes, for the page that lists them.
[<RequireQualifiedAccess>]
module internal LogSentences =
    let all = Seq.append EngineLog.book.Known EdgeLog.book.Known
