/// Renewals are to last, which takes as long as the store's disk or its replicas do; and nobody has asked for one. So no request
/// waits for one for long, and none fails for it: where the store does not acknowledge one in time, the client keeps the token
/// that it has, and this node leaves renewals alone for a while.
namespace Session.Engine

open System
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging

[<Sealed>]
type internal Renewals(access: StoreAccess, log: ILogger) =
    let limits = access.Limits
    let pause = TimeSpan.FromMinutes 1L

    // When the last one came to nothing, or was begun to see whether they work again. Zero: they work.
    let mutable failedAt = 0L

    let now () = max 1L (limits.Timer.GetTimestamp())

    /// While they do not work, one request a minute tries.
    let mayBegin () =
        match Volatile.Read &failedAt with
        | 0L -> true
        | last when limits.Timer.GetElapsedTime last < pause -> false
        | last -> Interlocked.CompareExchange(&failedAt, now (), last) = last

    let putOff cause =
        if Interlocked.Exchange(&failedAt, now ()) = 0L then
            EngineLog.renewalsPutOff log cause

    /// What came of a renewal in its short time; none: it is put off. What it has to tell is told with the rest of its request.
    member _.Try(errand: Errand, renew: Errand -> Task<Reply<'out> voption>) : Task<Reply<'out> voption> =
        task {
            if not (mayBegin ()) then
                return ValueNone
            else
                let own = Errand.Optional limits
                let! reply = renew own
                own.TakeNews() |> List.iter errand.Note

                match reply with
                | ValueSome(Reply.Failed(SessionError.Unavailable cause | SessionError.Unsure cause)) ->
                    putOff cause
                    return ValueNone
                // Others were quicker, each time.
                | ValueSome(Reply.Failed SessionError.Contended) -> return ValueNone
                | ValueSome(Reply.Partly(_, SessionError.Unacknowledged cause)) ->
                    putOff cause
                    return reply
                | ValueSome(Reply.Done _) ->
                    Volatile.Write(&failedAt, 0L)
                    return reply
                | ValueSome(Reply.Partly _)
                | ValueSome(Reply.Failed _)
                | ValueNone -> return reply
        }
