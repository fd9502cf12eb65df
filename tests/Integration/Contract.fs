/// The contract of a store, run on ours; and on broken ones, each of which has to fail it: that is how we know that it sees.
module Integration.Contract

open System
open System.Collections.Concurrent
open System.Collections.Generic
open System.IO
open System.Threading
open System.Threading.Tasks
open Expecto
open Integration
open Integration.World
open StackExchange.Redis
open Session.Engine
open Session.Stores.Testing

/// How much each store has to go through here. SESSION_CONTRACT_COMMANDS and SESSION_CONTRACT_HISTORIES say otherwise.
let private sizedTo commands histories (options: StoreContractOptions) =
    let wanted (name: string) usual =
        match Int32.TryParse(Environment.GetEnvironmentVariable name) with
        | true, number -> number
        | _ -> usual

    options.Commands <- wanted "SESSION_CONTRACT_COMMANDS" commands
    options.Histories <- wanted "SESSION_CONTRACT_HISTORIES" histories
    options

let sized = sizedTo 100_000 1_000
/// For a place where every command is on the disks of two nodes before its answer.
let sizedForCluster = sizedTo 20_000 200

/// The tests of a contract under Expecto, but for those that are none of this store's, and what they have tried.
let testsBut (others: string list) (contract: StoreContract) : Test =
    let options = contract.Options

    testList
        $"{contract.Name}, seed {options.Seed}"
        [ for test in contract.Tests do
              if not (List.contains test.Name others) then
                  testCaseTask test.Name (fun () -> task { do! test.RunAsync() })

          testCase "all of it was tried" (fun () ->
              printfn "contract: %O" contract
              Expect.isGreaterThanOrEqual contract.Commands (int64 options.Commands) "commands"
              Expect.isGreaterThanOrEqual contract.Histories (int64 options.Histories) "histories"

              // Each verb at least before its first request.
              let stopping = contract.Tests |> Seq.filter _.Name.StartsWith("stopped between") |> Seq.length
              let isTried = not (others |> List.exists _.StartsWith("stopped between"))

              if isTried then
                  Expect.isGreaterThanOrEqual contract.Crashes (int64 stopping) "crash points"

              Expect.equal
                  (contract.Divergences, contract.Violations, contract.Undecided)
                  (0L, 0L, 0L)
                  "divergences, violations, undecided") ]

let tests contract = testsBut [] contract

/// Where stores of one contract are opened: how, how over a wire that breaks after so many requests, and how many
/// entries there are in all.
type Place =
    { Open: unit -> ISessionStore
      OpenBreaking: (int -> Wire.Wire * ISessionStore) option
      Entries: (unit -> Task<int64>) option }

/// By the first handle on it.
let private places = ConcurrentDictionary<ISessionStore, Place>(HashIdentity.Reference)

/// Over a wire that breaks. Closed with it, once the server has carried out what came through.
[<Sealed>]
type private Breaking(wire: Wire.Wire, store: ISessionStore) =
    inherit ForwardingStore(store)

    interface IAsyncDisposable with
        member _.DisposeAsync() =
            ValueTask(
                task =
                    task {
                        match box store with
                        | :? IAsyncDisposable as store -> do! store.DisposeAsync()
                        | :? IDisposable as store -> store.Dispose()
                        | _ -> ()

                        do! wire.Ended()
                    }
            )

let private onPlaces
    name
    (size: StoreContractOptions -> StoreContractOptions)
    isBreakable
    isCounted
    (place: unit -> Place)
    =
    let options = size (StoreContractOptions())
    options.Reopen <- fun store _ -> Task.FromResult(places[store].Open())

    if isBreakable then
        options.Crashing <-
            fun store requests _ -> Task.FromResult<ISessionStore>(Breaking(places[store].OpenBreaking.Value requests))

    if isCounted then
        options.Entries <- fun store _ -> places[store].Entries.Value()

    StoreContract(
        name,
        (fun _ ->
            let place = place ()
            let store = place.Open()
            places[store] <- place
            Task.FromResult store),
        options
    )

