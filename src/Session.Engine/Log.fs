/// What the engine writes to the log: each sentence with an id and a name that stay (docs/LOGS.md). Never a token or a hash.
namespace Session.Engine

open System
open System.Collections.Generic
open Microsoft.Extensions.Logging

/// A sentence of the log, as the documents list it.
[<NoComparison; NoEquality>]
type internal LogSentence = { Id: int; Name: string; Level: LogLevel; Text: string }

/// Sentences in the order in which they are defined. Their parameters are counted by the framework, once.
[<Sealed>]
type internal LogBook() =
    let known = List<LogSentence>()

    let note level id name text =
        known.Add { Id = id; Name = name; Level = level; Text = text }
        EventId(id, name)

    member _.Known: IReadOnlyList<LogSentence> = known

    member _.Define(level, id, name, text) =
        let write = LoggerMessage.Define(level, note level id name text, text)
        fun (log: ILogger) (error: exn | null) -> write.Invoke(log, error)

    member _.Define<'a>(level, id, name, text) =
        let write = LoggerMessage.Define<'a>(level, note level id name text, text)
        fun (log: ILogger) (error: exn | null) a -> write.Invoke(log, a, error)

    member _.Define<'a, 'b>(level, id, name, text) =
        let write = LoggerMessage.Define<'a, 'b>(level, note level id name text, text)
        fun (log: ILogger) (error: exn | null) a b -> write.Invoke(log, a, b, error)

    member _.Define<'a, 'b, 'c>(level, id, name, text) =
        let write = LoggerMessage.Define<'a, 'b, 'c>(level, note level id name text, text)
        fun (log: ILogger) (error: exn | null) a b c -> write.Invoke(log, a, b, c, error)

/// 1 to 19. An id is never given to another sentence.
[<RequireQualifiedAccess>]
module internal EngineLog =
    let book = LogBook()

    let storeFailed =
        book.Define(
            LogLevel.Error,
            1,
            "StoreFailed",
            "The session store does not answer, or fails. Requests that need a session get 503 until it is back; further failures are counted, and not logged."
        )

    let storeIsBack =
        book.Define<int64>(LogLevel.Warning, 2, "StoreIsBack", "The session store answers again. {Count} calls failed.")

    let handlerIsSlow =
        book.Define<string, string, TimeSpan>(
            LogLevel.Error,
            3,
            "EventHandlerIsSlow",
            "The handler of the event '{Event}' of session {SessionId} is not done after {Limit}: it is not waited for any longer. The session is as the event says all the same."
        )

    let handlerFailed =
        book.Define<string, string>(
            LogLevel.Error,
            4,
            "EventHandlerFailed",
            "The handler of the event '{Event}' of session {SessionId} failed. The session is as the event says all the same."
        )

    let recordUnreadable =
        book.Define<string, string>(
            LogLevel.Error,
            5,
            "RecordUnreadable",
            "The record of session {SessionId} cannot be read: {Reason}. It opens nothing."
        )

    let expiryNotTold =
        book.Define<string>(
            LogLevel.Error,
            6,
            "ExpiryNotTold",
            "The expiry handler failed for session {SessionId} for a day: it is not tried again."
        )

    let unreadableRemoved =
        book.Define<string>(
            LogLevel.Error,
            7,
            "UnreadableRemoved",
            "The unreadable record of session {SessionId} is removed."
        )

    let renewalsPutOff =
        book.Define(
            LogLevel.Warning,
            8,
            "RenewalsPutOff",
            "The session store does not acknowledge the renewal of a token within half of RequestTimeout: clients keep the tokens that they have, and one renewal a minute is tried. Not said again for ten minutes."
        )
