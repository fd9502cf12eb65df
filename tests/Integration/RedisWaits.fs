/// The Redis store waits for replicas where it is told to.
module Integration.RedisWaits

open System
open System.Threading.Tasks
open Expecto
open StackExchange.Redis
open Integration.Engines
open Integration.RedisServer
open Integration.World
open Integration.RedisWorld
open Integration.RedisWrites
open Session.Domain
open Session.Engine
open Session.Stores.Redis

let replicas =
    let quick (options: RedisStoreOptions) =
        options.WaitForReplicas <- 1
        options.WaitTimeout <- TimeSpan.FromMilliseconds 200L
        options.OperationTimeout <- TimeSpan.FromSeconds 1L

    [ testCaseTask "a write that no replica confirms is there, and not acknowledged" (fun () ->
          task {
              use server = startOne []
              use redis = openRedisAt server.Address "wait:" quick
              let store = redis :> ISessionStore
              let! inserted = store.Insert(numbered "a" 1L RecordKind.Live "ann" 1L 1uy true, none)
              Expect.equal inserted WriteResult.Unacknowledged "an insert"
              let! replaced = store.Replace(numbered "a" 2L RecordKind.Live "bob" 2L 2uy true, 1L, none)
              Expect.equal replaced WriteResult.Unacknowledged "a replace"
              let! stored = store.Load("a", none)
              Expect.equal (nonNull stored).Version 2L "and it can be loaded"
              let! listed = store.BySubject("bob", null, 10, none)
              Expect.equal listed.Records.Count 1 "and listed"
              let! routine = store.Replace(numbered "a" 3L RecordKind.Live "bob" 3L 3uy false, 2L, none)
              Expect.equal routine WriteResult.Written "what need not outlast a failover waits for nobody"
          })

      testCaseTask
          "a session that must have replicas takes no other one's place, and has the time to live of any other"
          (fun () ->
              task {
                  use server = startOne []
                  use redis = openRedisAt server.Address "taken:" quick
                  let store = redis :> ISessionStore
                  let! _ = store.Insert(numbered "a" 1L RecordKind.Ended "ann" 1L 1uy false, none)
                  let! second = store.Insert(numbered "a" 1L RecordKind.Live "bob" 2L 2uy true, none)
                  Expect.equal second WriteResult.Conflict "the id has its session"
                  let! stored = store.Load("a", none)
                  Expect.equal (nonNull stored).Operation 1L "which has ended, and stays so"
                  let! other = store.Insert(numbered "b" 1L RecordKind.Live "bob" 3L 3uy true, none)
                  Expect.equal other WriteResult.Unacknowledged "another id is free"
                  use! admin = connect server.Address

                  for id in [ "a"; "b" ] do
                      let! left = admin.GetDatabase().KeyTimeToLiveAsync(RedisKey $"taken:r:{id}")
                      // Its half hour, and JanitorMargin.
                      Expect.isGreaterThan left.Value (TimeSpan.FromHours 24.4) $"{id}: long enough"
                      Expect.isLessThanOrEqual left.Value (TimeSpan.FromHours 24.5) $"{id}: and no longer"
              })

      testCaseTask "without its replica requests go on, and their tokens are renewed later" (fun () ->
          task {
              use server = startOne []
              use redis = openRedisAt server.Address "later:" (fun o -> o.WaitForReplicas <- 1)
              use! admin = connect server.Address
              let replicas = Collections.Generic.List<IDisposable>()

              use _ =
                  { new IDisposable with
                      member _.Dispose() =
                          for replica in replicas do
                              replica.Dispose() }

              let mend () : Task =
                  task {
                      replicas.Add(replicaOf server.Port)
                      do! following (admin.GetServer server.Address) 1
                      // Where there were none it looks for them once a second.
                      do! Task.Delay 1100
                  }

              do! Engines.renewalsArePutOff redis mend
          })

      testCaseTask "a write that fewer replicas have than it asks for is not acknowledged" (fun () ->
          task {
              use server = startOne []
              use _ = replicaOf server.Port
              do! followed server 1

              for replicas, expected in [ 1, WriteResult.Written; 2, WriteResult.Unacknowledged ] do
                  use redis =
                      openRedisAt server.Address $"wait{replicas}:" (fun o ->
                          o.WaitForReplicas <- replicas
                          o.WaitTimeout <- TimeSpan.FromSeconds 2L)

                  let! answer =
                      (redis :> ISessionStore).Insert(numbered "a" 1L RecordKind.Live "ann" 1L 1uy true, none)

                  Expect.equal answer expected $"{replicas} of one"
          })

      testCaseTask "a write whose answer is late, and which is found, waits for its replicas as well" (fun () ->
          task {
              use server = startOne []

              let replace (store: ISessionStore) =
                  store.Replace(numbered "a" 2L RecordKind.Live "ann" 2L 2uy true, 1L, none)

              let insert (store: ISessionStore) = store.Insert(numbered "b" 1L RecordKind.Live "ann" 2L 2uy true, none)

              for what, id, text, write in
                  [ "a replace", "a", textOfReplace, replace
                    "an insert", "b", "$3\r\nSET\r\n", insert ] do
                  use late = new LateAnswers(server.Port)
                  use redis = openRedisAt late.Address $"{what}:" quick
                  let store = redis :> ISessionStore
                  let! _ = store.Insert(numbered "a" 1L RecordKind.Live "ann" 1L 1uy false, none)
                  late.After(text, TimeSpan.FromSeconds 1.5)
                  let! written = write store
                  Expect.equal written WriteResult.Unacknowledged $"{what}: no replica has it"
                  let! stored = store.Load(id, none)
                  Expect.equal (nonNull stored).Operation 2L $"{what}: written"
          })

      testCaseTask "with a replica a write is acknowledged, unless the answer to WAIT does not come" (fun () ->
          task {
              use server = startOne []
              use _ = replicaOf server.Port
              do! followed server 1
              use late = new LateAnswers(server.Port)

              use redis =
                  openRedisAt late.Address "wait:" (fun o ->
                      quick o
                      o.WaitTimeout <- TimeSpan.FromSeconds 5L)

              let store = redis :> ISessionStore
              let! inserted = store.Insert(numbered "a" 1L RecordKind.Live "ann" 1L 1uy true, none)
              Expect.equal inserted WriteResult.Written "the replica has it"

              use redis = openRedisAt late.Address "wait:" quick
              let store = redis :> ISessionStore
              // Not Prepare: its probe says WAIT, too, and the answers after that would be held back.
              let! _ = store.Load("a", none)
              late.After("$4\r\nWAIT", TimeSpan.FromSeconds 3L)
              let! replaced = store.Replace(numbered "a" 2L RecordKind.Live "ann" 2L 2uy true, 1L, none)
              Expect.equal replaced WriteResult.Unacknowledged "nobody said that the replica has it"
              use direct = openRedisAt server.Address "wait:" ignore
              let! stored = (direct :> ISessionStore).Load("a", none)
              Expect.equal (nonNull stored).Version 2L "written"
          }) ]

