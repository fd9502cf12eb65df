/// Sessions that end inside a transaction of the application's: a password change that is rolled back ends nobody, and one
/// that is committed leaves nobody who was let in before.
module Integration.PostgresEnds

open System
open System.Data
open System.Diagnostics
open System.Threading
open System.Threading.Tasks
open Expecto
open Microsoft.AspNetCore.Http
open Microsoft.Extensions.DependencyInjection
open Npgsql
open Integration.App
open Integration.Http
open Integration.PostgresServer
open Integration.World
open Session.AspNetCore
open Session.CSharp
open Session.Engine
open Session.Stores.Postgres

let private none = CancellationToken.None
let private isLong = not (String.IsNullOrEmpty(Environment.GetEnvironmentVariable "SESSION_LONG"))

/// An application with its users and its sessions in one database.
let private withAppOn (table: string) (body: World -> NpgsqlDataSource -> Task<unit>) =
    task {
        use source = NpgsqlDataSource.Create(shared.Force().Address + ";Maximum Pool Size=60")
        use store = new PostgresStore(PostgresStoreOptions(DataSource = source, Table = table))
        let! world = start store ignore

        try
            do! body world source
        finally
            (stop world).GetAwaiter().GetResult()
    }

let private withApp body = withAppOn (newTable ()) body

let private manager (w: World) = w.App.Services.GetRequiredService<SessionManager<Cart>>()

let private begun (source: NpgsqlDataSource) (isolation: IsolationLevel) =
    task {
        let! connection = source.OpenConnectionAsync()
        let! transaction = connection.BeginTransactionAsync isolation
        return connection, transaction
    }

let private inTransaction (source: NpgsqlDataSource) (body: NpgsqlTransaction -> Task<unit>) =
    task {
        let! connection, transaction = begun source IsolationLevel.ReadCommitted

        try
            do! body transaction
        finally
            transaction.Dispose()
            connection.Dispose()
    }

let private destroyedOf (w: World) = w.Count "Destroyed"

let private thrown<'error when 'error :> exn> (work: unit -> Task) =
    task {
        try
            do! work ()
            return ""
        with :? 'error as error ->
            return error.Message
    }

/// A transaction of the application's that drivers join by themselves.
let private newScope () =
    new Transactions.TransactionScope(
        Transactions.TransactionScopeOption.Required,
        Transactions.TransactionScopeAsyncFlowOption.Enabled
    )

