/// The entries that lead to a record, in every order in which several nodes make and remove them.
module Integration.RedisIndexes

open System
open System.Text
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

let contents =
    [ testCaseTask "the layout of a value, read by another program" (fun () ->
          withStore ignore (fun store prefix ->
              task {
                  let at = DateTimeOffset(2026, 5, 4, 3, 2, 1, TimeSpan.Zero)

                  let record =
                      StoredRecord(
                          "an-id",
                          1L,
                          RecordKind.Live,
                          at,
                          at.AddMinutes 30.0,
                          "Zoë",
                          -5L,
                          ReadOnlyMemory "body"B
                      )

                  let! _ = (store :> ISessionStore).Insert(record, none)
                  let! admin = connect (shared.Force().Address)
                  use admin = admin
                  let db = admin.GetDatabase()
                  let! value = db.StringGetAsync(RedisKey(prefix + "r:an-id"))
                  let value = nonNull (RedisValue.op_Implicit value: byte[] | null)

                  let number start =
                      Buffers.Binary.BinaryPrimitives.ReadInt64BigEndian(ReadOnlySpan<byte>(value, start, 8))

                  Expect.equal (value[0], value[1]) (1uy, 1uy) "format and kind"
                  Expect.equal (number 2) 1L "version"
                  Expect.equal (number 10) at.UtcTicks "last seen"
                  Expect.equal (number 18) (at.AddMinutes 30.0).UtcTicks "due"
                  Expect.equal (number 26) -5L "operation"
                  Expect.equal (int value[34] * 256 + int value[35]) 4 "length of the subject"
                  Expect.equal (Encoding.UTF8.GetString(value, 36, 4)) "Zoë" "subject"
                  Expect.equal value[40..] "body"B "body"
                  let! left = db.KeyTimeToLiveAsync(RedisKey(prefix + "r:an-id"))
                  Expect.isGreaterThan left.Value (TimeSpan.FromHours 24.4) "a time to live well past its time"
                  // A sweeper that finds it too early puts it back.
                  do! (store :> ISessionStore).Reschedule("an-id", 1L, at.AddHours 2.0, none)
                  let! left = db.KeyTimeToLiveAsync(RedisKey(prefix + "r:an-id"))
                  Expect.isGreaterThan left.Value (TimeSpan.FromHours 25.9) "and past another time"
              }))

      testCaseTask "indexes do not grow: a thousand sessions come and go, and no key is left" (fun () ->
          withStore ignore (fun store prefix ->
              task {
                  let clock = FakeTimeProvider(DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero))
                  let engine = engineOn store clock silent

                  for round in 1..10 do
                      let! created =
                          [ for i in 1..100 -> engine.Create(Token.newId, Some $"user-{i % 7}", [||], none) ]
                          |> Task.WhenAll

                      let! _ =
                          [ for opened in created[..49] -> engine.SignIn(ok opened, $"other-{round}", [||], none) ]
                          |> Task.WhenAll

                      let! _ = engine.DestroyAll("user-3", None, Revoked, none)
                      ()

                  for _ in 1..4 do
                      clock.Advance(TimeSpan.FromHours 2.0)
                      let mutable handled = 100

                      while handled = 100 do
                          let! count = engine.Sweep(100, none)
                          handled <- count

                  let! admin = connect (shared.Force().Address)
                  use admin = admin
                  let server = admin.GetServer(shared.Force().Address)
                  let left = [ for key in server.Keys(pattern = RedisValue(prefix + "*")) -> string key ]
                  Expect.equal left [] "nothing is left"
              }))

      testCaseTask "a listing prunes entries whose record is gone" (fun () ->
          withStore ignore (fun store prefix ->
              task {
                  let engine = engine store
                  let! created = engine.Create(Token.newId, Some "ann", [||], none)
                  let! admin = connect (shared.Force().Address)
                  use admin = admin
                  let db = admin.GetDatabase()
                  // As the janitor does, or an operator.
                  let! _ = db.KeyDeleteAsync(RedisKey(prefix + "r:" + (ok created).Snapshot.Id))
                  let! found = engine.List("ann", none)
                  Expect.isEmpty (ok found) "not listed"
                  let! length = db.SortedSetLengthAsync(RedisKey(prefix + "s:ann"))
                  Expect.equal length 0L "and gone from the index"
              }))

      testCaseTask "no token is in the server, at no time" (fun () ->
          withStore ignore (fun store prefix ->
              task {
                  let engine = engine store
                  let! created = engine.Create(Token.newId, Some "ann", "data"B, none)
                  let token = (ok created).Issued.Value.Reveal()
                  let secret = token.Substring(token.IndexOf '.' + 1)
                  let! admin = connect (shared.Force().Address)
                  use admin = admin
                  let db = admin.GetDatabase()
                  let server = admin.GetServer(shared.Force().Address)

                  for key in server.Keys(pattern = RedisValue(prefix + "*")) do
                      let! dump = db.KeyDumpAsync key
                      let text = Encoding.Latin1.GetString(nonNull dump)
                      Expect.isFalse (text.Contains secret) (string key)
              })) ]

