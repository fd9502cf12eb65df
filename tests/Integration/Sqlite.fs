/// The file of the SQLite store: what an older version has left behind, and what it refuses to touch.
module Integration.Sqlite

open System
open System.IO
open System.Threading
open System.Threading.Tasks
open Expecto
open Microsoft.Data.Sqlite
open Microsoft.Extensions.DependencyInjection
open Microsoft.Extensions.Hosting
open Integration.Http
open Integration.World
open Session.Engine
open Session.Stores.Sqlite

let never = CancellationToken.None

let private query (path: string) (sql: string) (run: SqliteCommand -> 'Answer) =
    use connection = new SqliteConnection $"Data Source={path};Pooling=False"
    connection.Open()
    use command = connection.CreateCommand()
    command.CommandText <- sql
    run command

let execute path sql = query path sql (fun command -> command.ExecuteNonQuery() |> ignore)
let scalar path sql = query path sql _.ExecuteScalar()

/// As version 1 made it.
let private former =
    """
    PRAGMA journal_mode = WAL;
    CREATE TABLE "session-schema" (name TEXT PRIMARY KEY COLLATE NOCASE, version INTEGER NOT NULL);
    INSERT INTO "session-schema" VALUES ('sessions', 1);
    CREATE TABLE "sessions" (
        id TEXT NOT NULL PRIMARY KEY,
        version INTEGER NOT NULL,
        kind INTEGER NOT NULL,
        last_seen INTEGER NOT NULL,
        due_at INTEGER NOT NULL,
        subject TEXT,
        operation INTEGER NOT NULL,
        body BLOB NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX "sessions-due" ON "sessions" (due_at, kind);
    CREATE INDEX "sessions-subject" ON "sessions" (subject, id) WHERE subject IS NOT NULL;
    """

let private columns = "id, version, kind, last_seen, due_at, subject, operation, body"

/// Everything that a table holds, as text.
let private content (path: string) table =
    string (
        scalar
            path
            $"""SELECT group_concat(line, char(10)) FROM (SELECT concat_ws('|', id, version, kind, last_seen, due_at,
            coalesce(subject, 'nobody'), operation, hex(body)) AS line FROM "{table}" ORDER BY id)"""
    )

let inFolder (body: string -> Task<unit>) =
    async {
        let folder = temporaryFolder ()

        try
            do! body (Path.Combine(folder, "sessions.db")) |> Async.AwaitTask
        finally
            Directory.Delete(folder, true)
    }

let openAt path = new SqliteStore(SqliteStoreOptions(Path = path))

let private refuses (path: string) (word: string) =
    task {
        use store = openAt path
        let mutable sentence = ""

        try
            let! _ = (store :> ISessionStore).Prepare never
            ()
        with :? InvalidOperationException as refusal ->
            sentence <- refusal.Message

        Expect.stringContains sentence word "the start is refused, and says why"
        Expect.stringContains sentence path "and where"
    }

let private upgrade =
    testCaseAsync
        "a file of schema 1 is taken over at the start, and every session in it lives"
        (inFolder (fun path ->
            task {
                let folder = Path.GetDirectoryName path |> string

                let live, ended, before =
                    (task {
                        use store = openAt path
                        let! w = start store ignore
                        let! live = w.SignIn "ann"
                        let! ended = w.SignIn "ann"
                        let! _ = w.Post("/logout", ended)
                        do! stop w
                        return live, ended, content path "sessions"
                    })
                        .GetAwaiter()
                        .GetResult()

                // The same records in a file as version 1 left it.
                let older = Path.Combine(folder, "older.db")
                execute older former
                execute older $"ATTACH '{path}' AS made; INSERT INTO sessions SELECT {columns} FROM made.sessions"
                Expect.equal (content older "sessions") before "the older file has the same records"

                use store = openAt older
                let! w = start store ignore
                Expect.equal (content older "sessions") before "what is taken over is what was there, to the byte"
                let! profile = w.Profile live
                Expect.equal profile 200 "the live one lives"
                let! dead = w.Get("/profile", ended)
                Expect.equal dead.Status 401 "the ended one stays ended"
                let! listed = (store :> ISessionStore).BySubject("ann", null, 10, never)
                Expect.equal listed.Records.Count 2 "the index of subjects has both"
                do! stop w

                Expect.equal
                    (scalar older "SELECT version FROM \"session-schema\" WHERE name = 'sessions'")
                    (box 2L)
                    "the schema is version 2"

                Expect.equal
                    (scalar
                        older
                        "SELECT count(*) FROM sqlite_master WHERE name LIKE 'sessions%' AND sql LIKE '%WITHOUT ROWID%'")
                    (box 0L)
                    "and nothing of version 1 is left"

                Expect.equal
                    (scalar older "SELECT count(*) FROM sqlite_master WHERE tbl_name LIKE 'sessions-%'")
                    (box 0L)
                    "nor its table"
            }))

let private together =
    testCaseAsync
        "a process of the version before goes on with a file that was taken over meanwhile"
        (inFolder (fun path ->
            task {
                execute path former
                use older = new SqliteConnection $"Data Source={path};Pooling=False"
                older.Open()
                use insert = older.CreateCommand()
                insert.CommandText <- $"INSERT INTO sessions ({columns}) VALUES (@id, 1, 1, 5, 9, NULL, 7, x'00')"
                let id = insert.Parameters.Add("@id", SqliteType.Text)
                insert.Prepare()
                id.Value <- "before"
                insert.ExecuteNonQuery() |> ignore

                use store = openAt path
                let! _ = (store :> ISessionStore).Prepare never
                id.Value <- "after"
                insert.ExecuteNonQuery() |> ignore

                for id in [ "before"; "after" ] do
                    let! record = (store :> ISessionStore).Load(id, never)
                    Expect.isNotNull record $"the record {id} is there"
            }))

let private refusals =
    [ testCaseAsync
          "a file of a newer version is refused, and stays as it is"
          (inFolder (fun path ->
              task {
                  execute path former
                  execute path "UPDATE \"session-schema\" SET version = 3"
                  do! refuses path "newer version"
                  Expect.equal (scalar path "SELECT version FROM \"session-schema\"") (box 3L) "the file is as it was"
              }))
      testCaseAsync
          "a table of somebody else's is refused, and stays as it is"
          (inFolder (fun path ->
              task {
                  execute path "CREATE TABLE Sessions (text TEXT); INSERT INTO Sessions VALUES ('theirs')"
                  do! refuses path "belongs to something else"
                  Expect.equal (scalar path "SELECT text FROM Sessions") (box "theirs") "the table is as it was"
              }))
      testCaseAsync
          "a file that is no database is refused, and stays as it is"
          (inFolder (fun path ->
              task {
                  File.WriteAllText(path, String.replicate 100 "no database at all\n")
                  do! refuses path "is no SQLite database"
                  Expect.stringStarts (File.ReadAllText path) "no database" "the file is as it was"
              }))
      testCaseAsync
          "a file that is damaged is refused"
          (inFolder (fun path ->
              task {
                  execute path former
                  let bytes = File.ReadAllBytes path
                  // All of the first page, the table of contents, but the head of the file.
                  Array.fill bytes 100 3996 255uy
                  File.WriteAllBytes(path, bytes)
                  do! refuses path "is damaged"
              }))
      testCaseAsync
          "a file, or a log beside it, that cannot be written is refused, and the file stays as it is"
          (inFolder (fun path ->
              task {
                  let make () =
                      task {
                          use store = openAt path
                          let! _ = (store :> ISessionStore).Prepare never
                          ()
                      }

                  do! make ()
                  let bytes = File.ReadAllBytes path
                  // The form in which it is written: of a later one SQLite only reads, whatever the rights of this process.
                  bytes[18] <- 3uy
                  File.WriteAllBytes(path, bytes)
                  do! refuses path "cannot be written"
                  Expect.equal (File.ReadAllBytes path) bytes "the file is as it was"
                  bytes[18] <- 2uy
                  File.WriteAllBytes(path, bytes)
                  do! make ()
                  // In the place of the log: SQLite cannot open it.
                  Directory.CreateDirectory(path + "-wal") |> ignore
                  do! refuses path "cannot be written"
              }))
      testCaseAsync
          "what is no file, and a directory that is not there, are refused, and nothing is made"
          (inFolder (fun path ->
              task {
                  let folder = string (Path.GetDirectoryName path)

                  for named in
                      [ ":memory:"
                        "Data Source=:memory:"
                        $"file:{path}"
                        $"FILE:{path}?mode=rwc"
                        $"Data Source=file:{path}" ] do
                      do! refuses named "is no file"
                      do! refuses named "UseMemory"

                  do! refuses folder "is a directory"
                  let absent = Path.Combine(folder, "absent")
                  use store = openAt (Path.Combine(absent, "sessions.db"))
                  let mutable sentence = ""

                  try
                      let! _ = (store :> ISessionStore).Prepare never
                      ()
                  with :? InvalidOperationException as refusal ->
                      sentence <- refusal.Message

                  Expect.stringContains sentence $"'{absent}' of the session database does not exist" "which one"
                  Expect.isEmpty (Directory.GetFileSystemEntries folder) "nothing was made"
              }))
      testCase "settings that nobody means are refused, and the last ones that may be are taken" (fun () ->
          let said (set: SqliteStoreOptions -> unit) =
              let options = SqliteStoreOptions(Path = "never.db")
              set options

              try
                  (new SqliteStore(options) :> IDisposable).Dispose()
                  "taken"
              with :? ArgumentException as error ->
                  error.Message

          let named table = said (fun options -> options.Table <- table)
          let waits time = said (fun options -> options.BusyTimeout <- time)
          let lasts durability = said (fun options -> options.Durability <- durability)
          let tick, longest = TimeSpan.FromTicks 1L, TimeSpan.FromHours 1.0
          Expect.stringContains (said (fun options -> options.Path <- " ")) "SqliteStoreOptions.Path" "no path"

          for table in [ ""; String('a', 41); "a-b"; "a b"; "a\"b"; "ä"; "sqlite_a"; "SQLite_a" ] do
              Expect.stringContains (named table) "SqliteStoreOptions.Table" $"'{table}'"

          for table in [ "a"; String('a', 40); "A_9"; "sqlitea"; "a_sqlite_" ] do
              Expect.equal (named table) "taken" table

          for time in [ TimeSpan.Zero; -tick; longest + tick ] do
              Expect.stringContains (waits time) "SqliteStoreOptions.BusyTimeout" $"{time}"

          for time in [ tick; longest ] do
              Expect.equal (waits time) "taken" $"{time}"

          Expect.stringContains (lasts (enum 7)) "SqliteStoreOptions.Durability" "none that there is"

          for durability in Enum.GetValues<SqliteDurability>() do
              Expect.equal (lasts durability) "taken" $"{durability}") ]

/// What is longer than a quarter of a page has no page to itself.
let private compact =
    testCaseAsync
        "a thousand sessions of 1.5 KiB take less than 2.5 KiB each"
        (inFolder (fun path ->
            task {
                use store = openAt path
                let at = DateTimeOffset.UnixEpoch
                let body = ReadOnlyMemory(Array.replicate 1536 7uy)

                for i in 1..1000 do
                    let record = StoredRecord(string i, 1L, RecordKind.Live, at, at.AddDays 1, null, int64 i, body)
                    let! result = (store :> ISessionStore).Insert(record, never)
                    Expect.equal result WriteResult.Written "taken"

                let bytes =
                    Convert.ToInt64(
                        scalar path "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
                    )

                Expect.isLessThan bytes (1000L * 2560L) "bytes of the file"
            }))

/// A record of a day, whose body is one byte.
let record id isDurable =
    let at = DateTimeOffset.UnixEpoch
    StoredRecord(id, 1L, RecordKind.Live, at, at.AddDays 1, "ann", 1L, ReadOnlyMemory [| 7uy |], isDurable)

let private names =
    let store (contentRoot: string) (named: string) =
        let services = Microsoft.Extensions.DependencyInjection.ServiceCollection()

        let builder =
            Microsoft.AspNetCore.Builder.WebApplication.CreateSlimBuilder(
                Microsoft.AspNetCore.Builder.WebApplicationOptions(ContentRootPath = contentRoot)
            )

        services.AddSingleton<IHostEnvironment>(builder.Environment) |> ignore
        SessionBuilder(services, typeof<string>).UseSqlite named |> ignore
        services.BuildServiceProvider().GetRequiredKeyedService<ISessionStore> typeof<string>

    let leads name (named: string -> string) (place: string) =
        testCaseAsync
            name
            (inFolder (fun path ->
                task {
                    let folder = string (Path.GetDirectoryName path)
                    let opened = store folder (named folder)
                    let! _ = opened.Prepare never
                    (opened :?> IDisposable).Dispose()
                    let files = [ for file in Directory.GetFiles folder -> string (Path.GetFileName file) ]
                    Expect.equal files [ place ] "the file"
                }))

    [ leads "a relative path is relative to the content root" (fun _ -> "some.db") "some.db"
      leads "a connection string names the file" (fun _ -> "Data Source=cs.db") "cs.db"
      leads "so does one with more in it" (fun folder -> $"DataSource={folder}/cs.db;Cache=Shared;Pooling=True") "cs.db"
      leads "one may say that it is written to" (fun _ -> "Data Source=rw.db;Mode=ReadWrite") "rw.db"
      leads "and that it is made" (fun _ -> "Data Source=rwc.db;Mode=ReadWriteCreate") "rwc.db"
      leads "a path may look like one" (fun folder -> $"{folder}/a=b.db") "a=b.db"
      testCaseAsync
          "a connection string that begins at the data directory leads there, as the driver has it"
          (inFolder (fun path ->
              task {
                  let folder = string (Path.GetDirectoryName path)
                  let before = AppDomain.CurrentDomain.GetData "DataDirectory"
                  AppDomain.CurrentDomain.SetData("DataDirectory", folder)

                  try
                      for named, file in
                          [ "Data Source=|DataDirectory|one.db", "one.db"
                            "Data Source=|datadirectory|/two.db;Pooling=False", "two.db" ] do
                          let opened = store (Path.GetTempPath()) named
                          let! _ = opened.Prepare never
                          (opened :?> IDisposable).Dispose()
                          Expect.isTrue (File.Exists(Path.Combine(folder, file))) named
                  finally
                      AppDomain.CurrentDomain.SetData("DataDirectory", before)
              }))
      testCaseAsync
          "a directory that is relative itself is relative to the current one"
          (inFolder (fun path ->
              task {
                  let folder = string (Path.GetDirectoryName path)
                  let relative = Path.GetRelativePath(Environment.CurrentDirectory, folder)
                  Expect.isFalse (Path.IsPathRooted relative) "a relative one"
                  use store = new SqliteStore(SqliteStoreOptions(Path = "some.db", Directory = relative))
                  let! _ = (store :> ISessionStore).Prepare never
                  Expect.isTrue (File.Exists(Path.Combine(folder, "some.db"))) "the file"
              }))
      testCase "what a connection string asks for in vain is refused with a sentence" (fun () ->
          for named, word in
              [ "Data Source=a.db;Password=x", "ProtectWithDataProtection"
                "Data Source=a.db;Mode=Memory", "UseMemory"
                "Data Source=a.db;Mode=ReadOnly", "written" ] do
              Expect.throwsC (fun () -> openAt named |> ignore) (fun refused ->
                  Expect.stringContains refused.Message word "the sentence")) ]

/// A move from one name of a place to another one would be a move to itself.
let private places =
    testCaseAsync
        "stores that share their records say the same place, however each names the file and the table"
        (inFolder (fun path ->
            task {
                let folder = string (Path.GetDirectoryName path)
                let link = Path.Combine(folder, "link.db")

                let placeOf (named: string) (table: string) =
                    task {
                        use store = new SqliteStore(SqliteStoreOptions(Path = named, Table = table))
                        let! report = (store :> ISessionStore).Prepare never
                        return report.Location
                    }

                let! place = placeOf path "sessions"
                File.CreateSymbolicLink(link, path) |> ignore

                for named, table in
                    [ path, "Sessions"
                      path, "SESSIONS"
                      $"Data Source={path}", "sessions"
                      Path.Combine(folder, ".", "sessions.db"), "sessions"
                      link, "Sessions" ] do
                    let! again = placeOf named table
                    Expect.equal again place $"{named}, {table}"

                for named, table in [ path, "others"; path + ".other", "sessions" ] do
                    let! another = placeOf named table
                    Expect.notEqual another place $"{named}, {table}"
            }))

/// What SQLite does at a commit of the connection that writes: 1 NORMAL, 2 FULL.
let private synchronous (store: SqliteStore) : int64 =
    let hidden =
        System.Reflection.BindingFlags.NonPublic
        ||| System.Reflection.BindingFlags.Public
        ||| System.Reflection.BindingFlags.Instance

    let field (owner: obj) (name: string) = nonNull ((nonNull (owner.GetType().GetField(name, hidden))).GetValue owner)
    let writer = field (field store "_connections") "_writer"

    let connection =
        (nonNull (writer.GetType().GetProperty("Connection", hidden))).GetValue writer |> nonNull :?> SqliteConnection

    use command = connection.CreateCommand()
    command.CommandText <- "PRAGMA synchronous"
    Convert.ToInt64(command.ExecuteScalar())

let private durability =
    [ for name, durability, routine, durable in
          [ "Selective: what must last is committed with synchronous FULL, the rest with NORMAL",
            SqliteDurability.Selective,
            1L,
            2L
            "Normal: all is committed with synchronous NORMAL", SqliteDurability.Normal, 1L, 1L
            "Full: all is committed with synchronous FULL", SqliteDurability.Full, 2L, 2L ] ->
          testCaseAsync
              name
              (inFolder (fun path ->
                  task {
                      use store = new SqliteStore(SqliteStoreOptions(Path = path, Durability = durability))
                      let port = store :> ISessionStore

                      for round in 1..2 do
                          let! _ = port.Insert(record $"routine-{round}" false, never)
                          Expect.equal (synchronous store) routine "an insert that need not last"
                          let! _ = port.Insert(record $"durable-{round}" true, never)
                          Expect.equal (synchronous store) durable "an insert that must"

                          let next =
                              StoredRecord(
                                  $"routine-{round}",
                                  2L,
                                  RecordKind.Live,
                                  DateTimeOffset.UnixEpoch,
                                  DateTimeOffset.MaxValue,
                                  null,
                                  2L,
                                  ReadOnlyMemory [| 1uy |]
                              )

                          let! _ = port.Replace(next, 1L, never)
                          Expect.equal (synchronous store) routine "a replace that need not last"

                          let last =
                              StoredRecord(
                                  $"routine-{round}",
                                  3L,
                                  RecordKind.Ended,
                                  DateTimeOffset.UnixEpoch,
                                  DateTimeOffset.MaxValue,
                                  null,
                                  3L,
                                  ReadOnlyMemory [| 1uy |],
                                  true
                              )

                          let! _ = port.Replace(last, 2L, never)
                          Expect.equal (synchronous store) durable "a logout"

                      // Whatever was written before them.
                      let at = DateTimeOffset.UtcNow

                      let others: (string * (string -> Task)) list =
                          [ "a touch", (fun id -> port.Touch(id, at, never).AsTask())
                            "a claim",
                            (fun _ -> port.ClaimOverdue(at, TimeSpan.FromMinutes 1L, 10, never).AsTask() :> Task)
                            "a reschedule", (fun id -> port.Reschedule(id, 1L, at, never).AsTask())
                            "a removal", (fun id -> port.Remove(id, never).AsTask())
                            "a removal of one version",
                            (fun id -> (port :?> IRemovesVersion).RemoveVersion(id, 1L, 1L, never).AsTask()) ]

                      for name, call in others do
                          let! _ = port.Insert(record name true, never)
                          Expect.equal (synchronous store) durable $"before {name}"
                          do! call name
                          Expect.equal (synchronous store) routine name
                  })) ]

/// A file as the version before this one left it.
let private former01 =
    testCaseAsync
        "a file of version 0.1: every record is there, listed, and decodes"
        (inFolder (fun path ->
            task {
                File.Copy(Repository.under [ "tests"; "Integration"; "data"; "sessions-0.1.db" ], path)
                let before = content path "sessions"
                use store = openAt path
                let port = store :> ISessionStore
                let! _ = port.Prepare never
                let! all = port.Enumerate(null, Int32.MaxValue, never)
                let kinds = [ "plain"; "keyed"; "sealed" ]

                let states =
                    [ "Active"
                      "Confirmed"
                      "Created"
                      "Destroyed"
                      "Expired"
                      "Issued"
                      "Renewed-twice"
                      "Signed-in" ]

                let ids = [ for record in all.Records -> record.Id ]

                Expect.equal
                    ids
                    (List.sortWith
                        (fun a b -> String.CompareOrdinal(a, b))
                        [ for kind in kinds do
                              for state in states -> $"{kind}-{state}" ])
                    "all of them"

                for id in ids do
                    let! record = port.Load(id, never)
                    let record = nonNull record

                    // The rows have names of their own; the id that a record was written under is in it.
                    let body = record.Body.ToArray()
                    let own = Text.Encoding.ASCII.GetString(body, 3, int body[2])

                    match Codec.decode own record.Version record.Body with
                    | Ok _ -> ()
                    | Error why -> failtestf "%s: %A" id why

                let! bobs = port.BySubject("bob", null, 100, never)
                Expect.equal bobs.Records.Count 6 "the index of subjects"
                let! count = port.Count never
                Expect.equal count 18L "those that are no tombstones"
                Expect.equal (content path "sessions") before "and nothing has changed"
            }))

/// What is inside of the store, by its name.
let private within (owner: obj) (name: string) =
    let hidden = System.Reflection.BindingFlags.NonPublic ||| System.Reflection.BindingFlags.Instance
    nonNull ((nonNull (owner.GetType().GetField(name, hidden))).GetValue owner)

let private disposal =
    testCaseAsync
        "a write that waits for its turn while the store is disposed is told so, writes nothing, and leaves the file closed"
        (inFolder (fun path ->
            task {
                let store = openAt path
                let insert id = (store :> ISessionStore).Insert(record id false, never).AsTask()
                let! _ = (store :> ISessionStore).Prepare never
                let connections = within store "_connections"
                let gate = within connections "_writerGate" :?> SemaphoreSlim

                let! first, second, disposing =
                    task {
                        use other = new SqliteConnection $"Data Source={path};Pooling=False"
                        other.Open()
                        use command = other.CreateCommand()
                        command.CommandText <- "BEGIN IMMEDIATE"
                        command.ExecuteNonQuery() |> ignore
                        // It waits for the other program, and all behind it for their turn.
                        let first = Task.Run<WriteResult>(fun () -> insert "first")
                        do! eventually "a write that has its turn" (fun () -> gate.CurrentCount = 0)
                        let second = insert "second"
                        let disposing = Task.Run(fun () -> (store :> IDisposable).Dispose())
                        do! eventually "the end of the store" (fun () -> unbox (within connections "_disposed"))
                        command.CommandText <- "ROLLBACK"
                        command.ExecuteNonQuery() |> ignore
                        return first, second, disposing
                    }

                let! written = first
                Expect.equal written WriteResult.Written "the one that had begun is done"
                do! disposing

                let! isTold =
                    task {
                        try
                            let! _ = second
                            return false
                        with :? ObjectDisposedException ->
                            return true
                    }

                // Whoever closes a file last removes its companions.
                Expect.isFalse (File.Exists(path + "-wal")) "nobody has it open"
                Expect.isTrue isTold "the one that waited is told"

                let! isReaderTold =
                    task {
                        try
                            let! _ = (store :> ISessionStore).Load("first", never)
                            return false
                        with :? ObjectDisposedException ->
                            return true
                    }

                Expect.isTrue isReaderTold "and so is whoever reads afterwards"

                Expect.equal
                    (scalar path "SELECT group_concat(id) FROM sessions")
                    (box "first")
                    "and has written nothing"
            }))

/// A transaction that is given up must not go on in the connection: it would keep all others out.
let private givenUp =
    testCaseAsync
        "a sweep that fails halfway leaves nothing locked, and nothing done"
        (inFolder (fun path ->
            task {
                use opened = openAt path
                let store = opened :> ISessionStore
                let now = DateTimeOffset.UtcNow

                for id in [ "first"; "second" ] do
                    let! _ = store.Insert((record id false).Due(now.AddHours -1.0), never)
                    ()

                execute
                    path
                    "CREATE TRIGGER failing BEFORE UPDATE ON sessions WHEN old.id = 'second'
                     BEGIN SELECT RAISE(ABORT, 'as told'); END"

                let claim () = store.ClaimOverdue(now, TimeSpan.FromMinutes 1L, 10, never).AsTask()

                try
                    let! _ = claim ()
                    failtest "claimed"
                with :? SqliteException as failure ->
                    Expect.stringContains failure.Message "as told" "why"

                // By another process, which waits for no lock.
                use other = new SqliteConnection $"Data Source={path};Pooling=False;Default Timeout=1"
                other.Open()
                use command = other.CreateCommand()
                command.CommandText <- "DROP TRIGGER failing"
                command.ExecuteNonQuery() |> ignore
                let! claimed = claim ()
                Expect.equal claimed.Count 2 "both are due as before"
            }))

/// That the store says that a write has changed nothing, and that this is so; and whether it has waited in vain.
let private refused (store: ISessionStore) (id: string) what =
    task {
        let! before = store.Load(id, never)

        let! isRefused, isWait =
            task {
                try
                    let write =
                        match before with
                        | null -> store.Insert(record id true, never)
                        | found ->
                            let next =
                                StoredRecord(
                                    id,
                                    found.Version + 1L,
                                    found.Kind,
                                    found.LastSeen,
                                    found.DueAt,
                                    found.Subject,
                                    2L,
                                    ReadOnlyMemory(Array.zeroCreate 60_000)
                                )

                            store.Replace(next, found.Version, never)

                    let! _ = write
                    return false, false
                with :? StoreRefusedException as refusal ->
                    return true, (box refusal.InnerException :? TimeoutException)
            }

        Expect.isTrue isRefused $"{what}: refused"
        let! after = store.Load(id, never)
        let versionOf (found: StoredRecord | null) = found |> Option.ofObj |> Option.map _.Version
        Expect.equal (versionOf after) (versionOf before) $"{what}: nothing was changed"
        return isWait
    }

let private locked =
    testCaseAsync
        "a write that somebody else's lock keeps out has changed nothing, and says so"
        (inFolder (fun path ->
            task {
                use opened =
                    new SqliteStore(SqliteStoreOptions(Path = path, BusyTimeout = TimeSpan.FromMilliseconds 200L))

                let store = opened :> ISessionStore
                let! _ = store.Insert(record "there" false, never)
                use other = new SqliteConnection $"Data Source={path};Pooling=False"
                other.Open()

                use transaction = other.BeginTransaction()

                for id, what in [ "there", "a change"; "new", "a beginning" ] do
                    let! isWait = refused store id what
                    Expect.isTrue isWait $"{what}: whoever ends many sessions does not wait so long for each"

                transaction.Rollback()
                let! written = store.Insert(record "new" true, never)
                Expect.equal written WriteResult.Written "once the lock is gone"
            }))

let private lockedAtStart =
    testCaseAsync
        "a start that somebody else's lock keeps waiting in vain says what is locked, and works once the lock is gone"
        (inFolder (fun path ->
            task {
                let options = SqliteStoreOptions(Path = path, BusyTimeout = TimeSpan.FromMilliseconds 200L)
                use first = new SqliteStore(options)
                let! _ = (first :> ISessionStore).Prepare never
                use other = new SqliteConnection $"Data Source={path};Pooling=False"
                other.Open()

                use transaction = other.BeginTransaction()
                use opened = new SqliteStore(options)
                let store = opened :> ISessionStore

                try
                    let! _ = store.Prepare never
                    failtest "it starts"
                with :? SqliteException as refused ->
                    for words in [ path; "is locked by another program"; "SqliteStoreOptions.BusyTimeout" ] do
                        Expect.stringContains
                            refused.Message
                            words
                            "what is locked, and for how long it was waited for"

                    Expect.equal refused.SqliteErrorCode 5 "what may pass by itself"

                transaction.Rollback()
                let! report = store.Prepare never
                Expect.stringContains report.Location path "once the lock is gone"
            }))

let private behind =
    testCaseAsync
        "a write that another one of this process keeps out has changed nothing, and says so"
        (inFolder (fun path ->
            task {
                use opened =
                    new SqliteStore(SqliteStoreOptions(Path = path, BusyTimeout = TimeSpan.FromMilliseconds 200L))

                let store = opened :> ISessionStore
                let! _ = store.Insert(record "there" false, never)
                // As a write that takes its time.
                let gate = within (within opened "_connections") "_writerGate" :?> SemaphoreSlim
                do! gate.WaitAsync()

                try
                    for id, what in [ "there", "a change"; "new", "a beginning" ] do
                        let! isWait = refused store id what
                        Expect.isTrue isWait $"{what}: it has waited in vain"
                finally
                    gate.Release() |> ignore

                let! written = store.Insert(record "new" true, never)
                Expect.equal written WriteResult.Written "once it is done"
            }))

/// No more room than there is, until the store opens the file anew: it does so after a failure.
let private bound (store: SqliteStore) =
    let writer = within (within store "_connections") "_writer"

    let connection =
        (nonNull (writer.GetType().GetProperty("Connection"))).GetValue writer |> nonNull :?> SqliteConnection

    use command = connection.CreateCommand()
    command.CommandText <- "PRAGMA max_page_count = 1"
    command.ExecuteNonQuery() |> ignore

let private bounded =
    testCaseAsync
        "a file that can grow no more: a write that needs room has changed nothing, and says so"
        (inFolder (fun path ->
            task {
                use opened = openAt path
                let store = opened :> ISessionStore
                let! _ = store.Insert(record "there" true, never)
                bound opened
                let! isWait = refused store "there" "a change"
                Expect.isFalse isWait "there is nothing to wait for"
                let! written = store.Insert(record "new" true, never)
                Expect.equal written WriteResult.Written "once there is room"
            }))

let private cancelled =
    testCaseAsync
        "a read whose caller has gone before is not carried out"
        (inFolder (fun path ->
            task {
                use opened = openAt path
                let store = opened :> ISessionStore
                let! _ = store.Insert(record "there" false, never)
                let! _ = store.Load("there", never)
                do! Engines.cancelledReadsAreNotSent store
            }))

/// The mount or the end of one, by whoever may: true.
let private runs (program: string) (arguments: string list) =
    try
        use it = Diagnostics.Process.Start(program, arguments)
        it.WaitForExit()
        it.ExitCode = 0
    with :? ComponentModel.Win32Exception ->
        false

let private full =
    testCaseAsync
        "a full disk: writes have changed nothing, and say so; what is there can be read, and it goes on with room"
        (inFolder (fun path ->
            task {
                let disk = Path.Combine(nonNull (Path.GetDirectoryName path), "disk")
                Directory.CreateDirectory disk |> ignore

                if not (runs "mount" [ "-t"; "tmpfs"; "-o"; "size=1m"; "sessions"; disk ]) then
                    skiptest "no small file system can be mounted here (it takes root)"

                try
                    use opened = openAt (Path.Combine(disk, "sessions.db"))
                    let store = opened :> ISessionStore
                    let! _ = store.Insert(record "there" true, never)
                    let filler = Path.Combine(disk, "filler")

                    try
                        File.WriteAllBytes(filler, Array.zeroCreate 2_000_000)
                    with :? IOException ->
                        ()

                    let! isWait = refused store "there" "a change"
                    Expect.isFalse isWait "there is nothing to wait for"
                    File.Delete filler
                    let! written = store.Insert(record "new" true, never)
                    Expect.equal written WriteResult.Written "once there is room"
                finally
                    runs "umount" [ disk ] |> ignore
            }))

/// Written by hand, or by another program.
let private strange =
    testCaseAsync
        "a row that is no record of ours keeps no sweep and no list from the others, and can be ended"
        (inFolder (fun path ->
            task {
                use opened = openAt path
                let store = opened :> ISessionStore
                let now = DateTimeOffset.UtcNow

                for id in [ "a"; "b"; "c" ] do
                    let! _ = store.Insert((record id false).Due(now.AddHours -1.0), never)
                    ()

                for change in [ "due_at = -1"; "kind = -1"; "kind = 9"; "last_seen = 9223372036854775807" ] do
                    execute path $"UPDATE sessions SET {change} WHERE id = 'b'"
                    let! loaded = store.Load("b", never)
                    Expect.equal (nonNull loaded).Body.Length 0 $"{change}: there is nothing in it to read"
                    let! page = store.Enumerate(null, 10, never)
                    Expect.equal [ for it in page.Records -> it.Id ] [ "a"; "b"; "c" ] $"{change}: all are listed"
                    execute path $"UPDATE sessions SET due_at = min(due_at, {now.AddHours(-1.0).UtcTicks})"
                    let! claimed = store.ClaimOverdue(now, TimeSpan.FromMinutes 1L, 10, never)
                    Expect.equal claimed.Count 3 $"{change}: all are claimed"

                let engine = Engines.engineOn store Engines.settings TimeProvider.System Engines.silent
                let! ended = engine.DestroyEvery(Session.Domain.Revoked, never)
                Expect.isTrue ended.IsOk $"{ended}"
                let! left = store.Load("b", never)
                Expect.equal (nonNull left).Kind RecordKind.Ended "a tombstone is in its place"
                let! again = engine.Destroy("b", Session.Domain.Revoked, never)
                Expect.equal again (Ok false) "which can be read"
            }))

let all =
    testList
        "Sqlite file"
        ([ disposal
           givenUp
           locked
           lockedAtStart
           behind
           full
           bounded
           cancelled
           strange
           upgrade
           together
           compact
           places
           former01 ]
         @ refusals
         @ names
         @ durability)