let private examples =
    [ testCaseTask
          "what was acknowledged within a TransactionScope of the application's stands, whatever becomes of that"
          (fun () ->
              withApp (fun w source ->
                  task {
                      let! token = w.SignIn "ada"

                      do!
                          task {
                              use _scope = newScope ()

                              // A connection of the application's that is in it.
                              use! connection = source.OpenConnectionAsync()
                              use command = connection.CreateCommand()
                              command.CommandText <- "SELECT 1"
                              let! _ = command.ExecuteScalarAsync()
                              let! ended = (manager w).DestroyAllAsync "ada"
                              Expect.equal ended 1 "acknowledged"
                          }

                      let! status = w.Profile token
                      Expect.equal status 401 "it was rolled back, and the logout stands"

                      // One that is completed: what is said to other nodes is no part of it either, which PostgreSQL would refuse.
                      let table = newTable ()
                      shared.Force().Execute $"CREATE TABLE \"{table}\" (name text)"
                      let! token = w.SignIn "ada"

                      do!
                          task {
                              use scope = newScope ()

                              use! connection = source.OpenConnectionAsync()
                              use command = connection.CreateCommand()
                              command.CommandText <- $"INSERT INTO \"{table}\" VALUES ('ada')"
                              let! _ = command.ExecuteNonQueryAsync()
                              let! ended = (manager w).DestroyAllAsync "ada"
                              Expect.equal ended 1 "acknowledged"
                              scope.Complete()
                              let! again = (manager w).DestroyAllAsync "ada"
                              Expect.equal again 0 "also between its completion and its end"
                          }

                      let! status = w.Profile token
                      Expect.equal status 401 "over"
                      let stored = shared.Force().Scalar $"SELECT count(*) FROM \"{table}\""
                      Expect.equal stored (box 1L) "and the application's own is stored"
                  }))

      testCaseTask "rolled back: nobody has ended, and nobody is told" (fun () ->
          withApp (fun w source ->
              task {
                  let! token = w.SignIn "ada"

                  do!
                      inTransaction source (fun transaction ->
                          task {
                              let! pending = (manager w).DestroyAllAsync("ada", transaction)
                              Expect.equal pending.Count 1 "one in the transaction"
                              let! meanwhile = w.Profile token
                              Expect.equal meanwhile 200 "everybody else sees it alive"
                              let! isThere = pending.CompleteAsync()
                              Expect.isFalse isThere "not committed"
                              do! transaction.RollbackAsync()
                              let! isThere = pending.CompleteAsync()
                              Expect.isFalse isThere "and rolled back"
                          })

                  let! after = w.Profile token
                  Expect.equal after 200 "it lives"
                  let! cart = w.Post("/cart/x", token)
                  Expect.equal cart.Status 200 "and is written to"
                  Expect.equal (destroyedOf w) 0 "nobody is told"
              }))

      testCaseTask
          "committed: all have ended but the one that stays, and each is told of once, after the commit"
          (fun () ->
              withApp (fun w source ->
                  task {
                      let! own = w.SignIn "ada"
                      let! other = w.SignIn "ada"
                      let! third = w.SignIn "ada"
                      let! bob = w.SignIn "bob"
                      let kept = SessionId.Parse((own: string).Split('.')[0])

                      do!
                          inTransaction source (fun transaction ->
                              task {
                                  let! pending = (manager w).DestroyAllAsync("ada", transaction, kept)
                                  Expect.equal pending.Count 2 "two"
                                  Expect.equal (destroyedOf w) 0 "nothing is told before the commit"
                                  do! transaction.CommitAsync()
                                  Expect.equal (destroyedOf w) 0 "nor by the commit alone"
                                  let! isThere = pending.CompleteAsync()
                                  Expect.isTrue isThere "committed"
                                  Expect.equal (destroyedOf w) 2 "told"
                                  let! _ = pending.CompleteAsync()
                                  Expect.equal (destroyedOf w) 2 "once"
                              })

                      for token, expected in [ own, 200; other, 401; third, 401; bob, 200 ] do
                          let! status = w.Profile token
                          Expect.equal status expected "who stays and who does not"
                  }))

      testCaseTask "committed: of a user with more sessions than one page has, none lives" (fun () ->
          let table = newTable ()

          withAppOn table (fun w source ->
              task {
                  for _ in 1..21 do
                      let! _ = Task.WhenAll [ for _ in 1..10 -> w.SignIn "ada" ]
                      ()

                  do!
                      inTransaction source (fun transaction ->
                          task {
                              let! pending = (manager w).DestroyAllAsync("ada", transaction)
                              Expect.equal pending.Count 210 "all of them"
                              do! pending.CommitAsync()
                          })

                  let living = shared.Force().Number $"SELECT count(*) FROM \"{table}\" WHERE kind <> 2"
                  Expect.equal living 0L "nobody lives"
              }))

      testCaseTask "a transaction that waits in vain for another one is given up after OperationTimeout" (fun () ->
          task {
              let table = newTable ()
              use source = NpgsqlDataSource.Create(shared.Force().Address)

              // The driver counts in whole seconds, and none of them is for ever.
              for seconds in [ 0.3; 1.0 ] do
                  let options =
                      PostgresStoreOptions(
                          DataSource = source,
                          Table = table,
                          OperationTimeout = TimeSpan.FromSeconds seconds
                      )

                  use store = new PostgresStore(options)

                  let join (transaction: NpgsqlTransaction) =
                      (store :> IJoinsTransaction).Join(transaction, "ada", none).AsTask()

                  do!
                      inTransaction source (fun first ->
                          task {
                              let! _ = join first

                              do!
                                  inTransaction source (fun second ->
                                      task {
                                          let joining = join second
                                          let! _ = Task.WhenAny(joining, Task.Delay 10_000)
                                          let isOver = joining.IsCompleted
                                          do! first.RollbackAsync()
                                          let! said = thrown<NpgsqlException>(fun () -> joining :> Task)
                                          Expect.isTrue isOver $"{seconds} s: it does not wait for ever"
                                          Expect.notEqual said "" $"{seconds} s: and fails"
                                      })
                          })
          })

      testCaseTask "CommitAsync commits, and tells" (fun () ->
          withApp (fun w source ->
              task {
                  let! token = w.SignIn "ada"

                  do!
                      inTransaction source (fun transaction ->
                          task {
                              let! pending = (manager w).DestroyAllAsync("ada", transaction)
                              do! pending.CommitAsync()
                          })

                  let! status = w.Profile token
                  Expect.equal status 401 "over"
                  Expect.equal (destroyedOf w) 1 "told"
              }))

      testCaseTask "Sessions.destroyAllIn: the same from F#" (fun () ->
          withApp (fun w source ->
              task {
                  let! token = w.SignIn "ada"
                  let context = DefaultHttpContext(RequestServices = w.App.Services)

                  do!
                      inTransaction source (fun transaction ->
                          task {
                              match! Sessions.destroyAllIn<Cart> transaction "ada" context with
                              | Error error -> failtestf "%A" error
                              | Ok pending ->
                                  Expect.equal pending.Count 1 "one"
                                  do! transaction.CommitAsync()
                                  let! isThere = pending.Complete none
                                  Expect.isTrue isThere "committed"
                          })

                  let! status = w.Profile token
                  Expect.equal status 401 "over"
                  Expect.equal (destroyedOf w) 1 "told"

                  let! connection, transaction = begun source IsolationLevel.ReadCommitted
                  let! refused = Sessions.destroyAllIn<Cart> transaction "" context
                  Expect.equal refused (Error SessionError.InvalidSubject) "no subject"
                  transaction.Dispose()
                  connection.Dispose()
              }))

      testCaseTask "Sessions.destroyAllButIn: all but the one that stays, with a request and without one" (fun () ->
          withApp (fun w source ->
              task {
                  let context = DefaultHttpContext(RequestServices = w.App.Services)

                  for how in
                      [ fun transaction own -> Sessions.destroyAllButIn<Cart> transaction own "ada" context
                        fun transaction own ->
                            SessionServices.destroyAllButIn<Cart> transaction own "ada" w.App.Services ] do
                      let! own = w.SignIn "ada"
                      let! other = w.SignIn "ada"

                      do!
                          inTransaction source (fun transaction ->
                              task {
                                  match! how transaction ((own: string).Split('.')[0]) with
                                  | Error error -> failtestf "%A" error
                                  | Ok pending ->
                                      Expect.isGreaterThan pending.Count 0 "the other one"
                                      do! transaction.CommitAsync()
                                      let! isThere = pending.Complete none
                                      Expect.isTrue isThere "committed"
                              })

                      for token, expected in [ own, 200; other, 401 ] do
                          let! status = w.Profile token
                          Expect.equal status expected "who stays and who does not"
              }))

      testCaseTask
          "a sign-in that meets the transaction is stored after it, and one that came before it is ended"
          (fun () ->
              withApp (fun w source ->
                  task {
                      do!
                          inTransaction source (fun transaction ->
                              task {
                                  let! before = w.SignIn "ada"
                                  let! anonymous = w.Begin "x"
                                  let! pending = (manager w).DestroyAllAsync("ada", transaction)
                                  let meeting = w.SignIn "ada"
                                  let elevating = w.Post("/login?user=ada", anonymous)
                                  let! _ = Task.WhenAny(meeting, elevating, Task.Delay 500)
                                  Expect.isFalse meeting.IsCompleted "it waits"
                                  Expect.isFalse elevating.IsCompleted "and so does that of a session with a cart"
                                  let! bob = w.SignIn "bob"
                                  do! pending.CommitAsync()
                                  let! met = meeting
                                  let! elevated = elevating

                                  for token, expected in [ before, 401; met, 200; token elevated, 200; bob, 200 ] do
                                      let! status = w.Profile token
                                      Expect.equal status expected "before, meanwhile, and somebody else"
                              })
                  }))

      testCaseTask "a write to a session that is being ended waits, and is refused after the commit" (fun () ->
          withApp (fun w source ->
              task {
                  let! token = w.SignIn "ada"

                  do!
                      inTransaction source (fun transaction ->
                          task {
                              let! pending = (manager w).DestroyAllAsync("ada", transaction)
                              let writing = w.Post("/cart/late", token)
                              let! _ = Task.WhenAny(writing, Task.Delay 300)
                              Expect.isFalse writing.IsCompleted "it waits"
                              do! pending.CommitAsync()
                              let! answer = writing
                              Expect.equal answer.Status 401 "no save brings it back"
                          })
              }))

      testCaseTask "what the transaction cannot promise is refused, with a sentence" (fun () ->
          let table = newTable ()

          withAppOn table (fun w source ->
              task {
                  let! _ = w.SignIn "ada"

                  let refused isolation =
                      task {
                          let! connection, transaction = begun source isolation

                          let! said =
                              thrown<InvalidOperationException>(fun () ->
                                  (manager w).DestroyAllAsync("ada", transaction))

                          transaction.Dispose()
                          connection.Dispose()
                          return said
                      }

                  let! repeatable = refused IsolationLevel.RepeatableRead
                  Expect.stringContains repeatable "READ COMMITTED" "one that looks only once"
                  let! serializable = refused IsolationLevel.Serializable
                  Expect.stringContains serializable "READ COMMITTED" "one that looks only once"

                  let! connection, transaction = begun source IsolationLevel.ReadCommitted
                  do! transaction.CommitAsync()

                  let! over =
                      thrown<InvalidOperationException>(fun () -> (manager w).DestroyAllAsync("ada", transaction))

                  Expect.stringContains over "over" "one that is over"
                  connection.Dispose()

                  // Another database: at first without any tables, then even with tables of the same names.
                  shared.Force().Execute "CREATE DATABASE other"

                  let other = shared.Force().Address.Replace("Database=postgres", "Database=other")
                  use elsewhere = NpgsqlDataSource.Create other

                  let isForeign what =
                      task {
                          let! connection, transaction = begun elsewhere IsolationLevel.ReadCommitted

                          let! foreign =
                              thrown<InvalidOperationException>(fun () ->
                                  (manager w).DestroyAllAsync("ada", transaction))

                          Expect.stringContains foreign "not in the database" what
                          transaction.Dispose()
                          connection.Dispose()
                      }

                  do! isForeign "another database"
                  use sameNames = openPostgresAt other table ignore
                  let! _ = (sameNames :> ISessionStore).Prepare CancellationToken.None
                  do! isForeign "another database, which has tables of the same names"
              }))

      testCaseTask "a transaction in a copy of the database is refused: it would end nobody's session" (fun () ->
          task {
              let server, name = shared.Force(), newTable ()
              let addressOf (database: string) = server.Address.Replace("Database=postgres", $"Database={database}")
              server.Execute $"CREATE DATABASE {name}"

              // Nobody may be connected to what is copied.
              do!
                  task {
                      use made = openPostgresAt (addressOf name) "sessions" ignore
                      let! _ = (made :> ISessionStore).Prepare none
                      ()
                  }

              server.Execute $"CREATE DATABASE {name}_copy TEMPLATE {name}"
              use store = openPostgresAt (addressOf name) "sessions" ignore

              for database, isRefused in [ name, false; $"{name}_copy", true ] do
                  use source = NpgsqlDataSource.Create(addressOf database)

                  do!
                      inTransaction source (fun transaction ->
                          task {
                              let! said =
                                  thrown<InvalidOperationException>(fun () ->
                                      (store :> IJoinsTransaction).Join(transaction, "ada", none).AsTask() :> Task)

                              Expect.equal (said.Contains "not in the database") isRefused $"{database}: {said}"
                          })
          })

      testCaseTask "a store without transactions says so" (fun () ->
          task {
              use source = NpgsqlDataSource.Create(shared.Force().Address)
              let! w = start (MemoryStore()) ignore
              let! connection, transaction = begun source IsolationLevel.ReadCommitted

              let! said = thrown<NotSupportedException>(fun () -> (manager w).DestroyAllAsync("ada", transaction))
              Expect.stringContains said "UsePostgres" "what to do"
              transaction.Dispose()
              connection.Dispose()
              do! stop w
          }) ]