let removals =
    [ testCaseTask "RemoveVersion removes just the record that it names" (fun () ->
          withStore ignore (fun redis prefix ->
              task {
                  let store = redis :> ISessionStore
                  let removes = (redis :> obj) :?> IRemovesVersion
                  let tombstone = numbered "a" 1L RecordKind.Ended "ann" 7L 1uy false
                  let! _ = store.Insert(tombstone, none)

                  for what, version, operation in [ "version", 2L, 7L; "operation", 1L, 8L ] do
                      do! removes.RemoveVersion("a", version, operation, none)
                      let! stored = store.Load("a", none)
                      Expect.isNotNull stored $"another {what}: it stays"
                      let! listed = store.BySubject("ann", null, 10, none)
                      Expect.equal listed.Records.Count 1 $"another {what}: it stays listed"

                  do! removes.RemoveVersion("a", 1L, 7L, none)
                  let! stored = store.Load("a", none)
                  Expect.isNull stored "this one goes"
                  use! admin = connect (shared.Force().Address)
                  let server = admin.GetServer(shared.Force().Address)
                  let left () = [ for key in server.Keys(pattern = RedisValue(prefix + "*")) -> string key ]
                  Expect.equal (left ()) [] "with all its entries"

                  // The session that has the id now.
                  let! inserted = store.Insert(numbered "a" 1L RecordKind.Live "bob" 9L 1uy false, none)
                  Expect.equal inserted WriteResult.Written "the id is free"
                  do! removes.RemoveVersion("a", 1L, 7L, none)
                  let! all = store.Enumerate(null, 10, none)
                  Expect.equal [ for record in all.Records -> record.Operation ] [ 9L ] "it stays"
                  let! count = store.Count none
                  Expect.equal count 1L "and is counted"
              }))

      testCaseTask "an id that is given out again while its tombstone is removed keeps its entries" (fun () ->
          withStore ignore (fun redis _ ->
              task {
                  let store = redis :> ISessionStore
                  let removes = (redis :> obj) :?> IRemovesVersion

                  for round in 1..200 do
                      let id = $"id-{round}"
                      let! _ = store.Insert(numbered id 1L RecordKind.Ended null 7L 1uy false, none)

                      let insert =
                          task {
                              let mutable result = WriteResult.Conflict

                              while result = WriteResult.Conflict do
                                  let! answer = store.Insert(numbered id 1L RecordKind.Live null 9L 1uy false, none)
                                  result <- answer
                          }

                      do! removes.RemoveVersion(id, 1L, 7L, none)
                      do! insert

                  let! all = store.Enumerate(null, 1000, none)
                  Expect.equal all.Records.Count 200 "each is listed"
                  let! count = store.Count none
                  Expect.equal count 200L "and counted"
                  let! due = store.ClaimOverdue(start2026.AddHours 1.0, TimeSpan.FromMinutes 1L, 1000, none)
                  Expect.equal due.Count 200 "and comes to its time"
              })) ]

