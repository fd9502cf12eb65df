/// The PostgreSQL store on real servers: what it says at start, whom it trusts, and what it makes of time-outs and poolers.
module Integration.Postgres

open System
open System.IO
open System.Security.Cryptography
open System.Security.Cryptography.X509Certificates
open System.Threading
open System.Threading.Tasks
open Expecto
open Microsoft.Extensions.DependencyInjection
open Npgsql
open Integration.PostgresServer
open Integration.World
open Session.Engine
open Session.Stores.Postgres

let private none = CancellationToken.None
let private at = DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero)

let private record id version (subject: string | null) isDurable =
    let body = ReadOnlyMemory [| 1uy; 2uy; 3uy |]
    StoredRecord(id, version, RecordKind.Live, at, at.AddHours 1, subject, Random.Shared.NextInt64(), body, isDurable)

let private withStore address table configure (body: ISessionStore -> Task<unit>) =
    task {
        use store = openPostgresAt address table configure
        do! body store
    }

let private onShared configure body = withStore (shared.Force().Address) (newTable ()) configure body

/// The sentence with which a start is refused.
let private refusal (address: string) table configure =
    task {
        use store = openPostgresAt address table configure

        try
            let! _ = (store :> ISessionStore).Prepare none
            return ""
        with :? InvalidOperationException as refusal ->
            return refusal.Message
    }

let private notes (address: string) table =
    task {
        use store = openPostgresAt address table ignore
        let! report = (store :> ISessionStore).Prepare none
        return String.Join("\n", report.Notes)
    }