let on name size (place: unit -> (unit -> ISessionStore)) =
    onPlaces name size false false (fun () -> { Open = place (); OpenBreaking = None; Entries = None })

let private folders = ConcurrentBag<string>()

let memory () =
    StoreContract("Memory", (fun _ -> Task.FromResult<ISessionStore>(MemoryStore())), sized (StoreContractOptions()))

let sqlite () =
    on "Sqlite" sized (fun () ->
        let folder = temporaryFolder ()
        folders.Add folder
        fun () -> openSqlite folder)

let redis () =
    onPlaces "Redis" sized true true (fun () ->
        let prefix = Guid.NewGuid().ToString "N" + ":"
        let server = RedisServer.shared.Force()

        { Open = fun () -> openRedisAt server.Address prefix ignore
          OpenBreaking =
            Some(fun requests ->
                let wire = Wire.Wire(server.Port, Wire.redis prefix, requests)
                wire, openRedisAt $"127.0.0.1:{wire.Port}" prefix ignore)
          Entries =
            Some(fun () ->
                task {
                    use! admin = RedisServer.connect server.Address
                    let db = admin.GetDatabase()
                    let mutable count = 0L

                    for key in admin.GetServer(server.Address).Keys(pattern = RedisValue(prefix + "*")) do
                        let! kind = db.KeyTypeAsync key

                        match kind with
                        | RedisType.SortedSet ->
                            let! length = db.SortedSetLengthAsync key
                            count <- count + length
                        | _ -> count <- count + 1L

                    return count
                }) })

/// The collections of one run, dropped at its end.
let private mongoPlaces = ConcurrentBag<MongoServer.Place>()

let mongo () =
    // On a wire between, an outside server may want what the stand-in does not.
    onPlaces MongoServer.name sized MongoServer.isStandIn false (fun () ->
        let place = new MongoServer.Place()
        mongoPlaces.Add place

        { Open = fun () -> openMongoAt (MongoServer.address ()) place.Collection ignore
          OpenBreaking =
            Some(fun requests ->
                let wire = Wire.Wire(MongoServer.standIn.Force().Port, Wire.mongo, requests)
                // Not the members that it names: they would be beside the wire.
                let address = $"mongodb://127.0.0.1:{wire.Port}/?directConnection=true"

                wire,
                openMongoAt address place.Collection (fun o -> o.OperationTimeout <- TimeSpan.FromMilliseconds 300L))
          // The server's own indexes change with the document.
          Entries = None })

let private postgresAt name size (server: unit -> PostgresServer.PostgresServer) (address: unit -> string) isBreakable =
    onPlaces name size isBreakable false (fun () ->
        let table = PostgresServer.newTable ()

        { Open = fun () -> openPostgresAt (address ()) table ignore
          OpenBreaking =
            Some(fun requests ->
                let wire = Wire.Wire((server ()).Port, Wire.postgres, requests)
                let address = $"Host=127.0.0.1;Port={wire.Port};Username=postgres;Database=postgres"
                wire, openPostgresAt address table ignore)
          // The server's own indexes change with the row.
          Entries = None })

let postgres () =
    let server = PostgresServer.shared.Force
    postgresAt "Postgres" sized server (fun () -> server().Address) true

/// Through a pooler that gives each transaction another connection.
let postgresPooled (address: unit -> string) =
    postgresAt "Postgres behind pgbouncer" sizedForCluster PostgresServer.shared.Force address false

// -- broken stores: the memory store with one thing wrong

let private healthy () = MemoryStore() :> ISessionStore

let private copy (record: StoredRecord) version kind seen subject =
    StoredRecord(record.Id, version, kind, seen, record.DueAt, subject, record.Operation, record.Body)