/// The one session that there is: listed, counted, and found when it is due.
let private hasItsEntries (store: ISessionStore) (subject: string | null) (operation: int64) =
    task {
        let! all = store.Enumerate(null, 10, none)
        Expect.equal [ for record in all.Records -> record.Operation ] [ operation ] $"{subject}: listed"
        let! count = store.Count none
        Expect.equal count 1L $"{subject}: counted"

        match subject with
        | null -> ()
        | name ->
            let! theirs = store.BySubject(name, null, 10, none)
            Expect.equal theirs.Records.Count 1 "in the list of the subject"

        let! due = store.ClaimOverdue(start2026.AddHours 1.0, TimeSpan.FromMinutes 1L, 10, none)
        Expect.equal due.Count 1 $"{subject}: and it comes to its time"
    }

let entries =
    [ testCaseTask "a sign-in that comes while the subject loses the session before stays in its list" (fun () ->
          task {
              let server = shared.Force()
              use late = new LateAnswers(server.Port)
              let prefix = Guid.NewGuid().ToString "N" + ":"
              use other = openRedisAt server.Address prefix ignore
              let other = other :> ISessionStore
              let elevated version subject = numbered "a" version RecordKind.Live subject version 1uy true

              let listed subject =
                  task {
                      let! page = other.BySubject(subject, null, 10, none)
                      return [ for record in page.Records -> record.Id ]
                  }

              use slow = openRedisAt late.Address prefix (fun o -> o.OperationTimeout <- TimeSpan.FromSeconds 10L)
              let slow = slow :> ISessionStore
              let! _ = slow.Insert(elevated 1L "ann", none)

              // It has become bob's; what is said of that record, by which ann's entry goes, is late.
              late.After($"GET\r\n${prefix.Length + 3}\r\n{prefix}r:a\r\n", TimeSpan.FromSeconds 2L)
              let leaving = slow.Replace(elevated 2L "bob", 1L, none).AsTask()
              do! eventually "the question of whose it is" (fun () -> late.HasCome)
              let! back = other.Replace(elevated 3L "ann", 2L, none)
              Expect.equal back WriteResult.Written "ann's again"
              let! left = leaving
              Expect.equal left WriteResult.Written "and it was bob's"
              let! anns = listed "ann"
              Expect.equal anns [ "a" ] "whoever ends all of ann's sessions finds it"
              let! bobs = listed "bob"
              Expect.isEmpty bobs "and bob has none"
          })

      testCaseTask
          "a session that gets the id of a tombstone, whose removal takes its entries away before it is there, has them again"
          (fun () ->
              task {
                  let server = shared.Force()

                  for subject in ([ null; "ann" ]: (string | null) list) do
                      use held = new HeldRequests(server.Port)
                      let prefix = Guid.NewGuid().ToString "N" + ":"
                      use other = openRedisAt server.Address prefix ignore
                      let other = other :> ISessionStore

                      use slow =
                          openRedisAt held.Address prefix (fun o -> o.OperationTimeout <- TimeSpan.FromSeconds 10L)

                      let slow = slow :> ISessionStore
                      let! _ = other.Insert(numbered "a" 1L RecordKind.Ended null 7L 1uy false, none)
                      let! _ = slow.Load("a", none)

                      // Its entries have gone before, and the due index has had one of the tombstone's.
                      held.From "$3\r\nSET\r\n"
                      let inserting = slow.Insert(numbered "a" 1L RecordKind.Live subject 9L 2uy false, none).AsTask()
                      do! eventually "the record" (fun () -> held.HasCome)
                      do! (other :?> IRemovesVersion).RemoveVersion("a", 1L, 7L, none)
                      held.Release()
                      let! inserted = inserting
                      Expect.equal inserted WriteResult.Written $"{subject}: it is there"
                      do! hasItsEntries other subject 9L
              })

      testCaseTask
          "a session that gets the id of a tombstone between the removal of that and of its entries keeps its own"
          (fun () ->
              task {
                  let server = shared.Force()

                  for subject in ([ null; "ann" ]: (string | null) list) do
                      use held = new HeldRequests(server.Port)
                      let prefix = Guid.NewGuid().ToString "N" + ":"
                      use other = openRedisAt server.Address prefix ignore
                      let other = other :> ISessionStore

                      use slow =
                          openRedisAt held.Address prefix (fun o -> o.OperationTimeout <- TimeSpan.FromSeconds 10L)

                      let! _ = other.Insert(numbered "a" 1L RecordKind.Ended null 7L 1uy false, none)
                      let! _ = (slow :> ISessionStore).Load("x", none)

                      // The tombstone has gone, and what takes its entries away is on its way.
                      held.From "$4\r\nZREM\r\n"
                      let removing = (slow :> IRemovesVersion).RemoveVersion("a", 1L, 7L, none).AsTask()
                      do! eventually "the removal of the entries" (fun () -> held.HasCome)
                      let! inserted = other.Insert(numbered "a" 1L RecordKind.Live subject 9L 2uy false, none)
                      Expect.equal inserted WriteResult.Written $"{subject}: the id is free"
                      held.Release()
                      do! removing
                      do! hasItsEntries other subject 9L
              })

      testCaseTask "a write that finds no record takes no entries away from one that comes meanwhile" (fun () ->
          task {
              let server = shared.Force()

              // Before it looks whether there is a record by now, and before its own entry goes.
              for place, isHeld in [ "$3\r\nGET\r\n", true; "$4\r\nZREM\r\n", true; "$4\r\nZREM\r\n", false ] do
                  use late = new HeldRequests(server.Port)
                  use slow = new HeldRequests(server.Port)
                  let prefix = Guid.NewGuid().ToString "N" + ":"
                  let patient (o: RedisStoreOptions) = o.OperationTimeout <- TimeSpan.FromSeconds 10L
                  use writer = openRedisAt late.Address prefix patient
                  use other = openRedisAt slow.Address prefix patient
                  let writer, other = writer :> ISessionStore, other :> ISessionStore
                  let! _ = writer.Load("a", none)
                  let! _ = other.Load("a", none)

                  late.From place
                  let refused = writer.Replace(numbered "a" 2L RecordKind.Live null 7L 1uy true, 1L, none).AsTask()
                  do! eventually "that there is none" (fun () -> late.HasCome)

                  if isHeld then
                      slow.From "$3\r\nSET\r\n"

                  let inserting = other.Insert(numbered "a" 1L RecordKind.Live null 9L 2uy false, none).AsTask()

                  if isHeld then
                      do! eventually "the record" (fun () -> slow.HasCome)
                  else
                      let! _ = inserting
                      ()

                  late.Release()
                  let! refused = refused
                  Expect.equal refused WriteResult.Absent "there was none"
                  slow.Release()
                  let! inserted = inserting
                  Expect.equal inserted WriteResult.Written "and now there is"
                  do! hasItsEntries other null 9L
          })

      testCaseTask "each write gives its record the time to live that it needs from then on" (fun () ->
          withStore ignore (fun redis prefix ->
              task {
                  let store = redis :> ISessionStore
                  use! admin = connect (shared.Force().Address)
                  let db = admin.GetDatabase()

                  let due version kind (hours: float) =
                      (numbered "a" version kind "ann" version 1uy false).Due(start2026.AddHours hours)

                  let lives (hours: float) what =
                      task {
                          let! left = db.KeyTimeToLiveAsync(RedisKey $"{prefix}r:a")
                          Expect.isGreaterThan left.Value (TimeSpan.FromHours(hours + 23.9)) what
                          Expect.isLessThanOrEqual left.Value (TimeSpan.FromHours(hours + 24.0)) what
                      }

                  let! _ = store.Insert(due 1L RecordKind.Live 1.0, none)
                  do! lives 1.0 "a new one"
                  let! found = store.Load("a", none)
                  let read = (nonNull found).Head
                  let! written = store.Replace((due 2L RecordKind.Live 5.0).BasedOn read, 1L, none)
                  Expect.equal written WriteResult.Written "the same record as was read"
                  do! lives 5.0 "the same record as was read"
                  let! written = store.Replace(due 3L RecordKind.Live 9.0, 2L, none)
                  Expect.equal written WriteResult.Written "nobody says what was read"
                  do! lives 9.0 "nobody says what was read"
                  let! ended = store.Replace(due 4L RecordKind.Ended 12.0, 3L, none)
                  Expect.equal ended WriteResult.Written "a tombstone"
                  do! lives 12.0 "a tombstone"
              }))

      testCaseTask
          "a sign-in that is killed, wherever it is, leaves nothing that a sweep does not find, blanks in the subject or none"
          (fun () ->
              task {
                  let server = shared.Force()
                  use! admin = connect server.Address

                  for subject in [ "ann"; "Ann Lee"; " ann " ] do
                      for requests in 0..10 do
                          let prefix = Guid.NewGuid().ToString "N" + ":"
                          // Its connection breaks after so many requests.
                          let wire = Wire.Wire(server.Port, Wire.redis prefix, requests)
                          let killed = openRedisAt $"127.0.0.1:{wire.Port}" prefix ignore

                          try
                              let signIn = numbered "a" 1L RecordKind.Live subject 1L 1uy true
                              let! _ = (killed :> ISessionStore).Insert(signIn, none)
                              ()
                          with
                          | :? StoreRefusedException
                          | :? RedisException
                          | :? TimeoutException -> ()

                          do! (killed :> IAsyncDisposable).DisposeAsync()
                          do! wire.Ended()

                          use other = openRedisAt server.Address prefix ignore
                          let other = other :> ISessionStore
                          let! due = other.ClaimOverdue(start2026.AddHours 1.0, TimeSpan.FromMinutes 1L, 10, none)

                          if due.Count > 0 then
                              let! listed = other.BySubject(subject, null, 10, none)
                              Expect.equal listed.Records.Count 1 $"'{subject}', {requests} requests: it is listed"
                              do! other.Remove("a", none)

                          let keys = admin.GetServer(server.Address).Keys(pattern = RedisValue(prefix + "*"))

                          Expect.equal
                              [ for key in keys -> string key ]
                              []
                              $"'{subject}': nothing is left, killed after {requests} requests"
              }) ]

