/// An application moves to another store: its users notice nothing.
module Integration.Moving

open System
open System.Collections.Concurrent
open System.IO
open System.Threading
open System.Threading.Tasks
open Expecto
open Microsoft.Extensions.DependencyInjection
open Microsoft.Extensions.Time.Testing
open Integration.App
open Integration.Http
open Integration
open Integration.World
open Session.CSharp
open Session.Engine
open Session.Stores.Sqlite
open Session.Stores.Testing

let private none = CancellationToken.None

// -- the contract, on pairs

let private folders = ConcurrentBag<string>()

let private sqlite name =
    let folder = temporaryFolder ()
    folders.Add folder
    fun () -> new SqliteStore(SqliteStoreOptions(Path = Path.Combine(folder, name))) :> ISessionStore

/// Closes both, which dependency injection does otherwise.
[<Sealed>]
type private Pair(target: ISessionStore, source: ISessionStore, reopen: unit -> Pair) =
    inherit ForwardingStore(MigratingStore(target, source))
    member _.Reopen() = reopen ()

    interface IDisposable with
        member _.Dispose() =
            for store in [ target; source ] do
                match box store with
                | :? IAsyncDisposable as later -> later.DisposeAsync().AsTask().GetAwaiter().GetResult()
                | :? IDisposable as now -> now.Dispose()
                | _ -> ()

let private contract name (place: unit -> (unit -> ISessionStore) * (unit -> ISessionStore)) =
    StoreContract(
        name,
        (fun _ ->
            let target, source = place ()
            let rec make () = new Pair(target (), source (), make)
            Task.FromResult<ISessionStore>(make ())),
        Contract.sized (
            StoreContractOptions(
                Reopen =
                    Func<_, _, _>(fun store _ ->
                        match store with
                        | :? Pair as pair -> Task.FromResult<ISessionStore>(pair.Reopen())
                        | _ -> failtest "a pair")
            )
        )
    )
    // Here a negative version is what is on its way; nothing else is inserted under one.
    |> Contract.testsBut [ "a version is kept as it is given" ]

// -- the application, before and after

let private clock () = FakeTimeProvider(DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero))

/// Runs the application on what `choose` says after `AddSession`.
let private running
    (choose: SessionBuilder -> unit)
    (body: (string -> string -> string -> Task<Answer>) -> Task<unit>)
    =
    task {
        let! app = SubjectApp.StartAsync(MemoryStore(), clock (), null, Action<SessionBuilder> choose)
        use client = newClient ()

        try
            do!
                body (fun verb path token ->
                    send client app.Address verb path (if token = "" then [] else [ "Cookie", "sid=" + token ]))
        finally
            app.DisposeAsync().AsTask().GetAwaiter().GetResult()
    }

let private expect (request: Task<Answer>) status body message =
    task {
        let! answer = request
        Expect.equal (answer.Status, answer.Body) (status, body) message
        Expect.isEmpty answer.SetCookies $"{message}: the token stays"
    }

let private signIn ask user =
    task {
        let! (answer: Answer) = ask "POST" $"/login?user={user}" ""
        let token = token answer
        // Confirms it.
        let! (_: Answer) = ask "GET" "/cart" token
        return token
    }

let private sorted (text: string) = text.Split ',' |> Array.sort |> List.ofArray