/// The fault, and the store that has it.
let private faults: (string * (unit -> ForwardingStore)) list =
    [ "replace creates what is absent (an upsert)",
      (fun () ->
          { new ForwardingStore(healthy ()) with
              override s.Replace(record, expected, cancel) =
                  ValueTask<_>(
                      task =
                          task {
                              match! s.Inner.Replace(record, expected, cancel) with
                              | WriteResult.Absent -> return! s.Inner.Insert(record, cancel)
                              | answer -> return answer
                          }
                  ) })
      "replace does not look at the version",
      (fun () ->
          { new ForwardingStore(healthy ()) with
              override s.Replace(record, _, cancel) =
                  ValueTask<_>(
                      task =
                          task {
                              match! s.Inner.Load(record.Id, cancel) with
                              | null -> return WriteResult.Absent
                              | found -> return! s.Inner.Replace(record, found.Version, cancel)
                          }
                  ) })
      "replace reads, compares and writes: not as one",
      (fun () ->
          { new ForwardingStore(healthy ()) with
              override s.Replace(record, expected, cancel) =
                  ValueTask<_>(
                      task =
                          task {
                              match! s.Inner.Load(record.Id, cancel) with
                              | null -> return WriteResult.Absent
                              | found when found.Version <> expected -> return WriteResult.Conflict
                              | _ ->
                                  do! Task.Yield()

                                  match! s.Inner.Load(record.Id, cancel) with
                                  | null -> return WriteResult.Absent
                                  | now -> return! s.Inner.Replace(record, now.Version, cancel)
                          }
                  ) })
      "the time to live is the authority",
      (fun () ->
          { new ForwardingStore(healthy ()) with
              override s.Load(id, cancel) =
                  ValueTask<StoredRecord | null>(
                      task =
                          task {
                              let! found = s.Inner.Load(id, cancel)

                              let isOver =
                                  match found with
                                  | null -> false
                                  | found ->
                                      found.DueAt < DateTimeOffset.UtcNow
                                      && found.LastSeen > DateTimeOffset.UtcNow.AddDays -1.0

                              return if isOver then null else found
                          }
                  ) })
      "the subject index is not moved by a replace",
      (fun () ->
          let first = ConcurrentDictionary<string, string | null>()

          { new ForwardingStore(healthy ()) with
              override s.Insert(record, cancel) =
                  first.TryAdd(record.Id, record.Subject) |> ignore
                  s.Inner.Insert(record, cancel)

              override s.BySubject(subject, after, limit, cancel) =
                  ValueTask<_>(
                      task =
                          task {
                              let! page = s.Inner.Enumerate(after, limit, cancel)

                              return
                                  StoredPage(
                                      [| for record in page.Records do
                                             match first.TryGetValue record.Id with
                                             | true, known when String.Equals(known, subject) -> record
                                             | _ -> () |],
                                      page.Next
                                  )
                          }
                  ) })
      "an overdue record is handed out twice",
      (fun () ->
          { new ForwardingStore(healthy ()) with
              override s.ClaimOverdue(now, _, limit, cancel) =
                  s.Inner.ClaimOverdue(now, TimeSpan.FromTicks 1L, limit, cancel) })
      "a claim is for ever",
      (fun () ->
          { new ForwardingStore(healthy ()) with
              override s.ClaimOverdue(now, lease, limit, cancel) =
                  s.Inner.ClaimOverdue(now, lease + TimeSpan.FromDays 1.0, limit, cancel) })
      "claims come shortest overdue first",
      (fun () ->
          { new ForwardingStore(healthy ()) with
              override s.ClaimOverdue(now, lease, limit, cancel) =
                  ValueTask<IReadOnlyList<StoredRecord>>(
                      task =
                          task {
                              let! claimed = s.Inner.ClaimOverdue(now, lease, limit, cancel)
                              return Array.rev (Array.ofSeq claimed) :> IReadOnlyList<StoredRecord>
                          }
                  ) })
      "a claim comes before its time",
      (fun () ->
          { new ForwardingStore(healthy ()) with
              override s.ClaimOverdue(now, lease, limit, cancel) =
                  s.Inner.ClaimOverdue(now.AddTicks 1L, lease, limit, cancel) })
      "touch goes back",
      (fun () ->
          { new ForwardingStore(healthy ()) with
              override s.Touch(id, at, cancel) =
                  ValueTask(
                      task =
                          task {
                              match! s.Inner.Load(id, cancel) with
                              | null -> ()
                              | found when found.Kind = RecordKind.Ended -> ()
                              | found ->
                                  do! s.Inner.Remove(id, cancel)
                                  let! _ = s.Inner.Insert(copy found found.Version found.Kind at found.Subject, cancel)
                                  ()
                          }
                  ) })
      "touch moves a tombstone",
      (fun () ->
          { new ForwardingStore(healthy ()) with
              override s.Touch(id, at, cancel) =
                  ValueTask(
                      task =
                          task {
                              match! s.Inner.Load(id, cancel) with
                              | null -> ()
                              | found when found.Kind = RecordKind.Ended ->
                                  do! s.Inner.Remove(id, cancel)
                                  let! _ = s.Inner.Insert(found.SeenAt at, cancel)
                                  ()
                              | _ -> do! s.Inner.Touch(id, at, cancel)
                          }
                  ) })
      "touch counts as a write",
      (fun () ->
          { new ForwardingStore(healthy ()) with
              override s.Touch(id, at, cancel) =
                  ValueTask(
                      task =
                          task {
                              match! s.Inner.Load(id, cancel) with
                              | null -> ()
                              | found when found.Kind = RecordKind.Ended || at <= found.LastSeen -> ()
                              | found ->
                                  let touched = copy found (found.Version + 1L) found.Kind at found.Subject
                                  let! _ = s.Inner.Replace(touched, found.Version, cancel)
                                  ()
                          }
                  ) })
      "replace forgets a later touch",
      (fun () ->
          { new ForwardingStore(healthy ()) with
              override s.Replace(record, expected, cancel) =
                  ValueTask<_>(
                      task =
                          task {
                              match! s.Inner.Load(record.Id, cancel) with
                              | null -> return WriteResult.Absent
                              | found when found.Version <> expected -> return WriteResult.Conflict
                              | _ ->
                                  do! s.Inner.Remove(record.Id, cancel)
                                  return! s.Inner.Insert(record, cancel)
                          }
                  ) })
      "insert overwrites",
      (fun () ->
          { new ForwardingStore(healthy ()) with
              override s.Insert(record, cancel) =
                  ValueTask<_>(
                      task =
                          task {
                              do! s.Inner.Remove(record.Id, cancel)
                              return! s.Inner.Insert(record, cancel)
                          }
                  ) })
      "insert takes the id of a tombstone",
      (fun () ->
          { new ForwardingStore(healthy ()) with
              override s.Insert(record, cancel) =
                  ValueTask<_>(
                      task =
                          task {
                              match! s.Inner.Load(record.Id, cancel) with
                              | null -> ()
                              | found when found.Kind = RecordKind.Ended -> do! s.Inner.Remove(record.Id, cancel)
                              | _ -> ()

                              return! s.Inner.Insert(record, cancel)
                          }
                  ) })
      "one write in fifty is acknowledged and lost",
      (fun () ->
          { new ForwardingStore(healthy ()) with
              override s.Replace(record, expected, cancel) =
                  ValueTask<_>(
                      task =
                          task {
                              match! s.Inner.Load(record.Id, cancel) with
                              | null -> return WriteResult.Absent
                              | found when found.Version = expected && Random.Shared.Next 50 = 0 ->
                                  return WriteResult.Written
                              | _ -> return! s.Inner.Replace(record, expected, cancel)
                          }
                  ) })
      "a read is an old one, now and then",
      (fun () ->
          let old = ConcurrentDictionary<string, StoredRecord>()

          { new ForwardingStore(healthy ()) with
              override s.Replace(record, expected, cancel) =
                  ValueTask<_>(
                      task =
                          task {
                              match! s.Inner.Load(record.Id, cancel) with
                              | null -> ()
                              | found -> old[record.Id] <- found

                              return! s.Inner.Replace(record, expected, cancel)
                          }
                  )

              override s.Load(id, cancel) =
                  match old.TryGetValue id with
                  | true, record when Random.Shared.Next 20 = 0 -> ValueTask<StoredRecord | null> record
                  | _ -> s.Inner.Load(id, cancel) })
      "remove leaves the subject's entry",
      (fun () ->
          let removed = ConcurrentDictionary<string, StoredRecord>()

          { new ForwardingStore(healthy ()) with
              override s.Remove(id, cancel) =
                  ValueTask(
                      task =
                          task {
                              match! s.Inner.Load(id, cancel) with
                              | null -> ()
                              | found -> removed[id] <- found

                              do! s.Inner.Remove(id, cancel)
                          }
                  )

              override s.BySubject(subject, after, limit, cancel) =
                  ValueTask<_>(
                      task =
                          task {
                              let! page = s.Inner.BySubject(subject, after, limit, cancel)

                              let ghosts =
                                  removed.Values |> Seq.filter (fun record -> String.Equals(record.Subject, subject))

                              return StoredPage(Array.ofSeq (Seq.append page.Records ghosts), page.Next)
                          }
                  ) })
      "a page leaves one out",
      (fun () ->
          { new ForwardingStore(healthy ()) with
              override s.Enumerate(after, limit, cancel) =
                  ValueTask<_>(
                      task =
                          task {
                              let! page = s.Inner.Enumerate(after, limit, cancel)

                              match page.Next with
                              | null -> return page
                              | next ->
                                  let! following = s.Inner.Enumerate(next, 1, cancel)
                                  return StoredPage(page.Records, following.Records[0].Id)
                          }
                  ) })
      "pages are not in order",
      (fun () ->
          { new ForwardingStore(healthy ()) with
              override s.Enumerate(after, limit, cancel) =
                  ValueTask<_>(
                      task =
                          task {
                              let! page = s.Inner.Enumerate(after, limit, cancel)
                              return StoredPage(Array.rev (Array.ofSeq page.Records), page.Next)
                          }
                  ) })
      "tombstones count",
      (fun () ->
          { new ForwardingStore(healthy ()) with
              override s.Count cancel =
                  ValueTask<_>(
                      task =
                          task {
                              let! page = s.Inner.Enumerate(null, 100_000, cancel)
                              return int64 page.Records.Count
                          }
                  ) })
      "a cancelled call goes on",
      (fun () ->
          { new ForwardingStore(healthy ()) with
              override s.Insert(record, _) = s.Inner.Insert(record, CancellationToken.None) })
      "ids are compared without their case",
      (fun () ->
          let lower (record: StoredRecord) =
              StoredRecord(
                  record.Id.ToLowerInvariant(),
                  record.Version,
                  record.Kind,
                  record.LastSeen,
                  record.DueAt,
                  record.Subject,
                  record.Operation,
                  record.Body
              )

          { new ForwardingStore(healthy ()) with
              override s.Insert(record, cancel) = s.Inner.Insert(lower record, cancel)
              override s.Load(id, cancel) = s.Inner.Load(id.ToLowerInvariant(), cancel) })
      "reschedule does not look at the version",
      (fun () ->
          { new ForwardingStore(healthy ()) with
              override s.Reschedule(id, _, due, cancel) =
                  ValueTask(
                      task =
                          task {
                              match! s.Inner.Load(id, cancel) with
                              | null -> ()
                              | found -> do! s.Inner.Reschedule(id, found.Version, due, cancel)
                          }
                  ) })
      "the removal of a version does not look at the version",
      (fun () ->
          { new ForwardingStore(healthy ()) with
              override s.RemoveVersion(id, _, operation, cancel) =
                  ValueTask(
                      task =
                          task {
                              match! s.Inner.Load(id, cancel) with
                              | null -> ()
                              | found when found.Operation <> operation -> ()
                              | _ -> do! s.Inner.Remove(id, cancel)
                          }
                  ) })
      "the removal of a version does not look at the operation",
      (fun () ->
          { new ForwardingStore(healthy ()) with
              override s.RemoveVersion(id, version, _, cancel) =
                  ValueTask(
                      task =
                          task {
                              match! s.Inner.Load(id, cancel) with
                              | null -> ()
                              | found when found.Version <> version -> ()
                              | _ -> do! s.Inner.Remove(id, cancel)
                          }
                  ) })
      "one more than the limit is too many for an int",
      (fun () ->
          { new ForwardingStore(healthy ()) with
              override s.Enumerate(after, limit, cancel) = s.Inner.Enumerate(after, max 1 (limit + 1) - 1, cancel) })
      "a limit of a claim overflows",
      (fun () ->
          { new ForwardingStore(healthy ()) with
              override s.ClaimOverdue(now, lease, limit, cancel) =
                  s.Inner.ClaimOverdue(now, lease, max 1 (limit * 2) / 2, cancel) })
      "subjects are normalized",
      (fun () ->
          let normal (subject: string) = subject.Normalize()

          { new ForwardingStore(healthy ()) with
              override s.BySubject(subject, after, limit, cancel) =
                  ValueTask<_>(
                      task =
                          task {
                              let! all = s.Inner.Enumerate(after, Int32.MaxValue, cancel)

                              let found =
                                  all.Records
                                  |> Seq.filter (fun record ->
                                      match record.Subject with
                                      | null -> false
                                      | known -> String.Equals(normal known, normal subject))
                                  |> Array.ofSeq

                              let page = Array.truncate limit found
                              let next: string | null = if found.Length > limit then page[limit - 1].Id else null
                              return StoredPage(page, next)
                          }
                  ) })
      "of several at once one is left out",
      (fun () ->
          { new ForwardingStore(healthy ()) with
              override s.LoadMany(ids, cancel) =
                  SessionStore.loadMany s.Inner (Array.ofSeq (Seq.truncate 499 ids)) cancel })
      "a notice goes to nobody",
      (fun () ->
          { new ForwardingStore(healthy ()) with
              override s.Publish(_, _) = ValueTask.CompletedTask })
      "who has stopped to listen still hears",
      (fun () ->
          { new ForwardingStore(healthy ()) with
              override s.Subscribe(heard, cancel) =
                  ValueTask<_>(
                      task =
                          task {
                              let! _ = (s.Inner :?> ISessionSignals).Subscribe(heard, cancel)

                              return
                                  { new IAsyncDisposable with
                                      member _.DisposeAsync() = ValueTask.CompletedTask }
                          }
                  ) })
      "a touch is kept to the microsecond",
      (fun () ->
          { new ForwardingStore(healthy ()) with
              override s.Touch(id, at, cancel) =
                  s.Inner.Touch(id, at.AddTicks -(at.Ticks % TimeSpan.TicksPerMicrosecond), cancel) }) ]

