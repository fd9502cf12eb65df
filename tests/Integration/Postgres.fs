/// The PostgreSQL store on real servers: what it costs, how it commits, and what it makes of time-outs and poolers.
module Integration.Postgres

open System
open System.Collections.Concurrent
open System.Diagnostics
open System.Threading
open System.Threading.Tasks
open Expecto
open Npgsql
open Integration.PostgresServer
open Integration.Relays
open Integration.World
open Integration.PostgresRecords
open Session.Engine
open Session.Stores.Postgres

let private none = CancellationToken.None
let private onShared configure body = withStore (shared.Force().Address) (newTable ()) configure body

/// Before the server: what the client sends in one go ends with a Sync, and is one round trip.
[<Sealed>]
type private RoundTrips(server: int) =
    let mutable count = 0

    let serve (client: Net.Sockets.TcpClient) =
        task {
            let upstream = new Net.Sockets.TcpClient(NoDelay = true)
            do! upstream.ConnectAsync(Net.IPAddress.Loopback, server)
            let toServer, toClient = upstream.GetStream(), client.GetStream()
            let waiting = ref Array.empty<byte>

            let counted (bytes: byte array) =
                waiting.Value <- Array.append waiting.Value bytes
                let mutable isWhole = true

                while isWhole do
                    match Wire.postgres (ReadOnlyMemory waiting.Value) with
                    | ValueSome(struct (until, counts)) ->
                        waiting.Value <- waiting.Value[until..]

                        if counts then
                            Interlocked.Increment &count |> ignore
                    | ValueNone -> isWhole <- false

                Task.CompletedTask

            let! _ = Task.WhenAll(pump toClient toServer counted, pump toServer toClient (fun _ -> Task.CompletedTask))
            ()
        }

    let relay = new Relay(serve)
    member _.Port = relay.Port

    /// Since it was asked last.
    member _.Since() = Interlocked.Exchange(&count, 0)

    interface IDisposable with
        member _.Dispose() = (relay :> IDisposable).Dispose()

/// Before the server: hands everything on, until the answer to what comes next is wanted lost. The server has carried
/// that out then, and the connection is gone.
[<Sealed>]
type private LostAnswers(server: int) =
    let mutable isWanted = 0

    let serve (client: Net.Sockets.TcpClient) =
        task {
            let upstream = new Net.Sockets.TcpClient(NoDelay = true)
            do! upstream.ConnectAsync(Net.IPAddress.Loopback, server)
            let toServer, toClient = upstream.GetStream(), client.GetStream()

            let lost (answer: byte array) =
                if answer.Length > 0 && Interlocked.Exchange(&isWanted, 0) = 1 then
                    raise (IO.IOException "the answer is lost")

                Task.CompletedTask

            let! _ = Task.WhenAll(pump toClient toServer (fun _ -> Task.CompletedTask), pump toServer toClient lost)
            ()
        }

    let relay = new Relay(serve)
    member _.Port = relay.Port

    /// The next answer, on whatever connection.
    member _.Lose() = Volatile.Write(&isWanted, 1)

    /// Whether it is gone.
    member _.IsLost = Volatile.Read &isWanted = 0

    interface IDisposable with
        member _.Dispose() = (relay :> IDisposable).Dispose()

let private costs =
    [ testCaseTask "a read is one round trip, a write two, and nothing is nothing" (fun () ->
          task {
              use trips = new RoundTrips(shared.Force().Port)
              let address = shared.Force().Address.Replace($"Port={shared.Force().Port}", $"Port={trips.Port}")
              // One connection, so that what is prepared once is there.
              use store = openPostgresAt (address + ";Maximum Pool Size=1") (newTable ()) ignore
              let! w = start store ignore
              let! token = w.SignIn "ann"
              let! _ = w.Post("/cart/x", token)
              let! _ = w.Get("/cart", token)

              let counted (request: unit -> Task<Http.Answer>) =
                  task {
                      trips.Since() |> ignore
                      let! answer = request ()
                      Expect.equal answer.Status 200 "answered"
                      return trips.Since()
                  }

              let! read = counted (fun () -> w.Get("/cart", token))
              Expect.equal read 1 "a read"
              let! written = counted (fun () -> w.Post("/cart/y", token))
              Expect.equal written 2 "a write"
              let! untouched = counted (fun () -> w.Get("/plain", token))
              Expect.equal untouched 0 "an endpoint without a session"
              let! anonymous = counted (fun () -> w.Get "/cart")
              Expect.equal anonymous 0 "a request without a token"
              do! stop w
          })

      testCaseTask "the subject and the due time have an index each, and it is used" (fun () ->
          onShared ignore (fun store ->
              task {
                  let! report = store.Prepare none
                  let table = report.Location.Substring(report.Location.LastIndexOf '.' + 1)

                  let plan (sql: string) =
                      use connection = new NpgsqlConnection(shared.Force().Address)
                      connection.Open()
                      use off = new NpgsqlCommand("SET enable_seqscan = off", connection)
                      off.ExecuteNonQuery() |> ignore
                      use command = new NpgsqlCommand("EXPLAIN " + sql, connection)
                      use rows = command.ExecuteReader()

                      String.Join(
                          "\n",
                          [ while rows.Read() do
                                rows.GetString 0 ]
                      )

                  let bySubject =
                      plan $"SELECT * FROM \"{table}\" WHERE subject = '\\x61' AND id > '' ORDER BY id LIMIT 10"

                  Expect.stringContains bySubject $"{table}_subject" "the index of subjects"

                  let due =
                      plan
                          $"SELECT id FROM \"{table}\" WHERE look_at <= 1 AND due_at <= 1 ORDER BY look_at LIMIT 10 FOR UPDATE SKIP LOCKED"

                  Expect.stringContains due $"{table}_look" "the index of due times"
              })) ]

let private run (transaction: NpgsqlTransaction) (sql: string) =
    use command = new NpgsqlCommand(sql, transaction.Connection, transaction)
    command.ExecuteNonQuery() |> ignore