let private story name (target: string -> SessionBuilder -> unit) (also: SessionBuilder -> unit) =
    testCaseTask $"to {name}: nobody is signed out, and who signs out stays so" (fun () ->
        task {
            let folder = temporaryFolder ()
            let oldFile = Path.Combine(folder, "old.db")

            let before (sessions: SessionBuilder) =
                sessions.UseSqlite oldFile |> ignore
                also sessions

            let moving (sessions: SessionBuilder) =
                target folder sessions
                sessions.MigrateFrom(fun source -> source.UseSqlite oldFile) |> ignore
                also sessions

            let after (sessions: SessionBuilder) =
                target folder sessions
                also sessions

            try
                let mutable ann1, ann2, bob, eve, gone, cart = "", "", "", "", "", ""
                let mutable ann3 = ""

                do!
                    running before (fun ask ->
                        task {
                            let! first = signIn ask "ann"
                            let! second = signIn ask "ann"
                            let! third = signIn ask "bob"
                            let! fourth = signIn ask "eve"
                            let! fifth = signIn ask "ann"
                            let! begun = ask "POST" "/cart/apple" ""
                            ann1 <- first
                            ann2 <- second
                            bob <- third
                            eve <- fourth
                            gone <- fifth
                            cart <- token begun
                            do! expect (ask "GET" "/cart" cart) 200 "apple" "a cart"
                            do! expect (ask "POST" "/cart/pear" ann1) 200 "pear" "ann's"
                            let! _ = ask "POST" "/logout" gone
                            ()
                        })

                do!
                    running moving (fun ask ->
                        task {
                            do! expect (ask "GET" "/profile" ann1) 200 "ann" "ann"
                            do! expect (ask "GET" "/profile" bob) 200 "bob" "bob"
                            do! expect (ask "GET" "/cart" cart) 200 "apple" "the cart"
                            do! expect (ask "GET" "/profile" gone) 401 "" "who was signed out"
                            let! fresh = signIn ask "ann"
                            ann3 <- fresh
                            let! listed = ask "GET" "/sessions" ann1
                            let ids = [ idOf ann1; idOf ann2; idOf ann3 ] |> List.sort
                            Expect.equal (sorted listed.Body) ids "old and new, each once"
                            do! expect (ask "POST" "/cart/plum" ann1) 200 "pear,plum" "ann writes: moved"
                            do! expect (ask "POST" "/cart/fig" cart) 200 "apple,fig" "a write to the cart: moved"
                            let! listed = ask "GET" "/sessions" ann2
                            Expect.equal (sorted listed.Body) ids "moved or not, each once"
                            let! out = ask "POST" "/logout" ann2
                            Expect.equal out.Status 200 "ann signs out where she has not moved"
                            do! expect (ask "GET" "/profile" ann2) 401 "" "out"
                            let! all = ask "POST" "/logout-everywhere" bob
                            Expect.equal all.Body "1" "bob's one"
                        })

                do!
                    running moving (fun ask ->
                        task {
                            do! expect (ask "GET" "/profile" ann2) 401 "" "after a restart ann's logout stays"
                            do! expect (ask "GET" "/profile" bob) 401 "" "and bob's"
                            do! expect (ask "GET" "/cart" ann1) 200 "pear,plum" "and what was written"
                            do! expect (ask "GET" "/cart" cart) 200 "apple,fig" "there, too"
                            do! expect (ask "GET" "/profile" eve) 200 "eve" "who never wrote is signed in"
                            let! listed = ask "GET" "/sessions" ann1
                            Expect.equal (sorted listed.Body) (List.sort [ idOf ann1; idOf ann3 ]) "the rest"
                        })

                do!
                    running after (fun ask ->
                        task {
                            do! expect (ask "GET" "/cart" ann1) 200 "pear,plum" "what moved is in the new store"
                            do! expect (ask "GET" "/profile" ann2) 401 "" "the logout, too"
                            do! expect (ask "GET" "/profile" eve) 401 "" "who has not moved is not"
                        })

                do!
                    running before (fun ask ->
                        task {
                            do! expect (ask "GET" "/profile" eve) 200 "eve" "who has not moved is in the old one"

                            for token in [ ann1; ann2; bob ] do
                                do! expect (ask "GET" "/profile" token) 401 "" "who has moved is nowhere else"
                        })
            finally
                Directory.Delete(folder, true)
        })

let private stories =
    let newFile (folder: string) (sessions: SessionBuilder) =
        sessions.UseSqlite(Path.Combine(folder, "new.db")) |> ignore

    [ story "another Sqlite file" newFile ignore
      story "another Sqlite file, sealed to the bearer" newFile (fun sessions -> sessions.SealToBearer() |> ignore)
      testList
          "Redis"
          [ let prefix = Guid.NewGuid().ToString "N" + ":"

            story
                "Redis"
                (fun _ sessions ->
                    sessions.UseRedis(RedisServer.shared.Force().Address, fun options -> options.KeyPrefix <- prefix)
                    |> ignore)
                ignore ] ]

/// A store that says when it is closed.
[<AbstractClass>]
type private CountedStore() =
    inherit ForwardingStore(MemoryStore())
    abstract Closed: unit -> unit

    interface IDisposable with
        member store.Dispose() = store.Closed()

// -- what is refused

let private starts (choose: SessionBuilder -> unit) =
    task {
        try
            do! running choose (fun _ -> Task.FromResult())
            return "started"
        with :? InvalidOperationException as error ->
            return error.Message
    }