/// The memory store with a subject index of its own beside it, in a second step; stopped after so many steps.
[<Sealed>]
type private TwoSteps
    (records: ISessionStore, entries: ConcurrentDictionary<struct (string * string), bool>, steps: int, isEntryFirst) =
    inherit ForwardingStore(records)
    let mutable left = steps

    let step () =
        left <- left - 1

        if left < 0 then
            raise (IOException "stopped")

    let enter (record: StoredRecord) =
        match record.Subject with
        | null -> ()
        | subject ->
            step ()
            entries[struct (subject, record.Id)] <- true

    let both (record: StoredRecord) (write: unit -> ValueTask<WriteResult>) =
        if isEntryFirst then
            enter record
            step ()
            write ()
        else
            step ()
            let answer = write ()
            enter record
            answer

    member _.Reopen steps = new TwoSteps(records, entries, steps, isEntryFirst)
    member _.Entries = int64 entries.Count
    override _.Insert(record, cancel) = both record (fun () -> records.Insert(record, cancel))

    override _.Replace(record, expected, cancel) = both record (fun () -> records.Replace(record, expected, cancel))

    override _.Remove(id, cancel) =
        step ()

        for entry in entries.Keys do
            let struct (_, owner) = entry

            if owner = id then
                entries.TryRemove entry |> ignore

        records.Remove(id, cancel)

    override _.BySubject(subject, after, limit, cancel) =
        ValueTask<StoredPage>(
            task =
                task {
                    let found = List<StoredRecord>()

                    for struct (owner, id) in Seq.sort entries.Keys do
                        if owner = subject && (isNull after || String.CompareOrdinal(id, after) > 0) then
                            match! records.Load(id, cancel) with
                            | null -> ()
                            | record when String.Equals(record.Subject, subject) -> found.Add record
                            | _ -> ()

                    let page = Seq.truncate limit found |> Array.ofSeq
                    let next: string | null = if found.Count > limit then page[limit - 1].Id else null
                    return StoredPage(page, next)
                }
        )

