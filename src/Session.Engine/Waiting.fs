/// How long the store is waited for, and what is said of one that does not answer.
namespace Session.Engine

open System
open System.Diagnostics
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging

/// What is left of the time that one request waits for the store, all its operations together.
[<Sealed>]
type Patience(limit: TimeSpan, sharesWrites: bool) =
    let mutable waited = TimeSpan.Zero
    // When the operation that runs now first had to wait; zero: it has not.
    let mutable began = 0L

    /// Of a request.
    new(limit) = Patience(limit, true)

    /// Whether what waits for its turn may be stored together with what others wait to store. Otherwise each change has a
    /// version of its own.
    member _.SharesWrites = sharesWrites

    /// Zero once it is used up: a call that has not answered by then counts as failed.
    member _.Left =
        let running = if began = 0L then TimeSpan.Zero else Stopwatch.GetElapsedTime began
        let left = limit - waited - running
        if left > TimeSpan.Zero then left else TimeSpan.Zero

    /// The answer of a call; TimeoutException when patience ends before it comes.
    member patience.Await(call: ValueTask<'answer>) : Task<'answer> = patience.Await(call, CancellationToken.None)

    /// The same for a read, which may be given up: a store need not heed its token, or not at once.
    member patience.Await(call: ValueTask<'answer>, cancel: CancellationToken) : Task<'answer> =
        if call.IsCompleted then
            call.AsTask()
        else
            if began = 0L then
                began <- Stopwatch.GetTimestamp()

            call.AsTask().WaitAsync(patience.Left, cancel)

    /// The operation is over: what the request does by itself until the next one costs no patience.
    member _.Pause() =
        if began <> 0L then
            waited <- waited + Stopwatch.GetElapsedTime began
            began <- 0L

/// Says once that the store has failed, and once that it is back, however many requests meet the failure.
[<Sealed>]
type internal Outage(log: ILogger) =
    let mutable failures = 0L

    member _.Failed(error: exn) =
        if Interlocked.Increment &failures = 1L then
            log.LogError(
                error,
                "The session store does not answer, or fails. Requests that need a session get 503 until it is back; further failures are counted, and not logged."
            )

    member _.Worked() =
        if Volatile.Read &failures > 0L then
            let count = Interlocked.Exchange(&failures, 0L)

            if count > 0L then
                log.LogWarning("The session store answers again. {Count} calls failed.", count)
