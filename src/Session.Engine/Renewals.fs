/// Renewals are to last, which takes as long as the store's disk or its replicas do; and nobody has asked for one. So no request
/// waits for one for long, and none fails for it: where the store does not acknowledge one in time, the client keeps the token
/// that it has, and this node leaves renewals alone for a while.
namespace Session.Engine

open System
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open NonStructuralComparison // the general operators allocate for each comparison

/// What became of a renewal.
[<RequireQualifiedAccess; NoComparison; NoEquality>]
type internal Renewed<'out> =
    /// Nothing was sent: it is not the time, or somebody writes to the session now.
    | NotBegun
    /// It came to nothing, or may yet be stored: nobody has the token.
    | PutOff
    | Answered of Reply<'out>

[<Sealed>]
type internal Renewals(access: StoreAccess, log: ILogger) =
    let limits = access.Limits
    let pause, quiet = TimeSpan.FromMinutes 1L, TimeSpan.FromMinutes 10L

    // When the last one came to nothing, or was begun to see whether they work again. Zero: they work.
    let mutable failedAt = 0L
    // When that was said. Zero: never.
    let mutable saidAt = 0L

    let now () = max 1L (limits.Timer.GetTimestamp())
    let isWithin (time: TimeSpan) since = limits.Timer.GetElapsedTime(since: int64) < time

    /// While they do not work one request a minute tries, and has taken the place of the others then.
    let tryBegin (taken: byref<int64>) =
        taken <- now ()

        match Volatile.Read &failedAt with
        | 0L -> true
        | last when isWithin pause last -> false
        | last -> Interlocked.CompareExchange(&failedAt, taken, last) = last

    /// Nothing was learnt: the next one may try at once.
    let giveBack taken =
        let before = taken - int64 (pause.TotalSeconds * float limits.Timer.TimestampFrequency)
        Interlocked.CompareExchange(&failedAt, max 1L before, taken) |> ignore

    let putOff cause =
        Volatile.Write(&failedAt, now ())

        if saidAt = 0L || not (isWithin quiet saidAt) then
            saidAt <- now ()
            EngineLog.renewalsPutOff log cause

    /// `renew`: with an errand of its own; none, where nothing was sent. `isIssued`: whether there is a token that the store has
    /// acknowledged. What it has to tell is told with the rest of its request.
    member _.Try
        (errand: Errand, isIssued: 'out -> bool, renew: Errand -> Task<Reply<'out> voption>)
        : Task<Renewed<'out>> =
        task {
            let mutable taken = 0L

            if not (tryBegin &taken) then
                return Renewed.NotBegun
            else
                // From here on its time runs, and not that of the request.
                errand.Pause()
                let own = Errand.Optional limits
                let mutable reply = ValueNone

                try
                    let! answer = renew own
                    reply <- answer
                finally
                    if reply.IsNone then
                        giveBack taken

                own.TakeNews() |> List.iter errand.Note

                match reply with
                | ValueNone -> return Renewed.NotBegun
                | ValueSome(Reply.Failed(SessionError.Unavailable cause | SessionError.Unsure cause)) ->
                    putOff cause
                    return Renewed.PutOff
                // Others were quicker, each time.
                | ValueSome(Reply.Failed SessionError.Contended) ->
                    giveBack taken
                    return Renewed.PutOff
                | ValueSome(Reply.Partly(_, SessionError.Unacknowledged cause) as reply) ->
                    putOff cause
                    return Renewed.Answered reply
                | ValueSome(Reply.Done out as reply) when isIssued out ->
                    Volatile.Write(&failedAt, 0L)
                    return Renewed.Answered reply
                | ValueSome reply ->
                    giveBack taken
                    return Renewed.Answered reply
        }