/// The fault, and what the contract says of it.
let private crashFaults =
    let report isEntryFirst =
        task {
            let options = StoreContractOptions(Seed = 4711, Commands = 250, Histories = 2)

            options.Crashing <-
                fun store steps _ ->
                    match store with
                    | :? TwoSteps as store -> Task.FromResult<ISessionStore>(store.Reopen steps)
                    | _ -> failtest "another store"

            options.Entries <-
                fun store _ ->
                    match store with
                    | :? TwoSteps as store -> Task.FromResult store.Entries
                    | _ -> failtest "another store"

            let make () = new TwoSteps(healthy (), ConcurrentDictionary(), Int32.MaxValue, isEntryFirst)

            return!
                StoreContract("Two steps", (fun _ -> Task.FromResult<ISessionStore>(make ())), options).RunAllAsync()
        }

    let sees name isEntryFirst (what: string) =
        testCaseTask name (fun () ->
            task {
                let! report = report isEntryFirst
                let crashes = report.Failures |> Seq.filter (fun failure -> failure.Key.StartsWith "stopped between")
                Expect.isNonEmpty crashes "the crash points see it"
                Expect.all report.Failures.Keys _.StartsWith("stopped between") "and nothing else does"
                Expect.exists crashes (fun failure -> failure.Value.Contains what) what
            })

    [ sees "an entry is written behind its record" false "by subject ada"
      sees "the entries of who was stopped stay for ever" true "entries in all indexes" ]