// -- races of a password change with sign-ins

/// The users, each with a password that is a number.
let private users = lazy (newTable () + "_users")

let private execute (transaction: NpgsqlTransaction) (sql: string) =
    task {
        use command = new NpgsqlCommand(sql, transaction.Connection, transaction)
        return! command.ExecuteScalarAsync()
    }

/// What came of one race.
[<Struct>]
type private Race = { Survived: bool; WasBefore: bool; WasRolledBack: bool }

let private race (w: World) (source: NpgsqlDataSource) (random: Random) n =
    task {
        let user = $"user-{n}"
        let isRolledBack, isGuarded = n % 5 = 0, n % 2 = 0
        let pause () = int64 (random.Next 3000)

        let wait (microseconds: int64) =
            let clock = Stopwatch.StartNew()

            while clock.Elapsed.TotalMicroseconds < float microseconds do
                Thread.Yield() |> ignore

        let beforeChange, beforeCommit, beforeSignIn = pause (), pause (), pause ()
        let! first = w.SignIn user
        let mutable commitSent = Int64.MaxValue

        let changing =
            Task.Run<unit>(fun () ->
                inTransaction source (fun transaction ->
                    task {
                        wait beforeChange

                        let! _ =
                            execute
                                transaction
                                $"UPDATE {users.Value} SET password = password + 1 WHERE name = '{user}'"

                        let! pending = (manager w).DestroyAllAsync(user, transaction)
                        wait beforeCommit
                        Volatile.Write(&commitSent, Stopwatch.GetTimestamp())

                        if isRolledBack then do! transaction.RollbackAsync() else do! pending.CommitAsync()
                    }))

        /// The token of who signed in by the password as it was, and when that was acknowledged.
        let signingIn =
            Task.Run<struct (string * int64)>(fun () ->
                task {
                    wait beforeSignIn

                    if isGuarded then
                        // As docs/STORES.md says: the password is looked at and held until the session is there.
                        let mutable token = ""

                        do!
                            inTransaction source (fun transaction ->
                                task {
                                    let! password =
                                        execute
                                            transaction
                                            $"SELECT password FROM {users.Value} WHERE name = '{user}' FOR SHARE"

                                    if password = box 1L then
                                        let! own = w.SignIn user
                                        token <- own
                                })

                        return struct (token, Stopwatch.GetTimestamp())
                    else
                        let! answer = w.Post("/login?user=" + user)
                        let at = Stopwatch.GetTimestamp()
                        return struct (token answer, at)
                })

        do! changing
        let! struct (second, at) = signingIn
        let! firstStatus = w.Profile first
        let! secondStatus = if second = "" then Task.FromResult 401 else w.Profile second
        // Who holds the user's row cannot have seen a password that is changed by now.
        let wasBefore = second <> "" && (isGuarded || at < commitSent)

        if isRolledBack then
            Expect.equal firstStatus 200 $"{user}: a change that was rolled back ends nobody"
            Expect.equal secondStatus 200 $"{user}: nor who signed in meanwhile"
        else
            Expect.equal firstStatus 401 $"{user}: who was signed in before"

        return
            { Survived = not isRolledBack && wasBefore && secondStatus <> 401
              WasBefore = not isRolledBack && wasBefore
              WasRolledBack = isRolledBack }
    }

