/// Sweepers of several nodes over one Redis, and values that nobody means.
module Integration.RedisSweeps

open System
open System.Threading.Tasks
open Expecto
open Microsoft.Extensions.Time.Testing
open StackExchange.Redis
open Integration.Engines
open Integration.RedisServer
open Integration.World
open Integration.RedisWorld
open Session.Domain
open Session.Engine
open Session.Stores.Redis

let sweepers =
    [ testCaseTask "three sweepers tell of each of 300 ends exactly once" (fun () ->
          task {
              let prefix = Guid.NewGuid().ToString("N") + ":"
              let clock = FakeTimeProvider(DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero))
              let board = Counting()
              let stores = [ for _ in 1..3 -> openRedisAt (shared.Force().Address) prefix ignore ]
              let nodes = [ for store in stores -> engineOn store clock board ]

              for i in 1..300 do
                  let! created = nodes[i % 3].Create(Token.newId, Some "ann", [||], none)
                  ok created |> ignore

              clock.Advance(TimeSpan.FromMinutes 31.0)

              let! _ =
                  [ for node in nodes do
                        for _ in 1..3 ->
                            task {
                                let mutable handled = 20

                                while handled > 0 do
                                    let! count = node.Sweep(20, none)
                                    handled <- count
                            } ]
                  |> Task.WhenAll

              Expect.equal board.Told.Length 300 "each is told"
              Expect.equal (List.distinct board.Told).Length 300 "once"

              for store in stores do
                  do! (store :> IAsyncDisposable).DisposeAsync()
          })

      testCaseTask
          "where an entry of the due index is early, each overdue record is claimed in order, and once"
          (fun () ->
              task {
                  let due (id: string) version (minutes: float) =
                      (numbered id version RecordKind.Live null version 1uy false).Due(start2026.AddMinutes minutes)

                  for limit in 1..4 do
                      do!
                          withStore ignore (fun redis _ ->
                              task {
                                  let store = redis :> ISessionStore

                                  for id, minutes in [ "b", 10.0; "early", 5.0; "d", 20.0; "later", 6.0; "e", 25.0 ] do
                                      let! _ = store.Insert(due id 1L minutes, none)
                                      ()

                                  // Their entries stay where they are: a sweep is to find that out.
                                  for id, minutes in [ "early", 15.0; "later", 60.0 ] do
                                      let! moved = store.Replace(due id 2L minutes, 1L, none)
                                      Expect.equal moved WriteResult.Written "due later"

                                  let claimed = Collections.Generic.List<string>()
                                  let mutable isOver = false

                                  while not isOver do
                                      let! some =
                                          store.ClaimOverdue(
                                              start2026.AddMinutes 30.0,
                                              TimeSpan.FromMinutes 2L,
                                              limit,
                                              none
                                          )

                                      Expect.isLessThanOrEqual some.Count limit "no more than wanted"
                                      claimed.AddRange [ for record in some -> record.Id ]
                                      isOver <- some.Count = 0 || claimed.Count > 10

                                  Expect.equal (List.ofSeq claimed) [ "b"; "early"; "d"; "e" ] $"{limit} at once"

                                  let! again =
                                      store.ClaimOverdue(start2026.AddMinutes 33.0, TimeSpan.FromMinutes 2L, 10, none)

                                  Expect.equal again.Count 4 "and all are free again when the lease is over"
                              })
              })

      testCaseTask "a sweeper that dies between claim and removal: another tells, when the lease is over" (fun () ->
          withStore ignore (fun store _ ->
              task {
                  let clock = FakeTimeProvider(DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero))
                  let board = Counting()
                  let other = engineOn store clock board

                  for _ in 1..10 do
                      let! created = other.Create(Token.newId, Some "ann", [||], none)
                      ok created |> ignore

                  clock.Advance(TimeSpan.FromMinutes 31.0)
                  // The first node claims, and is never heard of again.
                  let! claimed =
                      (store :> ISessionStore).ClaimOverdue(clock.GetUtcNow(), TimeSpan.FromMinutes 2L, 6, none)

                  Expect.equal claimed.Count 6 "claimed"
                  let! _ = other.Sweep(100, none)
                  Expect.equal board.Told.Length 4 "the others"
                  clock.Advance(TimeSpan.FromMinutes 2.0)
                  let! _ = other.Sweep(100, none)
                  Expect.equal (List.distinct board.Told).Length 10 "and then those"
                  Expect.equal board.Told.Length 10 "once"
              }))

      testCaseTask "three sweepers, and one is killed, wherever it is: each end is told, and nothing is left" (fun () ->
          task {
              let server = shared.Force()
              let mutable mostHeld = 0

              for requests in 0..8..160 do
                  let prefix = Guid.NewGuid().ToString "N" + ":"
                  let clock = FakeTimeProvider(DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero))
                  let board = Counting()
                  let stores = [ for _ in 1..2 -> openRedisAt server.Address prefix ignore ]
                  let nodes = [ for store in stores -> engineOn store clock board ]

                  let! created =
                      [ for i in 1..20 -> nodes[i % 2].Create(Token.newId, Some $"user-{i % 3}", [||], none) ]
                      |> Task.WhenAll

                  Expect.all created _.IsOk "begun"
                  clock.Advance(TimeSpan.FromMinutes 31.0)
                  // Its connection breaks after so many requests: it claims, it tells, it ends, and is heard of no more.
                  let wire = Wire.Wire(server.Port, Wire.redis prefix, requests)
                  let third = openRedisAt $"127.0.0.1:{wire.Port}" prefix ignore

                  try
                      let! _ = (engineOn third clock board).Sweep(10, none)
                      ()
                  with
                  | :? StoreRefusedException
                  | :? RedisException
                  | :? TimeoutException -> ()

                  do! (third :> IAsyncDisposable).DisposeAsync()
                  do! wire.Ended()

                  let sweep () =
                      [ for node in nodes do
                            for _ in 1..2 ->
                                task {
                                    let mutable handled = 5

                                    while handled > 0 do
                                        let! count = node.Sweep(5, none)
                                        handled <- count
                                } ]
                      |> Task.WhenAll

                  let! _ = sweep ()
                  mostHeld <- max mostHeld (20 - (List.distinct board.Told).Length)
                  clock.Advance(TimeSpan.FromMinutes 2.0)
                  let! _ = sweep ()
                  Expect.equal (List.distinct board.Told).Length 20 $"each is told, killed after {requests} requests"
                  // What it was telling of when it was killed, another tells again: those of its batch at most.
                  Expect.isLessThanOrEqual board.Told.Length 30 "and once, but for the ten that it had claimed"
                  Expect.all (List.countBy id board.Told) (fun (_, times) -> times <= 2) "none more than twice"

                  for _ in 1..3 do
                      clock.Advance(TimeSpan.FromHours 2.0)
                      let! _ = sweep ()
                      ()

                  use! admin = connect server.Address
                  let keys = admin.GetServer(server.Address).Keys(pattern = RedisValue(prefix + "*"))

                  Expect.equal
                      [ for key in keys -> string key ]
                      []
                      $"nothing is left, killed after {requests} requests"

                  for store in stores do
                      do! (store :> IAsyncDisposable).DisposeAsync()

              Expect.isGreaterThan mostHeld 0 "it was killed while it held claims"
          }) ]

