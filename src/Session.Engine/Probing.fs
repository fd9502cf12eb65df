/// Whether the store works: a record of no session, written, read, replaced and removed.
namespace Session.Engine

open System
open System.Collections.Generic
open System.Runtime.ExceptionServices
open System.Threading
open System.Threading.Tasks
open Session.Domain

/// What became of one call. `Fault`: it answered, and not as it should. `Failure`: it did not answer in time, or threw.
[<NoComparison; NoEquality>]
type internal ProbedCall =
    { Verb: string
      Took: TimeSpan
      Fault: string | null
      Failure: exn | null }

[<RequireQualifiedAccess>]
module internal Probing =
    /// The ids of probes begin with this. The rest is random: nodes that probe at once do not meet.
    let idPrefix = "probe-of-the-store-"

    let private written result : string | null =
        match result with
        | WriteResult.Written -> null
        | WriteResult.Unacknowledged ->
            "it is written, but not kept as widely as ends and sign-ins have to be: a failover may undo them"
        // What a driver makes of a connection that was cut.
        | WriteResult.Unknown -> raise (TimeoutException "The store does not say whether it took a write.")
        | _ -> "the store refuses it, as if somebody else had written it"

    /// A tombstone from the beginning: no count has it, no subject lists it, no token opens it, and the sweeper removes it
    /// without a word where the probe could not.
    let private write (access: StoreAccess) retention (before: Snapshot) =
        let now = access.Now
        let ended = now + TimeSpan.FromMinutes 1L - retention

        // Durable, as a logout is.
        let events = [ WasDestroyed(Revoked, ended) ]
        let state = Destroyed(Tombstone.live None [||] ended, Revoked, ended)
        access.Records.Write(before, state, events, now, access.NewOperation(), null, TimeSpan.Zero)

    /// All calls together take no longer than a request waits for the store.
    let run (access: StoreAccess) (retention: TimeSpan) (cancel: CancellationToken) : Task<ProbedCall list> =
        task {
            let errand, timer, store = access.NewErrand(), access.Limits.Timer, access.Store
            let calls = List<ProbedCall>()
            let id = String.Concat(idPrefix, Token.newId ())

            let ask verb (call: unit -> ValueTask<'answer>) (judge: 'answer -> string | null) : Task<bool> =
                task {
                    let began = timer.GetTimestamp()

                    let note fault failure =
                        let took = timer.GetElapsedTime began
                        calls.Add { Verb = verb; Took = took; Fault = fault; Failure = failure }

                    try
                        let! answer = errand.Await(call (), cancel)
                        let fault = judge answer
                        note fault null
                        return isNull fault
                    with
                    | :? OperationCanceledException as error when cancel.IsCancellationRequested ->
                        ExceptionDispatchInfo.Throw error
                        return false
                    | error ->
                        note null error
                        return false
                }

            let first = write access retention (Records.Absent id)
            let second = write access retention first
            let record (snapshot: Snapshot) = nonNull snapshot.Record

            let isIt (expected: Snapshot) (found: StoredRecord | null) : string | null =
                match found with
                | null -> "what was just written is not there"
                | found when found.Version <> expected.Version || found.Operation <> expected.Operation ->
                    "what was just written is not what is read"
                | found ->
                    match access.Read(id, found, null) with
                    | Ok _ -> null
                    | Error _ -> "what was just written cannot be read"

            let! isInserted = ask "insert" (fun () -> store.Insert(record first, CancellationToken.None)) written

            let! isThere =
                ask "load" (fun () -> store.Load(id, cancel)) (if isInserted then isIt first else fun _ -> null)

            if isInserted && isThere then
                let! _ =
                    ask
                        "replace"
                        (fun () -> store.Replace(record second, first.Version, CancellationToken.None))
                        written

                ()

            let removed () =
                ValueTask<bool>(
                    task =
                        task {
                            do! store.Remove(id, CancellationToken.None)
                            return true
                        }
                )

            let! _ = ask "remove" removed (fun _ -> null)
            return List.ofSeq calls
        }