/// Until a statement on this table waits for a lock, or it is over.
let private untilOneWaits (server: PostgresServer) (table: string) (work: Task) =
    task {
        let waits =
            $"SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%%\"{table}\"%%' AND wait_event_type = 'Lock'"

        while server.Number waits = 0L && not work.IsCompleted do
            do! Task.Delay 5

        Expect.isFalse work.IsCompleted "it waits"
    }

/// What is to last from now on waits for these standbys.
let private waitsFor (server: PostgresServer) (standbys: string) =
    task {
        server.Execute $"ALTER SYSTEM SET synchronous_standby_names = '{standbys}'"
        server.Execute "SELECT pg_reload_conf()"
        do! Task.Delay 300
    }

/// An administrator ends the wait for a standby: the server calls that a success, and warns.
let private withWaitEnded (server: PostgresServer) (write: unit -> ValueTask<WriteResult>) =
    task {
        let writing = write().AsTask()
        let mutable cancelled = 0L

        while cancelled = 0L && not writing.IsCompleted do
            cancelled <-
                server.Number "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"

        let! result = writing
        Expect.equal cancelled 1L "it was waiting"
        return result
    }

/// What a write says that cannot come through.
let private refusal (write: unit -> ValueTask<WriteResult>) =
    task {
        try
            let! result = write ()
            return string result
        with :? StoreRefusedException as error ->
            return error.Message
    }

/// What somebody may have done to a row: it is no record of ours then.
let private strange =
    [ "due_at = -1"
      "due_at = 9223372036854775807, look_at = 0"
      "last_seen = -1"
      "last_seen = 9223372036854775807"
      "kind = 9" ]

