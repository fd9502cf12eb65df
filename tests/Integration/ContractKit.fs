/// The contract kit itself: wrong stores that one of its tests alone can see, and a right one that it must not accuse.
module Integration.ContractKit

open System
open System.Collections.Concurrent
open System.Threading
open System.Threading.Tasks
open Expecto
open Session.Engine
open Session.Stores.Testing

let private healthy () = MemoryStore() :> ISessionStore

let private contract name (make: unit -> ISessionStore) (configure: StoreContractOptions -> unit) =
    let options = StoreContractOptions(Seed = 4711, Commands = 100, Histories = 20)
    configure options
    StoreContract(name, (fun _ -> Task.FromResult(make ())), options)

/// What one of its tests says of a store; nothing: all is well.
let private said (contract: StoreContract) (name: string) =
    task {
        let test = contract.Tests |> Seq.find (fun test -> test.Name.Contains name)

        try
            do! test.RunAsync()
            return ""
        with :? ContractViolationException as violation ->
            return violation.Message
    }

/// Loads that come while a write is under way answer from before the last one.
let private stale () =
    let before, writing = ConcurrentDictionary<string, StoredRecord | null>(), ref 0

    { new ForwardingStore(healthy ()) with
        override s.Load(id, cancel) =
            match before.TryGetValue id with
            | true, old when Volatile.Read &writing.contents > 0 -> ValueTask<StoredRecord | null> old
            | _ -> s.Inner.Load(id, cancel)

        override s.Replace(record, expected, cancel) =
            ValueTask<WriteResult>(
                task =
                    task {
                        Interlocked.Increment &writing.contents |> ignore

                        try
                            do! Task.Delay(2, cancel)
                            let! old = s.Inner.Load(record.Id, cancel)
                            let! answer = s.Inner.Replace(record, expected, cancel)

                            if answer = WriteResult.Written then
                                before[record.Id] <- old

                            return answer
                        finally
                            Interlocked.Decrement &writing.contents |> ignore
                    }
            ) }

/// Each of its handles has leases of its own.
[<Sealed>]
type private OwnLeases(records: ISessionStore) =
    inherit ForwardingStore(records)
    let leases = ConcurrentDictionary<string, DateTimeOffset>()
    let turn = new SemaphoreSlim(1)
    member _.Again() = new OwnLeases(records)

    override _.ClaimOverdue(now, lease, limit, cancel) =
        ValueTask<_>(
            task =
                task {
                    do! turn.WaitAsync cancel

                    try
                        let! all = records.Enumerate(null, Int32.MaxValue, cancel)

                        let mine =
                            all.Records
                            |> Seq.filter (fun it ->
                                it.DueAt <= now
                                && (match leases.TryGetValue it.Id with
                                    | true, until -> until <= now
                                    | _ -> true))
                            |> Seq.truncate limit
                            |> Array.ofSeq

                        for it in mine do
                            leases[it.Id] <- now + lease

                        return mine :> Collections.Generic.IReadOnlyList<StoredRecord>
                    finally
                        turn.Release() |> ignore
                }
        )

/// Answers first and writes with its next call: what it held is lost with its process.
[<Sealed>]
type private WriteBehind(records: ISessionStore) =
    inherit ForwardingStore(records)

    override _.Replace(record, expected, cancel) =
        ValueTask<WriteResult>(
            task =
                task {
                    match! records.Load(record.Id, cancel) with
                    | NonNull found when found.Version = expected -> return WriteResult.Written
                    | _ -> return WriteResult.Conflict
                }
        )

/// A touch takes effect a second later, which is right: within five.
let private late () =
    { new ForwardingStore(healthy ()) with
        override s.Touch(id, at, _) =
            Task.Run<unit>(fun () ->
                task {
                    do! Task.Delay 1000
                    do! s.Inner.Touch(id, at, CancellationToken.None)
                })
            |> ignore

            ValueTask.CompletedTask }

let all =
    testList
        "the contract kit"
        [ testCaseTask "loads from before, while a write is under way, are seen by the histories" (fun () ->
              task {
                  let! story = said (contract "Stale" (fun () -> stale ()) ignore) "parallel clients see one order"
                  Expect.stringContains story "does not keep the contract" "seen"
              })

          testCaseTask "claims that are exclusive within one process only are seen" (fun () ->
              task {
                  let again (store: ISessionStore) (_: CancellationToken) =
                      match store with
                      | :? OwnLeases as store -> Task.FromResult<ISessionStore>(store.Again())
                      | _ -> failtest "another store"

                  let! story =
                      said
                          (contract "Own leases" (fun () -> new OwnLeases(healthy ())) (fun o -> o.Reopen <- again))
                          "three sweepers share"

                  Expect.stringContains story "Handed out twice" "seen"
              })

          testCaseTask "what was answered and is lost with its process is seen" (fun () ->
              task {
                  let records = healthy ()
                  // The handle that stops writes behind; whoever looks at the records afterwards sees what is there.
                  let stopping _ (_: int) (_: CancellationToken) = Task.FromResult<ISessionStore>(WriteBehind records)

                  let! story =
                      said
                          (contract "Write behind" (fun () -> records) (fun o -> o.Crashing <- stopping))
                          "stopped between two requests: a logout"

                  Expect.stringContains story "the record:" "seen"
              })

          testCaseTask "a touch that takes effect a second later is right" (fun () ->
              task {
                  for test in (contract "Late touches" (fun () -> late ()) ignore).Tests do
                      if test.Name.Contains "touch" then
                          do! test.RunAsync()
              }) ]
