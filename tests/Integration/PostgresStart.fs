/// The PostgreSQL store at start: the tables, the rights, the settings, and whom it trusts.
module Integration.PostgresStart

open System
open System.Diagnostics
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
open Integration.PostgresRecords
open Session.Engine
open Session.Stores.Postgres

let private none = CancellationToken.None

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

      testCaseTask "the same place is known for the same, however its hosts are named" (fun () ->
          task {
              let server, table = shared.Force(), newTable ()

              let placeOf (hosts: string) =
                  task {
                      let address = server.Address.Replace($"Host=127.0.0.1;Port={server.Port}", $"Host={hosts}")
                      use store = openPostgresAt address table ignore
                      let! report = (store :> ISessionStore).Prepare none
                      return report.Location
                  }

              let one, other = $"127.0.0.1:{server.Port}", $"localhost:{server.Port}"
              let! place = placeOf $"{one},{other}"

              for hosts in
                  [ $"{other},{one}"
                    $"{one}, {other.ToUpperInvariant()}"
                    $"127.0.0.1,localhost;Port={server.Port}"
                    $"LocalHost,127.0.0.1;Port={server.Port}"
                    one
                    other ] do
                  let! again = placeOf hosts
                  Expect.equal again place hosts

              // Who is away cannot say which place it is.
              let dead = RedisServer.freePort ()

              let awayAt (hosts: string) =
                  task {
                      use store = openPostgresAt $"Host={hosts};Username=postgres;Database=postgres" table ignore
                      let! report = (store :> ISessionStore).Prepare none
                      return report.Location
                  }

              let! away = awayAt $"127.0.0.1:{dead},localhost:{dead}"

              for hosts in [ $"localhost:{dead},127.0.0.1:{dead}"; $"LOCALHOST,127.0.0.1;Port={dead}" ] do
                  let! again = awayAt hosts
                  Expect.equal again away hosts

              // A database that is not named is the one of the user's name.
              use unnamed = openPostgresAt (server.Address.Replace(";Database=postgres", "")) table ignore
              let! report = (unnamed :> ISessionStore).Prepare none
              Expect.equal report.Location place "the database of the user's name"

              use elsewhere = openPostgresAt server.Address (newTable ()) ignore
              let! report = (elsewhere :> ISessionStore).Prepare none
              Expect.notEqual report.Location place "and another one is another place"
          })

      testCaseTask "a database that was copied from another one, its tables with it, is another place" (fun () ->
          task {
              let server, name = shared.Force(), newTable ()

              let placeIn (database: string) =
                  task {
                      let address = server.Address.Replace("Database=postgres", $"Database={database}")
                      use store = openPostgresAt address "sessions" ignore
                      let! report = (store :> ISessionStore).Prepare none
                      return report.Location
                  }

              server.Execute $"CREATE DATABASE {name}"
              let! first = placeIn name
              server.Execute $"CREATE DATABASE {name}_copy TEMPLATE {name}"
              let! copy = placeIn $"{name}_copy"
              Expect.notEqual copy first "each has sessions of its own"
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
                  server.Execute $"DROP TABLE \"{table}_locks\""
                  let! alone = refusal server.Address table ignore
                  Expect.stringContains alone "not whole" "one without any"
              })

      testCaseTask "half of the tables: a start is refused with what to remove, and works then" (fun () ->
          task {
              let server, table = shared.Force(), newTable ()
              let! _ = notes server.Address table
              server.Execute $"DROP TABLE \"{table}\""
              let! sentence = refusal server.Address table ignore
              Expect.stringContains sentence $"\"{table}\" is not in database" "what is missing"
              Expect.stringContains sentence $"DROP TABLE \"public\".\"{table}_locks\"" "and what to do"
              server.Execute $"DROP TABLE \"public\".\"{table}_locks\""
              let! _ = notes server.Address table

              do!
                  withStore server.Address table ignore (fun store ->
                      task {
                          let! written = store.Insert(record "a" 1L "ada" true, none)
                          Expect.equal written WriteResult.Written "it works"
                      })
          })

      testCaseTask "a role that may only read is told so, with the tables and without them" (fun () ->
          task {
              use server = startOne []
              server.Execute "CREATE ROLE reader LOGIN SUPERUSER"
              server.Execute "ALTER ROLE reader SET default_transaction_read_only = on"
              let! sentence = refusal (server.AddressOf "reader") "sessions" ignore
              Expect.stringContains sentence "takes no writes" "nothing can be made"
              let! _ = notes server.Address "sessions"
              let! said = notes (server.AddressOf "reader") "sessions"
              Expect.stringContains said "default_transaction_read_only = off" "nothing can be written"
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

      testCaseTask "a server that has no connection left is a note; once it has one, the store works" (fun () ->
          task {
              let server, table = shared.Force(), newTable ()
              let role = $"busy_{table}"
              server.Execute $"CREATE ROLE {role} LOGIN CONNECTION LIMIT 0"
              server.Execute $"GRANT CREATE ON SCHEMA public TO {role}"

              do!
                  withStore (server.AddressOf role) table ignore (fun store ->
                      task {
                          let! report = store.Prepare none
                          Expect.stringContains report.Notes[0] "does not answer" "a note"
                          server.Execute $"ALTER ROLE {role} CONNECTION LIMIT 10"
                          let! written = store.Insert(record "a" 1L null false, none)
                          Expect.equal written WriteResult.Written "it works"
                      })
          })

      testCaseTask "of several hosts none is the primary: a note; once one of them is, the store works" (fun () ->
          task {
              use first = new PostgresServer([ "wal_level", "replica" ])
              first.Create()
              first.Start()
              use second = new PostgresServer([])
              second.CopyOf(first, "partner")
              second.Start()
              first.Kill()

              let address = $"Host=127.0.0.1:{first.Port},127.0.0.1:{second.Port};Username=postgres;Database=postgres"

              // Twice: the driver does not say again what it has just found out.
              let isNoted (store: ISessionStore) what =
                  task {
                      for _ in 1..2 do
                          let! report = store.Prepare none
                          Expect.stringContains (String.Join("\n", report.Notes)) "does not answer" what
                  }

              do!
                  withStore address "sessions" ignore (fun store ->
                      isNoted store "one is away, and the other one a standby")

              second.Kill()

              do!
                  withStore address "sessions" ignore (fun store ->
                      task {
                          do! isNoted store "both are away"
                          // It is alone, and has to acknowledge without a standby.
                          let settings = Path.Combine(second.Folder, "data", "postgresql.conf")
                          File.AppendAllText(settings, "synchronous_standby_names = ''\n")
                          second.Start()
                          second.Promote()

                          // Another session each time: what became of one whose answer did not come is not asked.
                          let isWritten () =
                              try
                                  let writing = store.Insert(record (Guid.NewGuid().ToString "N") 1L "ada" true, none)
                                  writing.AsTask().GetAwaiter().GetResult() = WriteResult.Written
                              with _ ->
                                  false

                          do! eventually "the new primary" isWritten
                          let! report = store.Prepare none
                          Expect.isEmpty report.Notes "nothing to say any more"
                      })
          })

      testCaseTask "what one of several hosts refuses stops the start, with what that one said" (fun () ->
          task {
              use server = startOne []
              server.Execute "CREATE ROLE app LOGIN PASSWORD 'right'"

              File.WriteAllText(
                  Path.Combine(server.Folder, "data", "pg_hba.conf"),
                  "host all app 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n"
              )

              server.Execute "SELECT pg_reload_conf()"
              do! Task.Delay 300

              let startOf (address: string) =
                  task {
                      use store = openPostgresAt address "sessions" ignore

                      try
                          let! report = (store :> ISessionStore).Prepare none
                          return String.Join("\n", report.Notes)
                      with :? NpgsqlException as refusal ->
                          return refusal.Message
                  }

              let there, away = $"127.0.0.1:{server.Port}", $"127.0.0.1:{RedisServer.freePort ()}"

              for settings, said in
                  [ "Username=app;Password=wrong;Database=postgres", "28P01"
                    "Username=postgres;Database=nowhere", "3D000"
                    "Username=postgres;Database=postgres;SSL Mode=Require", "No SSL enabled connection" ] do
                  for hosts in [ $"{there},{away}"; $"{away},{there}" ] do
                      let! words = startOf $"Host={hosts};{settings}"
                      Expect.stringContains words said $"{hosts};{settings}"
          })

      testCaseTask
          "a server that takes connections and says nothing: who waits for it fails in time, and nothing of theirs is stored when it answers again"
          (fun () ->
              task {
                  let server = shared.Force()

                  // To the driver zero is for ever.
                  for limit in [ ""; ";Timeout=0" ] do
                      let table = newTable ()
                      let! _ = notes server.Address table
                      use silent = new SilentHost(server.Port)
                      let address = server.Address.Replace($"Port={server.Port}", $"Port={silent.Port}") + limit

                      do!
                          withStore
                              address
                              table
                              (fun o -> o.OperationTimeout <- TimeSpan.FromSeconds 1L)
                              (fun store ->
                                  task {
                                      let insert n =
                                          task {
                                              try
                                                  let! result = store.Insert(record $"ghost{n}" 1L "ada" true, none)
                                                  return Some result
                                              with :? StoreRefusedException ->
                                                  return None
                                          }

                                      let clock = Stopwatch.StartNew()
                                      let all = Task.WhenAll [ for n in 1..100 -> insert n ]
                                      let! answers = all.WaitAsync(TimeSpan.FromSeconds 20L)
                                      Expect.isLessThan clock.Elapsed (TimeSpan.FromSeconds 4L) "all of them in time"
                                      Expect.all answers Option.isNone "not one was sent"
                                      let! report = store.Prepare none
                                      Expect.stringContains report.Notes[0] "does not answer" "a note"

                                      silent.Open()
                                      do! Task.Delay 2000
                                      let stored () = server.Number $"SELECT count(*) FROM \"{table}\""
                                      Expect.equal (stored ()) 0L "nothing comes late"
                                      let! written = store.Insert(record "a" 1L "ada" true, none)
                                      Expect.equal written WriteResult.Written "and the store works"
                                      Expect.equal (stored ()) 1L "with what was sent now"
                                  })
              })

      testCaseTask
          "a store that is disposed of keeps no connection and opens none, of one host or of several"
          (fun () ->
              task {
                  let server = shared.Force()
                  let alone = $"127.0.0.1:{server.Port}"

                  for hosts in [ alone; $"{alone},127.0.0.1:{RedisServer.freePort ()}" ] do
                      let table = newTable ()

                      let opened =
                          openPostgresAt
                              $"Host={hosts};Username=postgres;Database=postgres;Application Name=gone-{table}"
                              table
                              ignore

                      let store = opened :> ISessionStore
                      let! _ = store.Load("a", none)
                      (opened :> IDisposable).Dispose()

                      let! isOver =
                          task {
                              try
                                  let! _ = store.Load("a", none)
                                  return false
                              with :? ObjectDisposedException ->
                                  return true
                          }

                      Expect.isTrue isOver $"{hosts}: nothing is asked any more"

                      let kept = $"SELECT count(*) FROM pg_stat_activity WHERE application_name = 'gone-{table}'"

                      do! eventually $"{hosts}: no connection" (fun () -> server.Number kept = 0L)
              })

      testCaseTask "a clock that is not that of the server's is told, ahead and behind" (fun () ->
          task {
              let server = shared.Force()

              for name, by, said in
                  [ "slow", "- interval '1 hour'", "01:00:0"
                    "fast", "+ interval '26 hours'", "1 days 0" ] do
                  server.Execute $"CREATE SCHEMA {name}"

                  // Found before the server's own function.
                  server.Execute
                      $"CREATE FUNCTION {name}.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $body$SELECT pg_catalog.clock_timestamp() {by}$body$"

                  let! told = notes $"{server.Address};Search Path={name},pg_catalog,public" (newTable ())
                  Expect.stringContains told said "by how much"
                  let how = if name = "slow" then "ahead of that of PostgreSQL" else "behind that of PostgreSQL"
                  Expect.stringContains told how "and which way"
                  server.Execute $"DROP SCHEMA {name} CASCADE"

              let! told = notes server.Address (newTable ())
              Expect.isFalse (told.Contains "clock") "they agree"
          })

      testCaseTask "fsync off is told" (fun () ->
          task {
              for setting in [ "fsync"; "full_page_writes" ] do
                  use server = startOne [ setting, "off" ]
                  let! said = notes server.Address "sessions"
                  Expect.stringContains said "fsync or full_page_writes off" setting
          })

      testCaseTask "standbys none of which is waited for are told, and a standby that is named itself" (fun () ->
          task {
              use primary = startOne [ "wal_level", "replica" ]
              let! alone = notes primary.Address "sessions"
              Expect.equal alone "" "it is alone"
              use standby = new PostgresServer([])
              standby.CopyOf(primary, "partner")
              standby.Start()
              // Asked of the standby: the primary may still have the connection that it was copied by.
              let followed = "SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'"
              do! eventually "a standby" (fun () -> standby.Number followed = 1L)
              let! apart = notes primary.Address "sessions"
              Expect.stringContains apart "none of them is synchronous" "nobody waits for it"
              let! named = notes standby.Address "sessions"
              Expect.stringContains named "PostgreSQL is a standby" "it takes no sign-in"
              primary.Execute "ALTER SYSTEM SET synchronous_standby_names = 'partner'"
              primary.Execute "SELECT pg_reload_conf()"
              let setting () = string (primary.Scalar "SHOW synchronous_standby_names")
              do! eventually "the setting" (fun () -> setting () = "partner")
              let! safe = notes primary.Address "sessions"
              Expect.equal safe "" "it is waited for"
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
              let tick, longest = TimeSpan.FromTicks 1L, TimeSpan.FromMinutes 10L
              refused "OperationTimeout" (fun o -> o.OperationTimeout <- longest + tick)
              refused "Schema" (fun o -> o.Schema <- String('a', 64))

              for last in
                  [ fun (o: PostgresStoreOptions) -> o.Table <- String('a', 40)
                    fun o -> o.Schema <- String('a', 63)
                    fun o -> o.OperationTimeout <- longest
                    fun o -> o.OperationTimeout <- tick ] do
                  let options = PostgresStoreOptions(ConnectionString = "Host=localhost")
                  last options
                  (new PostgresStore(options) :> IDisposable).Dispose()

              refused "connection string" (fun o -> o.ConnectionString <- "")
              refused "ConnectionString" (fun o -> o.ConnectionString <- "Hots=localhost;Password=geheim")
          })

      testCaseTask
          "connections that several statements share are none for sessions: not in a connection string, and a data source is refused"
          (fun () ->
              task {
                  let address = shared.Force().Address + ";Multiplexing=true"

                  // Of each kind of use: prepared, not prepared, as the store finds out.
                  for prepares in [ Nullable(); Nullable true; Nullable false ] do
                      do!
                          withStore address (newTable ()) (fun o -> o.PrepareStatements <- prepares) (fun store ->
                              task {
                                  let! _ = store.Prepare none
                                  let! written = store.Insert(record "a" 1L "ada" true, none)
                                  Expect.equal written WriteResult.Written "a sign-in"
                                  let! found = store.Load("a", none)
                                  Expect.isNotNull found "it is there"
                                  let! listening = (store :?> ISessionSignals).Subscribe(ignore, none)
                                  do! listening.DisposeAsync()
                              })

                  use source = NpgsqlDataSource.Create address

                  Expect.throwsC
                      (fun () ->
                          (new PostgresStore(PostgresStoreOptions(DataSource = source)) :> IDisposable).Dispose())
                      (fun error ->
                          Expect.stringContains error.Message "Multiplexing=true" "the cause"
                          Expect.stringContains error.Message "without it" "what to change")
              })

      testCaseTask "an NpgsqlDataSource of the application stays open when the store is disposed of" (fun () ->
          task {
              use source = NpgsqlDataSource.Create(shared.Force().Address)

              do!
                  task {
                      use store = new PostgresStore(PostgresStoreOptions(DataSource = source, Table = newTable ()))
                      let! written = (store :> ISessionStore).Insert(record "a" 1L null false, none)
                      Expect.equal written WriteResult.Written "it works"
                  }

              use command = source.CreateCommand "SELECT 1"
              let! answer = command.ExecuteScalarAsync()
              Expect.equal answer (box 1) "the application goes on"
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

              // What is named for these sessions goes before what is registered for the application.
              let away = $"Host=127.0.0.1;Port={RedisServer.freePort ()};Username=postgres;Database=postgres"
              use registered = NpgsqlDataSource.Create away

              for configure in
                  [ fun (o: PostgresStoreOptions) -> o.DataSource <- source
                    fun o -> o.ConnectionString <- shared.Force().Address ] do
                  let services = ServiceCollection()
                  services.AddSingleton registered |> ignore
                  let table = newTable ()

                  SessionBuilder(services, typeof<string>)
                      .UsePostgres(fun o ->
                          o.Table <- table
                          configure o)
                  |> ignore

                  use provider = services.BuildServiceProvider()
                  let store = provider.GetRequiredKeyedService<ISessionStore> typeof<string>
                  let! written = store.Insert(record "a" 1L null false, none)
                  Expect.equal written WriteResult.Written "what is named for these sessions"
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

let all = testList "Postgres at start" [ testList "start" starts; tls ]