/// Without Sentinels, by the addresses of both: the driver sends what is no write of its own to the replica, once the primary is
/// away, unless it is told otherwise.
let pair =
    testCaseTask
        "while the primary of two is away, its replica is asked nothing: neither for a session, nor for a list, nor for a change"
        (fun () ->
            task {
                use primary = startOne []
                use replica = replicaOf primary.Port
                do! followed primary 1
                let addresses = $"{replica.Address},{primary.Address}"
                use plain = openRedisAt addresses "pair:" ignore

                use waiting =
                    openRedisAt addresses "pair:" (fun o ->
                        o.WaitForReplicas <- 1
                        o.WaitTimeout <- TimeSpan.FromMilliseconds 200L)

                let said (question: unit -> Task<string>) =
                    task {
                        try
                            return! question ()
                        with
                        | :? StoreRefusedException
                        | :? RedisException
                        | :? TimeoutException -> return "nobody knows"
                    }

                let loaded (store: ISessionStore) () =
                    task {
                        let! found = store.Load("a", none)
                        return if isNull found then "none" else "one"
                    }

                let listed (page: unit -> ValueTask<StoredPage>) () =
                    task {
                        let! page = page ()
                        return $"{page.Records.Count} listed"
                    }

                let changed (kind: RecordKind) (store: ISessionStore) () =
                    task {
                        let isDurable = (kind = RecordKind.Ended)
                        let! answer = store.Replace(numbered "a" 2L kind "ann" 2L 2uy isDurable, 1L, none)
                        return string answer
                    }

                let questions (redis: RedisStore) : (string * (unit -> Task<string>)) list =
                    let store = redis :> ISessionStore

                    [ "a load", loaded store
                      "a list of a subject", listed (fun () -> store.BySubject("ann", null, 10, none))
                      "a list of all", listed (fun () -> store.Enumerate(null, 10, none))
                      "several at once",
                      (fun () ->
                          task {
                              let! found = (redis :> IReadsMany).LoadMany([| "a"; "b" |], none)
                              return $"{found.Count} found"
                          })
                      "a count",
                      (fun () ->
                          task {
                              let! count = store.Count none
                              return $"{count} counted"
                          })
                      "a claim",
                      (fun () ->
                          task {
                              let! due = store.ClaimOverdue(start2026, TimeSpan.FromMinutes 1L, 10, none)
                              return $"{due.Count} claimed"
                          })
                      "a change", changed RecordKind.Live store
                      "a logout", changed RecordKind.Ended store ]

                // There is no such session, and both of them say so.
                for redis in [ plain; waiting ] do
                    let! found = loaded redis ()
                    Expect.equal found "none" "while the primary is there"

                primary.Kill()

                for name, redis in [ "no replica is waited for", plain; "one is waited for", waiting ] do
                    let isAway () = (said (loaded redis)).GetAwaiter().GetResult() = "nobody knows"
                    do! eventually $"{name}: the primary is away" isAway

                    for what, question in questions redis do
                        let! answer = said question
                        // A write that the driver has sent before it knew that is none of which anything is said, either.
                        Expect.contains [ "nobody knows"; string WriteResult.Unknown ] answer $"{name}: {what}"
            })