let private refusals =
    let refused name (part: string) (choose: string -> SessionBuilder -> unit) =
        testCaseTask name (fun () ->
            task {
                let folder = temporaryFolder ()

                try
                    let! sentence = starts (choose folder)
                    Expect.stringContains sentence part "the program stops, and says why"
                finally
                    Directory.Delete(folder, true)
            })

    let at (folder: string) name = Path.Combine(folder, name)

    [ refused "a move to where the sessions are" "MigrateFrom names the store" (fun folder sessions ->
          sessions.UseSqlite(at folder "a.db").MigrateFrom(fun source -> source.UseSqlite(at folder "a.db"))
          |> ignore)
      refused "a move to a store without compare-and-swap" "compare-and-swap" (fun folder sessions ->
          sessions.Services.AddDistributedMemoryCache() |> ignore

          sessions.UseDistributedCache().MigrateFrom(fun source -> source.UseSqlite(at folder "a.db"))
          |> ignore)
      refused "two moves at once" "one store at a time" (fun folder sessions ->
          sessions
              .UseMemory()
              .MigrateFrom(fun source -> source.UseSqlite(at folder "a.db"))
              .MigrateFrom(fun source -> source.UseSqlite(at folder "b.db"))
          |> ignore)
      refused "a move from nowhere" "needs the store" (fun _ sessions ->
          sessions.UseMemory().MigrateFrom(fun source -> source) |> ignore)

      testCase "a move before the store is named" (fun () ->
          let sessions = SessionBuilder(ServiceCollection(), typeof<Cart>)

          Expect.throwsT<InvalidOperationException>
              (fun () -> sessions.MigrateFrom(fun source -> source.UseMemory()) |> ignore)
              "after the store")

      testCase "each store is made once, and closed once" (fun () ->
          let events = ConcurrentQueue<string>()

          let store name =
              events.Enqueue("made " + name)

              { new CountedStore() with
                  override _.Closed() = events.Enqueue("closed " + name) }

          let services = ServiceCollection()

          SessionBuilder(services, typeof<Cart>)
              .UseStore(fun _ -> store "new")
              .MigrateFrom(fun source -> source.UseStore(fun _ -> store "old"))
          |> ignore

          (use provider = services.BuildServiceProvider()
           let one = provider.GetRequiredKeyedService<ISessionStore> typeof<Cart>
           let two = provider.GetRequiredKeyedService<ISessionStore> typeof<Cart>
           Expect.isTrue (obj.ReferenceEquals(one, two)) "one for all"
           Expect.isTrue (one :? MigratingStore) "both in one")

          Expect.equal
              (events |> Seq.sort |> List.ofSeq)
              [ "closed new"; "closed old"; "made new"; "made old" ]
              "by the container") ]

// -- what is between two stores

let private first = DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero)

let private recordOf version kind (subject: string | null) operation =
    StoredRecord("a", version, kind, first, first.AddMinutes 30.0, subject, operation, ReadOnlyMemory [| 1uy |])

let private live version operation = recordOf version RecordKind.Live "ada" operation
let private placeholder = recordOf -77L RecordKind.Ended null 1L

/// What movers that were stopped can have left of a session at version 1: in the source, and in the target.
let private halfway =
    [ "not moved", [ live 1L 7L ], []
      "staged", [ live 1L 7L ], [ placeholder ]
      "fenced", [ live -1L 7L ], []
      "fenced and staged", [ live -1L 7L ], [ placeholder ]
      "copied", [ live -1L 7L ], [ live 1L 7L ]
      "moved", [], [ live 1L 7L ] ]

let private between (old: StoredRecord list) (current: StoredRecord list) =
    task {
        let target, source = MemoryStore() :> ISessionStore, MemoryStore() :> ISessionStore

        for store, records in [ source, old; target, current ] do
            for record in records do
                let! _ = store.Insert(record, none)
                ()

        return target, source
    }

let private versionIn (store: ISessionStore) =
    task {
        match! store.Load("a", none) with
        | null -> return 0L
        | found -> return found.Version
    }

let private removals =
    [ for how, old, current in halfway do
          testCaseTask $"{how}: the removal of a version removes it from both stores, and no other" (fun () ->
              task {
                  let! target, source = between old current
                  let store = MigratingStore(target, source)

                  for version, operation in [ 2L, 7L; 1L, 8L; -1L, 8L; 2L, 1L ] do
                      do! (store :> IRemovesVersion).RemoveVersion("a", version, operation, none)
                      let! version = versionIn store
                      Expect.equal version 1L "another one stays"

                  do! (store :> IRemovesVersion).RemoveVersion("a", 1L, 7L, none)
                  let! found = versionIn store
                  Expect.equal found 0L "gone"

                  for one in [ target; source ] do
                      let! found = one.Enumerate(null, 10, none)
                      Expect.isEmpty found.Records "nothing is left in either"
              })

      for how, old, current in halfway do
          testCaseTask $"{how}: a mover that is held up does not bring back what was removed meanwhile" (fun () ->
              task {
                  // At each of its writes to the target, until it gets through without being held up.
                  let mutable write = 0
                  let mutable wasHeld = true

                  while wasHeld do
                      let! target, source = between old current
                      let reached, goOn = TaskCompletionSource(), TaskCompletionSource()
                      let mutable left = write

                      let hold () =
                          task {
                              if Interlocked.Decrement &left = -1 then
                                  reached.SetResult()
                                  do! goOn.Task
                          }

                      let slow =
                          { new ForwardingStore(target) with
                              override s.Insert(record, cancel) =
                                  ValueTask<_>(
                                      task =
                                          task {
                                              do! hold ()
                                              return! s.Inner.Insert(record, cancel)
                                          }
                                  )

                              override s.Replace(record, expected, cancel) =
                                  ValueTask<_>(
                                      task =
                                          task {
                                              do! hold ()
                                              return! s.Inner.Replace(record, expected, cancel)
                                          }
                                  ) }

                      let mover = MigratingStore(slow, source) :> ISessionStore
                      let moving = mover.Replace(live 2L 9L, 1L, none).AsTask()
                      let! _ = Task.WhenAny(moving, reached.Task)
                      wasHeld <- reached.Task.IsCompleted

                      if wasHeld then
                          let store = MigratingStore(target, source)
                          do! (store :> IRemovesVersion).RemoveVersion("a", 1L, 7L, none)
                          goOn.SetResult()
                          let! answer = moving
                          Expect.equal answer WriteResult.Absent $"held up at write {write}"
                          let! found = versionIn store
                          Expect.equal found 0L $"held up at write {write}: gone"
                          write <- write + 1

                  Expect.isGreaterThan write 0 "it was held up"
              }) ]