let private starts =
    [ testCaseTask "twenty nodes that start together make one table, and all of them work" (fun () ->
          task {
              let address, table = shared.Force().Address, newTable ()

              let start n =
                  Task.Run<unit>(fun () ->
                      withStore address table ignore (fun store ->
                          task {
                              let! _ = store.Prepare none
                              let! written = store.Insert(record $"n{n}" 1L "ada" true, none)
                              Expect.equal written WriteResult.Written "written"
                          }))

              let! _ = Task.WhenAll [ for n in 1..20 -> start n ]

              do!
                  withStore address table ignore (fun store ->
                      task {
                          let! page = store.BySubject("ada", null, 100, none)
                          Expect.equal page.Records.Count 20 "all in one table"
                      })
          })

      testCaseTask "a role that may not create is told to run the script; with it, the store works" (fun () ->
          task {
              use server = startOne []
              server.Execute "CREATE ROLE app LOGIN"
              server.Execute "CREATE SCHEMA shop"
              server.Execute "GRANT USAGE ON SCHEMA shop TO app"
              let named (o: PostgresStoreOptions) = o.Schema <- "shop"
              let! sentence = refusal (server.AddressOf "app") "carts" named
              Expect.stringContains sentence "\"shop\".\"carts\"" "what is missing"
              Expect.stringContains sentence "Session.Postgres.sql" "what to run"
              Expect.stringContains sentence "'app'" "and who may not"

              use stream = nonNull (typeof<PostgresStore>.Assembly.GetManifestResourceStream "Session.Postgres.sql")
              use reader = new StreamReader(stream)
              let script = reader.ReadToEnd().Replace("\"public\"", "\"shop\"").Replace("\"sessions", "\"carts")
              server.Execute script
              let! sentence = refusal (server.AddressOf "app") "carts" named
              Expect.stringContains sentence "GRANT SELECT, UPDATE ON \"shop\".\"carts_locks\"" "the grants are named"

              // Those that the script names.
              for line in script.Split '\n' do
                  if line.StartsWith "--   GRANT" then
                      server.Execute(line.Substring(5).Replace("the_role_of_the_application", "app"))

              do!
                  withStore (server.AddressOf "app") "carts" named (fun store ->
                      task {
                          let! report = store.Prepare none
                          Expect.isEmpty report.Notes "nothing to say"
                          let! written = store.Insert(record "a" 1L "ada" true, none)
                          Expect.equal written WriteResult.Written "a sign-in"
                          let! replaced = store.Replace(record "a" 2L "ada" true, 1L, none)
                          Expect.equal replaced WriteResult.Written "a change"
                          let! claimed = store.ClaimOverdue(at.AddDays 1, TimeSpan.FromMinutes 1L, 10, none)
                          Expect.equal claimed.Count 1 "a claim"
                          do! store.Remove("a", none)
                      })
          })

      testCaseTask "CreateTables = false creates nothing, and says so" (fun () ->
          task {
              let table = newTable ()
              let! sentence = refusal (shared.Force().Address) table (fun o -> o.CreateTables <- false)
              Expect.stringContains sentence "CreateTables is false" "why"
              let found = shared.Force().Scalar $"SELECT count(*) FROM pg_class WHERE relname LIKE '{table}%%'"
              Expect.equal found (box 0L) "nothing was made"
          })

      testCaseTask
          "what is there already and is not this library's, is of a newer version, or is UNLOGGED, is refused"
          (fun () ->
              task {
                  let server = shared.Force()
                  let table = newTable ()
                  server.Execute $"CREATE TABLE \"{table}\" (text text)"
                  let! theirs = refusal server.Address table ignore
                  Expect.stringContains theirs "belongs to something else" "another program's"

                  let table = newTable ()
                  let! _ = notes server.Address table
                  server.Execute $"COMMENT ON TABLE \"{table}\" IS 'Session.Stores.Postgres 2'"
                  let! newer = refusal server.Address table ignore
                  Expect.stringContains newer "newer version" "a newer version's"
                  server.Execute $"COMMENT ON TABLE \"{table}\" IS 'Session.Stores.Postgres 1'"
                  server.Execute $"ALTER TABLE \"{table}\" SET UNLOGGED"
                  let! unlogged = refusal server.Address table ignore
                  Expect.stringContains unlogged "UNLOGGED" "one that a crash empties"
                  server.Execute $"ALTER TABLE \"{table}\" SET LOGGED"
                  server.Execute $"DELETE FROM \"{table}_locks\" WHERE stripe = 7"
                  let! torn = refusal server.Address table ignore
                  Expect.stringContains torn "not whole" "one without a lock"
              })

      testCaseTask "a schema that is not there is named" (fun () ->
          task {
              let! sentence = refusal (shared.Force().Address) "sessions" (fun o -> o.Schema <- "nowhere")
              Expect.stringContains sentence "no schema \"nowhere\"" "named"
          })

      testCaseTask "a server that is not there is a note; when it is, the store makes its table and works" (fun () ->
          task {
              use server = new PostgresServer([])
              server.Create()

              do!
                  withStore server.Address "sessions" ignore (fun store ->
                      task {
                          let! report = store.Prepare none
                          Expect.stringContains report.Notes[0] "does not answer" "a note"
                          server.Start()
                          let! written = store.Insert(record "a" 1L null false, none)
                          Expect.equal written WriteResult.Written "it works"
                      })
          })

      testCaseTask "fsync off is told" (fun () ->
          task {
              use server = startOne [ "fsync", "off" ]
              let! said = notes server.Address "sessions"
              Expect.stringContains said "fsync" "a note"
          })

      testCaseTask "wrong settings stop the program with what to change" (fun () ->
          task {
              let refused (word: string) configure =
                  let options = PostgresStoreOptions(ConnectionString = "Host=localhost")
                  configure options

                  try
                      (new PostgresStore(options) :> IDisposable).Dispose()
                      failtestf "taken: %s" word
                  with :? ArgumentException as error ->
                      Expect.stringContains error.Message word "named"
                      Expect.isFalse (error.Message.Contains "geheim") "and no password"

              refused "Schema" (fun o -> o.Schema <- "a\"b")
              refused "Table" (fun o -> o.Table <- "")
              refused "Table" (fun o -> o.Table <- String('a', 41))
              refused "Durability" (fun o -> o.Durability <- enum 7)
              refused "OperationTimeout" (fun o -> o.OperationTimeout <- TimeSpan.Zero)
              refused "connection string" (fun o -> o.ConnectionString <- "")
              refused "ConnectionString" (fun o -> o.ConnectionString <- "Hots=localhost;Password=geheim")
          })

      testCaseTask "the registered NpgsqlDataSource is used, and its absence is named" (fun () ->
          task {
              let services = ServiceCollection()
              SessionBuilder(services, typeof<string>).UsePostgres() |> ignore
              use provider = services.BuildServiceProvider()

              Expect.throwsC
                  (fun () -> provider.GetRequiredKeyedService<ISessionStore>(typeof<string>) |> ignore)
                  (fun error -> Expect.stringContains error.Message "NpgsqlDataSource" "named")

              let table = newTable ()
              use source = NpgsqlDataSource.Create(shared.Force().Address)
              let services = ServiceCollection()
              services.AddSingleton source |> ignore
              SessionBuilder(services, typeof<string>).UsePostgres(fun o -> o.Table <- table) |> ignore
              SessionBuilder(services, typeof<int>).UsePostgres source |> ignore
              SessionBuilder(services, typeof<bool>).UsePostgres "Host=localhost" |> ignore
              use provider = services.BuildServiceProvider()
              let store = provider.GetRequiredKeyedService<ISessionStore> typeof<string>
              let! written = store.Insert(record "a" 1L null false, none)
              Expect.equal written WriteResult.Written "it works"

              Expect.isTrue
                  (provider.GetRequiredKeyedService<ISessionStore> typeof<int> :? PostgresStore)
                  "a data source"

              Expect.isTrue (provider.GetRequiredKeyedService<ISessionStore> typeof<bool> :? PostgresStore) "a string"
          }) ]

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
                          with :? PostgresException as error ->
                              code <- error.SqlState

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

      testCaseTask "a deadlock and a serialization failure are tried again" (fun () ->
          task {
              let server, table = shared.Force(), newTable ()
              // Every transaction is SERIALIZABLE here: the server refuses some of those that meet.
              let address = server.Address + ";Options=-c default_transaction_isolation=serializable"

              do!
                  withStore address table ignore (fun store ->
                      task {
                          let! _ = store.Insert(record "a" 1L "ada" true, none)

                          let touch n =
                              Task.Run<unit>(fun () ->
                                  task {
                                      for i in 1..50 do
                                          do! store.Touch("a", at.AddTicks(int64 (n * 100 + i)), none)
                                  })

                          let! _ = Task.WhenAll [ for n in 1..8 -> touch n ]
                          let! found = store.Load("a", none)
                          Expect.equal (nonNull found).LastSeen (at.AddTicks 850L) "the latest"
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
                          server.Execute "ALTER SYSTEM SET synchronous_standby_names = 'nobody'"
                          server.Execute "SELECT pg_reload_conf()"
                          do! Task.Delay 300
                          let! routine = store.Replace(record "a" 2L null false, 1L, none)
                          Expect.equal routine WriteResult.Written "a cart does not wait"
                          let! lasting = store.Replace(record "a" 3L null true, 2L, none)
                          Expect.notEqual lasting WriteResult.Written "a logout is not acknowledged"

                          // An administrator ends the wait: the server calls that a success, and warns.
                          let writing = store.Insert(record "b" 1L "ada" true, none).AsTask()
                          let mutable cancelled = 0L

                          while cancelled = 0L && not writing.IsCompleted do
                              let waits =
                                  "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"

                              cancelled <- server.Number waits

                          let! result = writing
                          Expect.equal cancelled 1L "it was waiting"
                          Expect.equal result WriteResult.Unacknowledged "written, and not acknowledged"
                      })
          })

      testCaseTask "how a write commits: what must last synchronously, the rest as the settings say" (fun () ->
          task {
              let server, table = shared.Force(), newTable ()
              do! withStore server.Address table ignore (fun store -> task { do! store.Touch("x", at, none) })
              // Each write notes how it is about to commit.
              server.Execute $"CREATE TABLE seen_{table} (id text, how text)"

              server.Execute
                  $"CREATE FUNCTION note_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO seen_{table} VALUES (NEW.id, current_setting('synchronous_commit')); RETURN NULL; END $$"

              server.Execute
                  $"CREATE CONSTRAINT TRIGGER note AFTER INSERT OR UPDATE ON \"{table}\" DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note_{table}()"

              let write id isDurable address configure =
                  withStore address table configure (fun store ->
                      task {
                          let! _ = store.Insert(record id 1L "ada" isDurable, none)
                          let! _ = store.Replace(record id 2L "ada" isDurable, 1L, none)
                          ()
                      })

              let off = server.Address + ";Options=-c synchronous_commit=off"
              let apply = server.Address + ";Options=-c synchronous_commit=remote_apply"
              do! write "lasting" true off ignore
              do! write "kept-higher" true apply ignore
              do! write "applied" true off (fun o -> o.Durability <- PostgresDurability.Applied)
              do! write "routine" false server.Address ignore
              do! write "flushed" false server.Address (fun o -> o.FlushRoutineWrites <- true)

              let how id = string (server.Scalar $"SELECT string_agg(how, ' ') FROM seen_{table} WHERE id = '{id}'")

              Expect.equal (how "lasting") "on on" "also where the role's default is off"
              Expect.equal (how "kept-higher") "remote_apply remote_apply" "never less than the server's own"
              Expect.equal (how "applied") "remote_apply remote_apply" "Applied"
              Expect.equal (how "routine") "off off" "routine"
              Expect.equal (how "flushed") "on on" "FlushRoutineWrites"
          }) ]