/// All at once, as soon as the first is asked for: some wait for their clocks.
let private reports =
    lazy
        ([ for name, broken in faults ->
               name,
               Task.Run<ContractReport>(fun () ->
                   let options = StoreContractOptions(Seed = 4711, Commands = 1000, Histories = 20)

                   StoreContract(name, (fun _ -> Task.FromResult<ISessionStore>(broken ())), options).RunAllAsync()) ]
         |> Map.ofList)

let private sees (name: string, _) =
    testCaseTask name (fun () ->
        task {
            let running = (reports.Force())[name]
            let! first = Task.WhenAny(running, Task.Delay 40_000)
            Expect.isTrue (obj.ReferenceEquals(first, running)) "the contract comes to an end"
            let! report = running
            Expect.isNonEmpty report.Failures "the contract sees it"
        })

/// The kit's own writes need not last.
let private lasting =
    let holds name (open': unit -> ISessionStore) =
        testCaseTask $"{name}: it holds where every other write has to last" (fun () ->
            task {
                let make _ = Task.FromResult<ISessionStore>(new Lasting(open' ()))
                let options = StoreContractOptions(Commands = 1000, Histories = 10)
                let! report = StoreContract(name, make, options).RunAllAsync()
                Expect.isEmpty report.Failures (string report)
            })

    [ holds "Sqlite" (fun () ->
          let folder = temporaryFolder ()
          folders.Add folder
          openSqlite folder :> ISessionStore)
      holds MongoServer.name (fun () ->
          let place = new MongoServer.Place()
          mongoPlaces.Add place
          openMongoAt (MongoServer.address ()) place.Collection ignore)
      holds "Postgres" (fun () -> openPostgres ()) ]

/// Ours, each with what it has counted.
let ours = [ memory (); sqlite (); redis (); mongo (); postgres () ]

let all =
    testList
        "the contract"
        [ yield! List.map tests ours
          yield! lasting
          testList "sees what is broken" ((faults |> List.map sees) @ crashFaults)

          testCaseTask
              "the example of docs/WRITING-A-STORE.md keeps the whole contract, in less than 300 lines"
              (fun () ->
                  task {
                      let folder = temporaryFolder ()
                      folders.Add folder
                      let! report = Snippets.TableStoreTests.Contract folder
                      Expect.isEmpty report.Failures (string report)
                      let file = Repository.under [ "tests"; "Snippets"; "TableStore.cs" ]
                      Expect.isLessThan (File.ReadAllLines file).Length 300 "lines"
                  })

          testCaseTask "a violation tells its story, shrunk, and how to replay it" (fun () ->
              task {
                  let _, broken = faults.Head

                  let contract =
                      StoreContract(
                          "Broken",
                          (fun _ -> Task.FromResult<ISessionStore>(broken ())),
                          StoreContractOptions(Seed = 7)
                      )

                  let! report = contract.RunAllAsync()
                  let story = report.Failures["random commands answer as the model does"]
                  Expect.stringContains story "SESSION_CONTRACT_SEED=7" "the replay"
                  Expect.stringContains story "of 1 commands" "the shortest"
                  Expect.stringContains story "model: Absent" "what was expected"
                  Expect.stringContains story "store: Written" "what came"
              })

          testCaseTask "an exception out of the store is told with the commands before it, shrunk" (fun () ->
              task {
                  let broken () =
                      { new ForwardingStore(healthy ()) with
                          override s.Insert(record, cancel) =
                              ValueTask<_>(
                                  task =
                                      task {
                                          match! s.Inner.Insert(record, cancel) with
                                          | WriteResult.Conflict -> return raise (InvalidDataException "twice")
                                          | answer -> return answer
                                      }
                              ) }

                  let contract =
                      StoreContract(
                          "Throwing",
                          (fun _ -> Task.FromResult<ISessionStore>(broken ())),
                          StoreContractOptions(Seed = 7, Commands = 250, Histories = 1)
                      )

                  let! report = contract.RunAllAsync()
                  let story = report.Failures["random commands answer as the model does"]
                  Expect.stringContains story "SESSION_CONTRACT_SEED=7" "the replay"
                  Expect.stringContains story "of 2 commands" "the shortest"
                  Expect.stringContains story "-> Written" "the command before"
                  Expect.stringContains story "store: System.IO.InvalidDataException: twice" "the exception"
                  let example = report.Failures["an id is inserted once"]
                  Expect.stringContains example "-> Written" "in an example, too, what was done before"
                  Expect.stringContains example "System.IO.InvalidDataException: twice" "and the exception"
              }) ]

/// After the last test: what the files left behind.
let clean () =
    for place in mongoPlaces do
        (place :> IDisposable).Dispose()

    for folder in folders do
        if Directory.Exists folder then
            Directory.Delete(folder, true)