/// A store whose replicas never confirm anything.
let private unconfirmed (inner: ISessionStore) =
    let doubted (write: ValueTask<WriteResult>) =
        ValueTask<WriteResult>(
            task =
                task {
                    match! write with
                    | WriteResult.Written -> return WriteResult.Unacknowledged
                    | answer -> return answer
                }
        )

    { new ForwardingStore(inner) with
        override s.Insert(record, cancel) = doubted (s.Inner.Insert(record, cancel))
        override s.Replace(record, expected, cancel) = doubted (s.Inner.Replace(record, expected, cancel)) }

let private unacknowledged =
    [ for how, old, current in halfway do
          testCaseTask
              $"{how}: what no replica confirms stays as it was, but for an end, and the caller is told"
              (fun () ->
                  task {
                      let! target, source = between old current
                      let store = MigratingStore(unconfirmed target, unconfirmed source) :> ISessionStore

                      if how <> "moved" then
                          let! isRefused =
                              task {
                                  try
                                      let! _ = store.Replace(live 2L 9L, 1L, none)
                                      return false
                                  with :? StoreRefusedException ->
                                      return true
                              }

                          Expect.isTrue isRefused "nothing was changed"
                          let! there = versionIn store
                          Expect.equal there 1L "as it was"

                      let! answer = store.Replace(recordOf 2L RecordKind.Ended "ada" 9L, 1L, none)
                      Expect.equal answer WriteResult.Unacknowledged "the caller's own write"
                      let! there = versionIn target
                      let! left = versionIn source
                      Expect.equal (there, left) (2L, 0L) "moved and written"
                      let! conflict = store.Replace(live 2L 10L, 1L, none)
                      Expect.equal conflict WriteResult.Conflict "nothing was changed"
                  })

      testCaseTask "a new session that no replica confirms, and a placeholder of nobody's" (fun () ->
          task {
              let! target, source = between [] []
              let store = MigratingStore(unconfirmed target, unconfirmed source) :> ISessionStore
              let! answer = store.Insert(live 1L 7L, none)
              Expect.equal answer WriteResult.Unacknowledged "inserted"
              let! target, source = between [] [ placeholder ]
              let store = MigratingStore(unconfirmed target, unconfirmed source) :> ISessionStore
              let! claimed = store.ClaimOverdue(first.AddHours 1.0, TimeSpan.FromMinutes 2L, 10, none)
              Expect.isEmpty claimed "none"
              let! left = versionIn target
              Expect.equal left 0L "the sweep clears it away"
          }) ]

let private clean =
    testCase "the folders of the contract go" (fun () ->
        for folder in folders do
            Directory.Delete(folder, true))

let all =
    testSequenced (
        testList
            "moving"
            [ testList "stories" stories
              testList "refusals" refusals
              testList "the removal of a version" removals
              testList "unacknowledged writes" unacknowledged
              contract "Memory to Memory" (fun () ->
                  let target, source = MemoryStore() :> ISessionStore, MemoryStore() :> ISessionStore
                  (fun () -> target), (fun () -> source))
              contract "Sqlite to Sqlite" (fun () -> sqlite "new.db", sqlite "old.db")
              contract "Sqlite to Redis" (fun () ->
                  let prefix = Guid.NewGuid().ToString "N" + ":"
                  let redis () = openRedisAt (RedisServer.shared.Force().Address) prefix ignore :> ISessionStore
                  redis, sqlite "old.db")
              clean ]
    )