/// What another program may have put in the place of a record, and whether it has a version, by which a tombstone takes its place.
let private strangers =
    [ "a word", "SET", "garbage"B, false
      "as long as a due time", "SET", "12345678"B, false
      "of another format", "SET", Array.create 64 (byte 'x'), true
      "the format, and nothing behind it", "SET", Array.create 64 1uy, true
      "times that are none",
      "SET",
      Array.concat
          [ [| 1uy; 1uy |]
            Array.zeroCreate 8
            Array.create 16 255uy
            Array.zeroCreate 10 ],
      true
      "a list", "RPUSH", "other"B, false ]

let strange =
    [ for what, command, value, hasVersion in strangers do
          testCaseTask $"in the place of a record {what}: it keeps no sweep, list or logout from the others" (fun () ->
              withStore ignore (fun redis prefix ->
                  task {
                      let store = redis :> ISessionStore
                      let clock = FakeTimeProvider(DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero))
                      let board = Counting()
                      let engine = engineOn store clock board

                      let signIn () =
                          task {
                              let! created = engine.Create(Token.newId, Some "ann", [| 1uy |], none)
                              return (ok created).Issued.Value.Reveal()
                          }

                      let! first = signIn ()
                      let! token = signIn ()
                      let! last = signIn ()
                      let strange = Http.idOf token
                      let ids = Set.ofList [ Http.idOf first; strange; Http.idOf last ]
                      use! admin = connect (shared.Force().Address)
                      let db = admin.GetDatabase()
                      let key = RedisKey $"{prefix}r:{strange}"
                      let! _ = db.KeyDeleteAsync key
                      let! _ = db.ExecuteAsync(command, [| key :> obj; value :> obj |])

                      match! present engine token with
                      | Error(SessionError.Unreadable _) -> ()
                      | other -> failtestf "it is read: %A" other

                      // Twice: a list takes out of the index what is not the subject's.
                      for _ in 1..2 do
                          let! theirs = store.BySubject("ann", null, 10, none)
                          Expect.equal (Set.ofList [ for one in theirs.Records -> one.Id ]) ids "of the subject"

                      let! all = store.Enumerate(null, 10, none)
                      Expect.equal (Set.ofList [ for one in all.Records -> one.Id ]) ids "of all"
                      let! many = (redis :> IReadsMany).LoadMany(Array.ofSeq ids, none)
                      let others = Set.remove strange ids
                      Expect.isTrue (Set.isSubset others (Set.ofList [ for one in many -> one.Id ])) "several at once"
                      let now = clock.GetUtcNow().AddMinutes 31.0
                      let! claimed = store.ClaimOverdue(now, TimeSpan.FromMinutes 1L, 10, none)
                      Expect.equal (Set.ofList [ for one in claimed -> one.Id ]) ids "claimed"

                      // When that lease is over.
                      clock.Advance(TimeSpan.FromMinutes 40.0)
                      let! swept = engine.Sweep(100, none)
                      Expect.equal swept 3 "swept"
                      Expect.equal (Set.ofList board.Told) others "the others are told of"
                      let! again = engine.Sweep(100, none)
                      Expect.equal again 0 "and it is looked at again later"

                      let! alive = signIn ()
                      let! ended = engine.DestroyEvery(Revoked, none)
                      Expect.equal ended.IsOk (command = "SET") $"a list cannot be ended, and that is said: {ended}"

                      match! present engine alive with
                      | Error(SessionError.Ended _) -> ()
                      | other -> failtestf "it lives: %A" other

                      let! left = store.Load(strange, none)
                      Expect.equal ((nonNull left).Kind = RecordKind.Ended) hasVersion "a tombstone takes its place"
                  })) ]