let private races =
    testCaseTask "races of a password change with sign-ins leave nobody who was let in before" (fun () ->
        withApp (fun w source ->
            task {
                let count = if isLong then 10_000 else 600
                let seed = Random.Shared.Next()
                printfn "races of a password change: seed %d" seed

                shared.Force().Execute
                    $"CREATE TABLE {users.Value} AS SELECT 'user-' || n AS name, 1::bigint AS password FROM generate_series(1, {count}) AS n"

                shared.Force().Execute $"CREATE UNIQUE INDEX ON {users.Value} (name)"
                let mutable next = 0
                let results = Collections.Concurrent.ConcurrentBag<Race>()

                let lane k =
                    Task.Run<unit>(fun () ->
                        task {
                            let random = Random(seed + k)
                            let mutable n = Interlocked.Increment &next

                            while n <= count do
                                let! result = race w source random n
                                results.Add result
                                n <- Interlocked.Increment &next
                        })

                let! _ = Task.WhenAll [ for k in 1..4 -> lane k ]
                let sum (isIt: Race -> bool) = results |> Seq.filter isIt |> Seq.length

                printfn
                    "races of a password change: %d, %d signed in before the commit, %d rolled back, %d survivors"
                    results.Count
                    (sum _.WasBefore)
                    (sum _.WasRolledBack)
                    (sum _.Survived)

                Expect.equal results.Count count "all were run"
                Expect.isGreaterThan (sum _.WasBefore) (count / 20) "many signed in before the commit"
                Expect.equal (sum _.Survived) 0 "survivors"
            }))

let all = testList "Postgres ends in a transaction" (examples @ [ races ])