let private answers =
    [ testCaseTask "subjects of any Unicode, U+0000 included, times to the tick, ids by their bytes" (fun () ->
          onShared ignore (fun store ->
              task {
                  let subject = "a\u0000b\U0001F600ſ"
                  let tick = at.AddTicks 1L
                  let body = ReadOnlyMemory(Array.init 256 byte)

                  for id in [ "b"; "B"; "_"; "-"; "a0"; "A0" ] do
                      let kept = StoredRecord(id, 1L, RecordKind.Live, tick, tick, subject, 5L, body, true)
                      let! written = store.Insert(kept, none)
                      Expect.equal written WriteResult.Written id

                  let! page = store.BySubject(subject, null, 10, none)
                  let ids = [ for record in page.Records -> record.Id ]

                  Expect.equal
                      ids
                      [ "-"; "A0"; "B"; "_"; "a0"; "b" ]
                      "in the order of bytes, in a database that sorts as English does"

                  let! found = store.Load("B", none)
                  let found = nonNull found
                  Expect.equal found.Subject subject "the subject"
                  Expect.equal found.LastSeen tick "to the tick"
                  Expect.equal (found.Body.ToArray()) (body.ToArray()) "the body"
                  let! others = store.BySubject("a\u0000b", null, 10, none)
                  Expect.isEmpty others.Records "no prefix of it"
              }))

      testCaseTask "a write moves no index entry: PostgreSQL updates the row in place" (fun () ->
          task {
              let table = newTable ()

              do!
                  withStore (shared.Force().Address) table ignore (fun store ->
                      task {
                          let! _ = store.Insert(record "a" 1L "ada" true, none)

                          for version in 2L .. 51L do
                              let next = record "a" version "ada" false
                              let basis = RecordHead(version - 1L, RecordKind.Live, at, at, "ada", 0L)
                              let later = next.Due(at.AddHours(float version)).BasedOn basis
                              let! written = store.Replace(later, version - 1L, none)
                              Expect.equal written WriteResult.Written "written"
                      })

              let counted column =
                  task {
                      let mutable found = 0L
                      let mutable tries = 0

                      // The server tells its statistics late.
                      while found < 50L && tries < 100 do
                          tries <- tries + 1
                          let sql = $"SELECT {column} FROM pg_stat_user_tables WHERE relname = '{table}'"
                          found <- shared.Force().Number sql

                          if found < 50L then
                              do! Task.Delay 50

                      return found
                  }

              let! updates = counted "n_tup_upd"
              let! inPlace = counted "n_tup_hot_upd"
              Expect.equal updates 50L "updates"
              Expect.isGreaterThanOrEqual inPlace 45L "in place"
          })

      testCaseTask "statement_timeout: an exception, and nothing is changed" (fun () ->
          task {
              let server, table = shared.Force(), newTable ()
              let address = server.Address + ";Options=-c statement_timeout=300"

              do!
                  withStore address table ignore (fun store ->
                      task {
                          let! _ = store.Insert(record "a" 1L null false, none)
                          use blocker = new NpgsqlConnection(server.Address)
                          blocker.Open()
                          use transaction = blocker.BeginTransaction()
                          use hold = new NpgsqlCommand($"SELECT 1 FROM \"{table}\" FOR UPDATE", blocker, transaction)
                          hold.ExecuteNonQuery() |> ignore
                          let mutable code = ""

                          try
                              let! _ = store.Replace(record "a" 2L null true, 1L, none)
                              ()
                          with :? StoreRefusedException as error ->
                              match error.InnerException with
                              | :? PostgresException as cause -> code <- cause.SqlState
                              | _ -> ()

                          Expect.equal code PostgresErrorCodes.QueryCanceled "the server has given it up"
                          transaction.Rollback()
                          let! found = store.Load("a", none)
                          Expect.equal (nonNull found).Version 1L "as it was"
                      })
          })

      testCaseTask "a time-out after sending is unknown; so is a connection that breaks then" (fun () ->
          task {
              let server, table = shared.Force(), newTable ()

              do!
                  withStore server.Address table (fun o -> o.OperationTimeout <- TimeSpan.FromSeconds 1L) (fun store ->
                      task {
                          let! _ = store.Insert(record "a" 1L null false, none)
                          use blocker = new NpgsqlConnection(server.Address)
                          blocker.Open()
                          use transaction = blocker.BeginTransaction()
                          use hold = new NpgsqlCommand($"SELECT 1 FROM \"{table}\" FOR UPDATE", blocker, transaction)
                          hold.ExecuteNonQuery() |> ignore
                          let! late = store.Replace(record "a" 2L null true, 1L, none)
                          Expect.equal late WriteResult.Unknown "the time is over"

                          let writing = store.Replace(record "a" 2L null true, 1L, none).AsTask()
                          let mutable ended = 0L

                          while ended = 0L && not writing.IsCompleted do
                              let waits =
                                  $"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE '%%\"{table}\"%%' AND wait_event_type = 'Lock'"

                              ended <- server.Number waits

                          let! broken = writing
                          Expect.equal ended 1L "it was waiting"
                          Expect.equal broken WriteResult.Unknown "the connection broke"
                          transaction.Rollback()
                          let! again = store.Replace(record "a" 2L null true, 1L, none)
                          Expect.equal again WriteResult.Written "and the store goes on"
                      })
          })

      testCaseTask
          "a write that the server has carried out, and whose answer is lost, is unknown, and is not sent again"
          (fun () ->
              task {
                  let server, table = shared.Force(), newTable ()
                  use lost = new LostAnswers(server.Port)
                  let address = server.Address.Replace($"Port={server.Port}", $"Port={lost.Port}")

                  // One connection, on which each statement is prepared before the one that counts.
                  do!
                      withStore (address + ";Maximum Pool Size=1") table ignore (fun store ->
                          task {
                              for isDurable in [ false; true ] do
                                  for subject in ([ null; "ada" ]: (string | null) list) do
                                      let id n = $"{n}-{isDurable}-{subject}"
                                      let of' id version = record id version subject isDurable
                                      let insert n = store.Insert(of' (id n) 1L, none)
                                      let replace n version = store.Replace(of' (id n) version, version - 1L, none)

                                      let! written = insert "first"
                                      Expect.equal written WriteResult.Written "inserted"
                                      lost.Lose()
                                      let! inserted = insert "second"
                                      Expect.isTrue lost.IsLost "the answer to the insert"
                                      Expect.equal inserted WriteResult.Unknown (id "an insert")

                                      let! written = replace "first" 2L
                                      Expect.equal written WriteResult.Written "replaced"
                                      lost.Lose()
                                      let! replaced = replace "second" 2L
                                      Expect.isTrue lost.IsLost "the answer to the replace"
                                      Expect.equal replaced WriteResult.Unknown (id "a replace")
                                      let! found = store.Load(id "second", none)
                                      Expect.equal (nonNull found).Version 2L "both were carried out"
                          })
              })

      testCaseTask "a touch, a due time, a removal or a notice whose answer is lost is told as a failure" (fun () ->
          task {
              let server, table = shared.Force(), newTable ()
              use lost = new LostAnswers(server.Port)
              let address = server.Address.Replace($"Port={server.Port}", $"Port={lost.Port}")

              do!
                  withStore (address + ";Maximum Pool Size=1") table ignore (fun store ->
                      task {
                          for name, work in
                              [ "a touch", (fun (id: string) -> store.Touch(id, at.AddMinutes 1.0, none))
                                "a due time", (fun id -> store.Reschedule(id, 1L, at.AddDays 1.0, none))
                                "a removal", (fun id -> store.Remove(id, none))
                                "the removal of a version",
                                (fun id -> (store :?> IRemovesVersion).RemoveVersion(id, 1L, 7L, none))
                                "a notice", (fun id -> (store :?> ISessionSignals).Publish([| id |], none)) ] do
                              // On one connection, on which it is prepared before the one that counts.
                              do! work "nobody"
                              lost.Lose()

                              let! isTold =
                                  task {
                                      try
                                          do! work "nobody"
                                          return false
                                      with :? TimeoutException ->
                                          return true
                                  }

                              Expect.isTrue lost.IsLost $"{name}: the answer"
                              Expect.isTrue isTold $"{name}: nobody knows whether it was carried out"
                      })
          })

      testCaseTask
          "a connection that has forgotten what was prepared, or has that of others under its names, fails no read and no write"
          (fun () ->
              task {
                  let read (store: ISessionStore) : Task =
                      task {
                          let! page = store.Enumerate(null, 10, none)
                          Expect.isEmpty page.Records "read"
                      }

                  let write (store: ISessionStore) : Task =
                      task {
                          let! written = store.Insert(record (Guid.NewGuid().ToString "N") 1L null false, none)
                          Expect.equal written WriteResult.Written "written"
                      }

                  // As behind a pooler that was not seen: each time it may be another connection.
                  let forgotten = [ "DEALLOCATE ALL" ]
                  let taken = [ for n in 2..20 -> $"PREPARE _p{n} AS SELECT 1" ]

                  for work in [ read; write ] do
                      for isForgotten in [ true; false ] do
                          let address = shared.Force().Address + ";Maximum Pool Size=1;No Reset On Close=true"
                          use source = NpgsqlDataSource.Create address

                          use opened =
                              new PostgresStore(PostgresStoreOptions(DataSource = source, Table = newTable ()))

                          let store = opened :> ISessionStore
                          let! _ = store.Count none

                          if isForgotten then
                              do! work store

                          for sql in (if isForgotten then forgotten else taken) do
                              use command = source.CreateCommand sql
                              let! _ = command.ExecuteNonQueryAsync()
                              ()

                          do! work store
              })

      testCaseTask
          "whoever comes to a subject, from nobody or from another one, waits for the transaction that ends all of its sessions"
          (fun () ->
              task {
                  let server, table = shared.Force(), newTable ()

                  do!
                      withStore server.Address table ignore (fun store ->
                          task {
                              for former in ([ null; "bob" ]: (string | null) list) do
                                  let id = $"of-{former}"
                                  let before = record id 1L former true
                                  let! _ = store.Insert(before, none)
                                  use other = new NpgsqlConnection(server.Address)
                                  other.Open()
                                  use transaction = other.BeginTransaction()
                                  let! _ = (store :?> IJoinsTransaction).Join(transaction, "ada", none)
                                  let after = (record id 2L "ada" true).BasedOn before.Head
                                  let arriving = store.Replace(after, 1L, none).AsTask()
                                  do! untilOneWaits server table arriving
                                  transaction.Commit()
                                  let! arrived = arriving
                                  Expect.equal arrived WriteResult.Written "and is stored after it"
                          })
              })

      testCaseTask "a claim of more than a thousand hands out as many as are wanted, each once" (fun () ->
          task {
              let server, table = shared.Force(), newTable ()

              do!
                  withStore server.Address table ignore (fun store ->
                      task {
                          let! _ = store.Insert(record "a" 1L null false, none)

                          server.Execute
                              $"INSERT INTO \"{table}\" SELECT 'n' || n, version, kind, last_seen, due_at, look_at, subject, operation, body FROM \"{table}\", generate_series(1, 2199) AS n"

                          let claim limit =
                              task {
                                  let! claimed =
                                      store.ClaimOverdue(at.AddDays 1, TimeSpan.FromMinutes 1L, limit, none)

                                  return [ for one in claimed -> one.Id ]
                              }

                          let! first = claim 1500
                          Expect.equal first.Length 1500 "no more than wanted"
                          let! rest = claim Int32.MaxValue
                          Expect.equal rest.Length 700 "and those that are left"
                          Expect.equal (List.distinct (first @ rest)).Length 2200 "each once"
                      })
          })

      testCaseTask "a serialization failure is tried again" (fun () ->
          task {
              let server, table = shared.Force(), newTable ()
              // Every transaction is SERIALIZABLE here: who waits for a row and finds it changed is refused.
              let address = server.Address + ";Options=-c default_transaction_isolation=serializable"

              do!
                  withStore address table ignore (fun store ->
                      task {
                          let! _ = store.Insert(record "a" 1L "ada" true, none)
                          use other = new NpgsqlConnection(server.Address)
                          other.Open()
                          use transaction = other.BeginTransaction()

                          run transaction $"UPDATE \"{table}\" SET last_seen = last_seen + 1"
                          let touching = store.Touch("a", at.AddTicks 850L, none).AsTask()
                          do! untilOneWaits server table touching
                          transaction.Commit()
                          do! touching
                          let! found = store.Load("a", none)
                          Expect.equal (nonNull found).LastSeen (at.AddTicks 850L) "it came through"
                      })
          })

      testCaseTask "a deadlock is tried again" (fun () ->
          task {
              let server, table = shared.Force(), newTable ()
              // It is the store that looks for a deadlock, and so gives way; and not before there is one.
              let address = server.Address + ";Options=-c deadlock_timeout=2s"

              do!
                  withStore address table ignore (fun store ->
                      task {
                          let! _ = store.Insert(record "a" 1L "ada" true, none)
                          use other = new NpgsqlConnection(server.Address)
                          other.Open()
                          use transaction = other.BeginTransaction()

                          run transaction "SET LOCAL deadlock_timeout = '1min'"

                          run
                              transaction
                              $"INSERT INTO \"{table}\" SELECT 'b', version, kind, last_seen, due_at, look_at, subject, operation, body FROM \"{table}\""

                          // It has the lock of its subject, and waits for the other one's row.
                          let inserting = store.Insert(record "b" 1L "ada" true, none).AsTask()
                          do! untilOneWaits server table inserting
                          run transaction $"SELECT 1 FROM \"{table}_locks\" FOR UPDATE"
                          transaction.Rollback()
                          let! inserted = inserting
                          Expect.equal inserted WriteResult.Written "it came through"
                      })
          })

      testCaseTask "what must last waits for the synchronous standby, and is never acknowledged without it" (fun () ->
          task {
              use server = startOne []
              let table = "sessions"

              do!
                  withStore server.Address table (fun o -> o.OperationTimeout <- TimeSpan.FromSeconds 1L) (fun store ->
                      task {
                          let! _ = store.Insert(record "a" 1L null false, none)
                          do! waitsFor server "nobody"
                          let! routine = store.Replace(record "a" 2L null false, 1L, none)
                          Expect.equal routine WriteResult.Written "a cart does not wait"
                          let! lasting = store.Replace(record "a" 3L null true, 2L, none)
                          Expect.notEqual lasting WriteResult.Written "a logout is not acknowledged"

                          let! result = withWaitEnded server (fun () -> store.Insert(record "b" 1L "ada" true, none))
                          Expect.equal result WriteResult.Unacknowledged "written, and not acknowledged"
                      })
          })

      testCaseTask "without its synchronous standby requests go on, and their tokens are renewed later" (fun () ->
          task {
              use server = startOne []

              do!
                  withStore server.Address (newTable ()) ignore (fun store ->
                      task {
                          // The table is made while nobody is waited for.
                          let! _ = store.Insert(record "a" 1L null false, none)
                          do! waitsFor server "nobody"
                          do! Engines.renewalsArePutOff store (fun () -> waitsFor server "" :> Task)
                      })
          })

      testCaseTask
          "a role that is told no warnings: what no synchronous standby has is not acknowledged all the same"
          (fun () ->
              task {
                  use server = startOne []
                  server.Execute "CREATE ROLE app LOGIN"
                  server.Execute "GRANT CREATE ON SCHEMA public TO app"
                  server.Execute "ALTER ROLE app SET client_min_messages = error"

                  for durability in [ PostgresDurability.Flushed; PostgresDurability.Applied ] do
                      // The table is made while nobody is waited for.
                      do! waitsFor server ""

                      do!
                          withStore
                              (server.AddressOf "app")
                              (newTable ())
                              (fun o -> o.Durability <- durability)
                              (fun store ->
                                  task {
                                      let! _ = store.Insert(record "a" 1L null false, none)
                                      do! waitsFor server "nobody"

                                      let! signIn =
                                          withWaitEnded server (fun () ->
                                              store.Insert(record "b" 1L "ada" true, none))

                                      Expect.equal signIn WriteResult.Unacknowledged $"{durability}: a sign-in"

                                      let! logout =
                                          withWaitEnded server (fun () ->
                                              store.Replace(record "a" 2L null true, 1L, none))

                                      Expect.equal logout WriteResult.Unacknowledged $"{durability}: a logout"
                                  })
              })

      testCaseTask
          "a statement that takes too long leaves the connections as they are, its own and the others"
          (fun () ->
              task {
                  let server, table = shared.Force(), newTable ()
                  // Time for the server to say that it has given the statement up: the connection is as good as before then.
                  let address = $"{server.Address};Application Name=app-{table};Cancellation Timeout=20000"
                  let own = $"FROM pg_stat_activity WHERE application_name = 'app-{table}'"

                  do!
                      withStore address table (fun o -> o.OperationTimeout <- TimeSpan.FromSeconds 3L) (fun store ->
                          task {
                              let! _ = store.Insert(record "a" 1L null false, none)
                              use other = new NpgsqlConnection(server.Address)
                              other.Open()

                              // Four that wait at the same time have four connections.
                              use held = other.BeginTransaction()
                              run held $"LOCK TABLE \"{table}\""
                              let loads = [ for _ in 1..4 -> store.Load("a", none).AsTask() ]

                              while server.Number $"SELECT count(*) {own} AND wait_event_type = 'Lock'" < 4L do
                                  do! Task.Delay 5

                              held.Commit()
                              let! _ = Task.WhenAll loads

                              let connections () =
                                  string (server.Scalar $"SELECT string_agg(pid::text, ' ' ORDER BY pid) {own}")

                              let before = connections ()
                              use again = other.BeginTransaction()
                              run again $"SELECT 1 FROM \"{table}\" FOR UPDATE"
                              let! late = store.Replace(record "a" 2L null true, 1L, none)
                              Expect.equal late WriteResult.Unknown "the time is over"
                              again.Rollback()
                              do! Task.Delay 300
                              Expect.equal (connections ()) before "the same as before"
                          })
              })

      testCaseTask
          "a table of locks that has lost its rows: a sign-in fails with what to do, and works once it is done"
          (fun () ->
              task {
                  let server, table = shared.Force(), newTable ()

                  do!
                      withStore server.Address table ignore (fun store ->
                          task {
                              let! _ = store.Insert(record "a" 1L null false, none)
                              server.Execute $"TRUNCATE \"{table}_locks\""
                              let signIn () = store.Insert(record "b" 1L "ada" true, none)
                              let elevation () = store.Replace(record "a" 2L "ada" true, 1L, none)

                              for write in [ signIn; elevation ] do
                                  let! said = refusal write
                                  Expect.stringContains said $"\"{table}_locks\"" "which table"
                                  Expect.stringContains said "INSERT INTO" "and what to do"

                              let! cart = store.Replace(record "a" 2L null false, 1L, none)
                              Expect.equal cart WriteResult.Written "a cart has no lock"
                              let! taken = store.Insert(record "a" 1L "ada" true, none)
                              Expect.equal taken WriteResult.Conflict "an id that is taken is"

                              let! said = refusal signIn
                              let cure = said.Substring(said.IndexOf("INSERT INTO", StringComparison.Ordinal))

                              server.Execute(
                                  cure.Substring(
                                      0,
                                      cure.IndexOf('.', cure.IndexOf("DO NOTHING", StringComparison.Ordinal))
                                  )
                              )

                              let! written = signIn ()
                              Expect.equal written WriteResult.Written "as it said"
                          })
              })

      testCaseTask
          "a trigger that swallows what is written: a failure that names the table, and no endless loop"
          (fun () ->
              task {
                  let server, table = shared.Force(), newTable ()

                  do!
                      withStore server.Address table ignore (fun store ->
                          task {
                              let! _ = store.Insert(record "a" 1L null false, none)

                              server.Execute
                                  $"CREATE FUNCTION keep_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$"

                              server.Execute
                                  $"CREATE TRIGGER keep BEFORE INSERT OR UPDATE ON \"{table}\" FOR EACH ROW EXECUTE FUNCTION keep_{table}()"

                              let insert () = store.Insert(record "b" 1L null false, none)
                              let replace () = store.Replace(record "a" 2L null true, 1L, none)

                              for write in [ insert; replace ] do
                                  let! said = refusal write
                                  Expect.stringContains said $"\"{table}\"" "which table"
                                  Expect.stringContains said "trigger" "and what to look for"
                          })
              })

      testCaseTask
          "what a server calls its failure says whether something may be stored: a refusal, or no answer"
          (fun () ->
              task {
                  let server, table = shared.Force(), newTable ()

                  do!
                      withStore server.Address table ignore (fun store ->
                          task {
                              let! _ = store.Insert(record "a" 1L null false, none)

                              // Full, a lock, a standby, no right; a pooler that has lost its server, CockroachDB that does not know,
                              // and what nobody knows.
                              for code, isRefusal in
                                  [ "53100", true
                                    "55P03", true
                                    "42501", true
                                    "P0001", true
                                    "08006", false
                                    "08P01", false
                                    "40003", false
                                    "XX000", false ] do
                                  server.Execute
                                      $"CREATE OR REPLACE FUNCTION fail_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'as told' USING ERRCODE = '{code}'; END $$"

                                  server.Execute
                                      $"CREATE TRIGGER fail BEFORE INSERT OR UPDATE ON \"{table}\" FOR EACH ROW EXECUTE FUNCTION fail_{table}()"

                                  for write in
                                      [ fun () -> store.Insert(record "b" 1L null false, none)
                                        fun () -> store.Replace(record "a" 2L null true, 1L, none) ] do
                                      let! said =
                                          task {
                                              try
                                                  let! result = write ()
                                                  return string result
                                              with :? StoreRefusedException ->
                                                  return "refused"
                                          }

                                      Expect.equal said (if isRefusal then "refused" else "Unknown") code

                                  server.Execute $"DROP TRIGGER fail ON \"{table}\""
                          })
              })

      testCaseTask "a row that is no record of ours keeps no claim and no list from the others" (fun () ->
          task {
              let server = shared.Force()

              for change in strange do
                  let table = newTable ()

                  do!
                      withStore server.Address table ignore (fun store ->
                          task {
                              for id in [ "a"; "b"; "c" ] do
                                  let! written = store.Insert(record id 1L "ada" true, none)
                                  Expect.equal written WriteResult.Written id

                              server.Execute $"UPDATE \"{table}\" SET {change} WHERE id = 'b'"
                              let! found = store.Load("b", none)
                              let found = nonNull found
                              Expect.equal found.Body.Length 0 $"{change}: nothing that could be read"
                              Expect.equal found.Kind RecordKind.Live $"{change}: somebody's"

                              // What has ended stays so, whatever else is no more what it was.
                              if change <> "kind = 9" then
                                  let gone =
                                      StoredRecord(
                                          "e",
                                          1L,
                                          RecordKind.Ended,
                                          at,
                                          at,
                                          "eve",
                                          1L,
                                          ReadOnlyMemory [| 1uy |]
                                      )

                                  let! _ = store.Insert(gone, none)
                                  server.Execute $"UPDATE \"{table}\" SET {change} WHERE id = 'e'"
                                  let! ended = store.Load("e", none)
                                  Expect.equal (nonNull ended).Kind RecordKind.Ended $"{change}: over"
                                  do! store.Remove("e", none)

                              Expect.equal found.Subject "ada" $"{change}: of the same subject"
                              Expect.equal found.Version 1L $"{change}: of the same version"

                              let! page = store.Enumerate(null, 10, none)
                              Expect.equal [ for it in page.Records -> it.Id ] [ "a"; "b"; "c" ] $"{change}: all"
                              let! page = store.BySubject("ada", null, 10, none)

                              Expect.equal
                                  [ for it in page.Records -> it.Id ]
                                  [ "a"; "b"; "c" ]
                                  $"{change}: all of hers"

                              let! many = (store :?> IReadsMany).LoadMany([| "a"; "b"; "c" |], none)
                              Expect.equal many.Count 3 $"{change}: all that are asked for"

                              let! claimed = store.ClaimOverdue(at.AddDays 1, TimeSpan.FromMinutes 1L, 10, none)

                              let whole =
                                  [ for it in claimed do
                                        if it.Body.Length > 0 then
                                            it.Id ]

                              Expect.equal whole [ "a"; "c" ] $"{change}: what is due"
                          })
          })

      testCaseTask
          "a session whose row is no record of ours is unreadable, which is no outage, and can be ended"
          (fun () ->
              task {
                  let server = shared.Force()

                  for change in strange do
                      let table = newTable ()

                      do!
                          withStore server.Address table ignore (fun store ->
                              task {
                                  let engine =
                                      Engines.engineOn store Engines.settings TimeProvider.System Engines.silent

                                  match! engine.Create(Token.newId, Some "ada", [| 1uy |], none) with
                                  | Error error -> failtestf "%s: %O" change error
                                  | Ok opened ->
                                      let token = opened.Issued.Value.Reveal()

                                      let present () =
                                          engine.Present(
                                              (Token.tryParse engine.Hasher (token.AsSpan())).Value,
                                              false,
                                              none
                                          )

                                      server.Execute $"UPDATE \"{table}\" SET {change}"

                                      match! present () with
                                      | Error(SessionError.Unreadable _) -> ()
                                      | Error error -> failtestf "%s: %O" change error
                                      | Ok _ -> failtestf "%s: opened" change

                                      match! engine.DestroyAll("ada", None, Session.Domain.Revoked, none) with
                                      | Ok count -> Expect.equal count 1 $"{change}: ended"
                                      | Error error -> failtestf "%s: %O" change error

                                      // Whoever ended it could not read whose token it was: nobody is told why it is over.
                                      match! present () with
                                      | Error SessionError.NoSession -> ()
                                      | Error error -> failtestf "%s: %O after the end" change error
                                      | Ok _ -> failtestf "%s: opened after the end" change

                                      let! count = store.Count none
                                      Expect.equal count 0L $"{change}: a tombstone"
                              })
              })

      testCaseTask "how a write commits: what must last synchronously, the rest as the settings say" (fun () ->
          task {
              let server, table = shared.Force(), newTable ()
              do! withStore server.Address table ignore (fun store -> task { do! store.Touch("x", at, none) })
              // Each write notes how it is about to commit.
              server.Execute $"CREATE TABLE seen_{table} (id text, how text)"

              server.Execute
                  $"CREATE FUNCTION note_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO seen_{table} VALUES (coalesce(NEW.id, OLD.id), current_setting('synchronous_commit')); RETURN NULL; END $$"

              server.Execute
                  $"CREATE CONSTRAINT TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON \"{table}\" DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note_{table}()"

              let write id isDurable address configure =
                  withStore address table configure (fun store ->
                      task {
                          let! _ = store.Insert(record id 1L "ada" isDurable, none)
                          let! _ = store.Replace(record id 2L "ada" isDurable, 1L, none)
                          do! store.Touch(id, at.AddMinutes 1.0, none)
                          do! store.Reschedule(id, 2L, at.AddMinutes 30.0, none)
                          let! claimed = store.ClaimOverdue(at.AddHours 2.0, TimeSpan.FromMinutes 1L, 10, none)
                          Expect.equal [ for one in claimed -> one.Id ] [ id ] "claimed"
                          do! store.Remove(id, none)
                          let again = record id 1L "ada" isDurable
                          let! _ = store.Insert(again, none)
                          do! (store :?> IRemovesVersion).RemoveVersion(id, 1L, again.Operation, none)
                      })

              let off = server.Address + ";Options=-c synchronous_commit=off"
              let apply = server.Address + ";Options=-c synchronous_commit=remote_apply"
              do! write "lasting" true off ignore
              do! write "kept-higher" true apply ignore
              do! write "applied" true off (fun o -> o.Durability <- PostgresDurability.Applied)
              do! write "routine" false server.Address ignore
              do! write "flushed" false server.Address (fun o -> o.FlushRoutineWrites <- true)

              // In the order in which they were noted.
              let levels = "string_agg(how, ' ' ORDER BY ctid)"
              let how id = string (server.Scalar $"SELECT {levels} FROM seen_{table} WHERE id = '{id}'")

              // What was seen, and when it is looked at next, need not last, whoever has written it.
              let but (level: string) = $"{level} {level} off off off {level} {level} {level}"
              Expect.equal (how "lasting") (but "on") "also where the role's default is off"
              Expect.equal (how "kept-higher") (but "remote_apply") "never less than the server's own"
              Expect.equal (how "applied") (but "remote_apply") "Applied"
              // Whatever was removed: a crash that brings it back could bring back a session that was moved elsewhere.
              let routine = "off off off off off on off on"
              Expect.equal (how "routine") routine "routine, and the removals, which always last"
              let all = String.Join(' ', List.replicate 8 "on")
              Expect.equal (how "flushed") all "FlushRoutineWrites, for all that is written"
          }) ]

// -- notices

/// Before the server: hands everything on, until it is muted. Then the connections of before stay open, and nothing comes over
/// them any more, as behind a firewall that has forgotten them; new ones work.
[<Sealed>]
type private Muting(server: int, asked: byte array -> unit) =
    let mutable generation = 0
    let isOver = TaskCompletionSource TaskCreationOptions.RunContinuationsAsynchronously

    let serve (client: Net.Sockets.TcpClient) =
        task {
            let own = Volatile.Read &generation
            let passage () = if Volatile.Read &generation = own then Task.CompletedTask else isOver.Task
            let upstream = new Net.Sockets.TcpClient(NoDelay = true)
            do! upstream.ConnectAsync(Net.IPAddress.Loopback, server)
            let toServer, toClient = upstream.GetStream(), client.GetStream()

            let asking (bytes: byte array) =
                asked bytes
                passage ()

            let! _ = Task.WhenAll(pump toClient toServer asking, pump toServer toClient (fun _ -> passage ()))
            ()
        }

    let relay = new Relay(serve)
    member _.Port = relay.Port
    member _.Mute() = Interlocked.Increment &generation |> ignore

    interface IDisposable with
        member _.Dispose() =
            isOver.TrySetResult() |> ignore
            (relay :> IDisposable).Dispose()

/// What is heard of a store over such a relay, and how much of it was heard whenever it was about to listen.
let private withListener
    (body: string -> Muting -> ConcurrentQueue<string> -> (unit -> int list) -> Task<unit>)
    : Task<unit> =
    task {
        let server, table = shared.Force(), newTable ()
        let heard, before = ConcurrentQueue<string>(), ConcurrentQueue<int>()

        let asked (bytes: byte array) =
            if ReadOnlySpan(bytes).IndexOf(ReadOnlySpan("LISTEN \""B)) >= 0 then
                before.Enqueue heard.Count

        use relay = new Muting(server.Port, asked)
        let address = server.Address.Replace($"Port={server.Port}", $"Port={relay.Port}")

        use store =
            openPostgresAt $"{address};Application Name=hears-{table}" table (fun options ->
                options.OperationTimeout <- TimeSpan.FromSeconds 1L)

        let hear (id: string | null) = heard.Enqueue(id |> Option.ofObj |> Option.defaultValue Live.everySession)
        let! subscription = (store :> ISessionSignals).Subscribe(Action<string | null> hear, none)
        do! body table relay heard (fun () -> List.ofSeq before)
        do! subscription.DisposeAsync()
    }

/// The connection on which it hears of this table, as by the server's operator.
let private cutListener (table: string) =
    shared.Force().Execute
        $"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'hears-{table}'"

/// By another node.
let private publish table (id: string) =
    task {
        use other = openPostgresAt (shared.Force().Address) table ignore
        do! (other :> ISessionSignals).Publish([| id |], none)
    }

let private notices =
    [ testCaseTask "that all are to be looked at is said once it hears, and not before, also after a cut" (fun () ->
          withListener (fun table _ heard before ->
              task {
                  Expect.equal (before ()) [ 0 ] "nothing is said before it listens"
                  Expect.equal (List.ofSeq heard) [ Live.everySession ] "and then what came before is asked for"
                  heard.Clear()

                  cutListener table
                  do! eventually "that some may be missed" (fun () -> not heard.IsEmpty)
                  Expect.equal (before ()) [ 0; 0 ] "nothing is said before it listens again"
                  do! publish table "a"
                  do! eventually "a notice" (fun () -> Seq.contains "a" heard)
              }))

      testCaseTask "what is said at one place is heard at no other, whose table or schema is another one" (fun () ->
          task {
              let server, table, schema = shared.Force(), newTable (), newTable ()
              server.Execute $"CREATE SCHEMA \"{schema}\""
              use here = openPostgresAt server.Address table ignore
              use sameTable = openPostgresAt server.Address table (fun options -> options.Schema <- schema)
              use sameSchema = openPostgresAt server.Address (newTable ()) ignore
              let! heardHere, first = Live.listen here
              let! heardOfTable, second = Live.listen sameTable
              let! heardOfSchema, third = Live.listen sameSchema

              let places =
                  [ "here", here, heardHere
                    "same-table", sameTable, heardOfTable
                    "same-schema", sameSchema, heardOfSchema ]

              // In the order in which it was said: what is heard of the second round is behind all of the first.
              for round in [ "first"; "second" ] do
                  for name, store, _ in places do
                      do! (store :> ISessionSignals).Publish([| $"{name}-{round}" |], none)

              for name, _, heard in places do
                  do! eventually name (fun () -> Seq.contains $"{name}-second" heard)
                  let ids = heard |> Seq.filter ((<>) Live.everySession) |> List.ofSeq
                  Expect.equal ids [ $"{name}-first"; $"{name}-second" ] "its own, and nothing else"

              for subscription in [ first; second; third ] do
                  do! subscription.DisposeAsync()
          })

      testCaseTask "who stops to listen before a connection that was cut is made anew is told of no failure" (fun () ->
          withListener (fun table _ _ _ ->
              task {
                  cutListener table
                  // There is a second before the next one.
                  do! Task.Delay 300
              }))

      testCaseTask "who stops to listen once all is closed is told of no failure, cut off before or not" (fun () ->
          task {
              let server = shared.Force()

              for isApplications in [ true; false ] do
                  for isCut in [ true; false ] do
                      let table = newTable ()
                      let address = $"{server.Address};Application Name=shut-{table}"
                      use source = NpgsqlDataSource.Create address

                      use store =
                          if isApplications then
                              new PostgresStore(PostgresStoreOptions(DataSource = source, Table = table))
                          else
                              openPostgresAt address table ignore

                      let! _, subscription = Live.listen store

                      if isApplications then (source :> IDisposable).Dispose() else (store :> IDisposable).Dispose()

                      if isCut then
                          server.Execute
                              $"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'shut-{table}'"

                          // After a second it looks for another connection, and there is none any more.
                          do! Task.Delay 3000

                      do! subscription.DisposeAsync().AsTask().WaitAsync(TimeSpan.FromSeconds 10L)
          })

      testCaseTask "the connection that has listened hears nothing any more once the application has it" (fun () ->
          task {
              let address = shared.Force().Address + ";Maximum Pool Size=1;No Reset On Close=true"
              use source = NpgsqlDataSource.Create address
              use store = new PostgresStore(PostgresStoreOptions(DataSource = source, Table = newTable ()))
              let! _, subscription = Live.listen store
              do! subscription.DisposeAsync()
              use command = source.CreateCommand "SELECT count(*) FROM pg_listening_channels()"
              let! count = command.ExecuteScalarAsync()
              Expect.equal count (box 0L) "it listens to nothing"
          })

      testCaseTask "a listening connection that was cut without a word is found out by asking, and made anew" (fun () ->
          withListener (fun table relay heard _ ->
              task {
                  do! publish table "before"
                  do! eventually "a notice" (fun () -> Seq.contains "before" heard)
                  heard.Clear()
                  relay.Mute()
                  let clock = Stopwatch.StartNew()

                  // It asks after fifteen seconds of silence; the rest is for what has no answer, and for the machine.
                  while heard.IsEmpty && clock.Elapsed < TimeSpan.FromSeconds 40L do
                      do! Task.Delay 100

                  Expect.equal (List.ofSeq heard) [ Live.everySession ] "that some may be missed"
                  do! publish table "after"
                  do! eventually "a notice" (fun () -> Seq.contains "after" heard)
              })) ]

/// Of each kind: a statement that the connection knows already, and one that has to be prepared there first.
let private hanging =
    [ for what, isKnown in [ "known to it", true; "not known to it", false ] do
          testCaseTask
              $"a connection that answers nothing any more: a statement that is {what} fails in the time of a statement"
              (fun () ->
                  task {
                      let server = shared.Force()
                      use relay = new Muting(server.Port, ignore)
                      let address = server.Address.Replace($"Port={server.Port}", $"Port={relay.Port}")
                      let short (options: PostgresStoreOptions) = options.OperationTimeout <- TimeSpan.FromSeconds 1L

                      do!
                          withStore address (newTable ()) short (fun store ->
                              task {
                                  let! _ = store.Load("a", none)

                                  let read () =
                                      if isKnown then
                                          store.Load("a", none).AsTask() :> Task
                                      else
                                          store.Count(none).AsTask() :> Task

                                  relay.Mute()
                                  let clock = Stopwatch.StartNew()

                                  let! isTold =
                                      task {
                                          try
                                              do! read ()
                                              return false
                                          with
                                          | :? NpgsqlException
                                          | :? TimeoutException -> return true
                                      }

                                  Expect.isTrue isTold "nobody answers"
                                  // The driver's own limit for what it sends by itself would be half a minute.
                                  Expect.isLessThan clock.Elapsed (TimeSpan.FromSeconds 10L) "in time"
                              })
                  })

      testCaseTask "what was cancelled before it was sent is not sent, reads and notices as well" (fun () ->
          onShared ignore Engines.cancelledReadsAreNotSent) ]

// -- pgbouncer

let private bouncer = lazy (RedisServer.untilExit (new PgBouncer(shared.Force())))
let private pooled = Contract.postgresPooled (fun () -> bouncer.Force().Address)

let private behindPooler =
    [ Contract.tests pooled

      testCaseTask "behind pgbouncer nothing is prepared, without it everything is" (fun () ->
          task {
              let prepared (address: string) =
                  task {
                      // One connection, which the store gives back: what it has prepared is still there.
                      use source = NpgsqlDataSource.Create(address + ";Maximum Pool Size=1")
                      let options = PostgresStoreOptions(DataSource = source, Table = newTable ())
                      use store = new PostgresStore(options)

                      for i in 1..5 do
                          let! _ = (store :> ISessionStore).Load($"x{i}", none)
                          ()

                      use command = source.CreateCommand "SELECT count(*) FROM pg_prepared_statements"
                      return Convert.ToInt64(command.ExecuteScalar(): objnull)
                  }

              let! direct = prepared (shared.Force().Address)
              Expect.isGreaterThan direct 0L "prepared"
              let! through = prepared (bouncer.Force().Address)
              Expect.equal through 0L "not prepared"
          }) ]

let all =
    testList
        "Postgres"
        [ testList "costs" costs
          testList "answers" answers
          testList "notices" notices
          testList "hanging" hanging
          testList "pooler" behindPooler ]