let limits =
    [ testCaseTask "what was cancelled before it was sent is not sent, reads and notices as well" (fun () ->
          withStore ignore (fun redis _ -> Engines.cancelledReadsAreNotSent redis))

      testCaseTask "the largest limit is none" (fun () ->
          withStore ignore (fun redis _ ->
              task {
                  let store = redis :> ISessionStore

                  for id in [ "a"; "b" ] do
                      let! _ = store.Insert(numbered id 1L RecordKind.Live "ann" 1L 1uy false, none)
                      ()

                  let! all = store.Enumerate(null, Int32.MaxValue, none)
                  Expect.equal (all.Records.Count, all.Next) (2, null) "all"
                  let! theirs = store.BySubject("ann", null, Int32.MaxValue, none)
                  Expect.equal (theirs.Records.Count, theirs.Next) (2, null) "a subject's"

                  let! due = store.ClaimOverdue(start2026.AddHours 1.0, TimeSpan.FromMinutes 1L, Int32.MaxValue, none)

                  Expect.equal due.Count 2 "overdue"
              }))

      testCaseTask "a listing goes on behind the id '-'" (fun () ->
          withStore ignore (fun redis _ ->
              task {
                  let store = redis :> ISessionStore
                  let ids = [ "-"; "--"; "-a"; "0"; "a"; "a-" ]

                  for id in ids do
                      let! _ = store.Insert(numbered id 1L RecordKind.Live "ann" 1L 1uy false, none)
                      ()

                  let paged (page: (string | null) -> ValueTask<StoredPage>) =
                      task {
                          let found = Collections.Generic.List<string>()
                          let mutable after = null
                          let mutable pages = 0

                          while pages = 0 || (not (isNull after) && pages < 20) do
                              let! next = page after
                              found.AddRange(next.Records |> Seq.map _.Id)
                              after <- next.Next
                              pages <- pages + 1

                          return List.ofSeq found
                      }

                  let! all = paged (fun after -> store.Enumerate(after, 1, none))
                  Expect.equal all ids "all"
                  let! theirs = paged (fun after -> store.BySubject("ann", after, 1, none))
                  Expect.equal theirs ids "a subject's"
              })) ]