// -- TLS

let private certificates (folder: string) (name: string) =
    use authorityKey = RSA.Create 2048

    let authority =
        CertificateRequest($"CN={name}", authorityKey, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1)

    authority.CertificateExtensions.Add(X509BasicConstraintsExtension(true, false, 0, true))
    use issuer = authority.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays -1.0, DateTimeOffset.UtcNow.AddDays 1.0)
    use key = RSA.Create 2048
    let request = CertificateRequest("CN=localhost", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1)
    let names = SubjectAlternativeNameBuilder()
    names.AddDnsName "localhost"
    request.CertificateExtensions.Add(names.Build())

    use issued =
        request.Create(issuer, DateTimeOffset.UtcNow, DateTimeOffset.UtcNow.AddHours 12.0, [| 1uy; 2uy; 3uy |])

    let write (file: string) (text: string) =
        let path = Path.Combine(folder, name + file)
        File.WriteAllText(path, text)
        path

    write ".crt" (issued.ExportCertificatePem()),
    write ".key" (key.ExportPkcs8PrivateKeyPem()),
    write ".ca" (issuer.ExportCertificatePem())

let private tls =
    testCaseTask
        "TLS under an own CA: the right one is trusted, another one stops the start, a wrong name does too"
        (fun () ->
            task {
                let folder = temporaryFolder ()

                try
                    use server =
                        new PostgresServer(
                            [ "ssl", "on"; "ssl_cert_file", "server.crt"; "ssl_key_file", "server.key" ]
                        )

                    server.Create()
                    let certificate, key, own = certificates folder "own"
                    let _, _, other = certificates folder "other"

                    for file, name in [ certificate, "server.crt"; key, "server.key" ] do
                        let target = Path.Combine(server.Folder, "data", name)
                        File.Copy(file, target)
                        giveToServer target

                    server.Start()
                    // Nothing without encryption.
                    File.WriteAllText(
                        Path.Combine(server.Folder, "data", "pg_hba.conf"),
                        "hostssl all all 127.0.0.1/32 trust\n"
                    )

                    server.Execute "SELECT pg_reload_conf()"
                    do! Task.Delay 300

                    let address host (authority: string) =
                        $"Host={host};Port={server.Port};Username=postgres;Database=postgres;SSL Mode=VerifyFull;Root Certificate={authority}"

                    do!
                        withStore (address "localhost" own) "sessions" ignore (fun store ->
                            task {
                                let! _ = store.Prepare none
                                let! written = store.Insert(record "a" 1L "ada" true, none)
                                Expect.equal written WriteResult.Written "encrypted"
                            })

                    let stops host authority =
                        task {
                            use store = openPostgresAt (address host authority) "sessions" ignore
                            let mutable isStopped = false

                            try
                                let! _ = (store :> ISessionStore).Prepare none
                                ()
                            with :? NpgsqlException ->
                                isStopped <- true

                            return isStopped
                        }

                    let! foreign = stops "localhost" other
                    Expect.isTrue foreign "another authority"
                    let! misnamed = stops "127.0.0.1" own
                    Expect.isTrue misnamed "a name that is not in the certificate"
                finally
                    Directory.Delete(folder, true)
            })

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
        [ testList "start" starts
          testList "answers" answers
          tls
          testList "pooler" behindPooler ]
