/// Real PostgreSQL servers on free ports, each in a folder of its own: one, a primary with a synchronous standby, and
/// pgbouncer, or nothing but silence, before one. Each is stopped by its own id.
module Integration.PostgresServer

open System
open System.Diagnostics
open System.IO
open System.Threading
open System.Threading.Tasks
open Npgsql
open Integration.RedisServer
open Integration.Relays

/// The programs of the newest version: Debian keeps them outside of the path.
let private programs =
    lazy
        (let versions = DirectoryInfo "/usr/lib/postgresql"

         let newest =
             if versions.Exists then
                 versions.GetDirectories()
                 |> Array.map (fun version -> Path.Combine(version.FullName, "bin"))
                 |> Array.filter (fun folder -> File.Exists(Path.Combine(folder, "initdb")))
                 |> Array.sortDescending
                 |> Array.tryHead
             else
                 None

         match newest with
         | Some folder -> folder
         | None -> failwith "PostgreSQL is missing: install the package postgresql. What needs it is not tested.")

let private isRoot = lazy (Environment.UserName = "root")

/// PostgreSQL and pgbouncer refuse to run as root: then they run as the user that their package has made.
let private command (program: string) (arguments: string list) =
    if isRoot.Force() then
        let user = [ "--reuid=postgres"; "--regid=postgres"; "--clear-groups"; "--"; program ]
        ProcessStartInfo("setpriv", user @ arguments)
    else
        ProcessStartInfo(program, arguments)

let private launch (program: string) (arguments: string list) =
    let info = command program arguments
    info.RedirectStandardOutput <- true
    info.RedirectStandardError <- true
    info.WorkingDirectory <- "/"
    nonNull (Process.Start info)

/// To its end; what it said if it failed.
let private run program arguments =
    use started = launch program arguments
    let said = started.StandardError.ReadToEndAsync()
    started.StandardOutput.ReadToEnd() |> ignore
    started.WaitForExit()

    if started.ExitCode <> 0 then
        failwithf "%s %s ended with %d: %s" program (String.concat " " arguments) started.ExitCode (said.Result.Trim())

let private ofServer (program: string) = Path.Combine(programs.Force(), program)

/// A folder that the server's user owns.
let private ownFolder () =
    let folder = Directory.CreateTempSubdirectory("session-postgres-").FullName

    if isRoot.Force() then
        use chown = Process.Start("chown", [ "postgres:postgres"; folder ])
        chown.WaitForExit()

    folder

/// Hands a file over to the server's user, and to nobody else.
let giveToServer (file: string) =
    File.SetUnixFileMode(file, UnixFileMode.UserRead ||| UnixFileMode.UserWrite)

    if isRoot.Force() then
        use chown = Process.Start("chown", [ "postgres:postgres"; file ])
        chown.WaitForExit()

/// The processes that this one has started: the server has one for each connection.
let private childrenOf (id: int) =
    [ for folder in Directory.EnumerateDirectories "/proc" do
          match Int32.TryParse(Path.GetFileName folder) with
          | true, child ->
              let parent =
                  try
                      let text = File.ReadAllText(Path.Combine(folder, "stat"))
                      // Behind the name, which may have anything in it: the state, and the parent.
                      Int32.Parse((text.Substring(text.LastIndexOf ')' + 2).Split ' ')[1])
                  with _ ->
                      0

              if parent = id then
                  child
          | _ -> () ]

[<Sealed>]
type PostgresServer(settings: (string * string) list) =
    let folder = ownFolder ()
    let data = Path.Combine(folder, "data")
    let port = freePort ()
    let mutable running: Process | null = null

    let configure lines =
        File.AppendAllLines(Path.Combine(data, "postgresql.conf"), lines |> List.map (fun (n, v) -> $"{n} = '{v}'"))

    let own =
        [ "port", string port
          "listen_addresses", "127.0.0.1"
          "unix_socket_directories", folder ]

    let address user = $"Host=127.0.0.1;Port={port};Username={user};Database=postgres"
    member _.Port = port
    member _.Folder = folder

    /// A connection string.
    member _.Address = address "postgres"

    member _.AddressOf user = address user

    /// A new and empty cluster. Its databases sort as English does: an order by bytes has to be asked for.
    member _.Create() =
        run
            (ofServer "initdb")
            [ "-D"
              data
              "-U"
              "postgres"
              "-A"
              "trust"
              "-E"
              "UTF8"
              "--no-sync"
              "--locale=C.UTF-8"
              "--locale-provider=icu"
              "--icu-locale=en-US" ]

        configure (own @ [ "max_connections", "200"; "shared_buffers", "64MB" ] @ settings)

    /// A standby of this server, which the primary waits for by its name.
    member server.CopyOf(primary: PostgresServer, name: string) =
        if Directory.Exists data then
            Directory.Delete(data, true)

        let from = $"host=127.0.0.1 port={primary.Port} user=postgres application_name={name}"
        run (ofServer "pg_basebackup") [ "-D"; data; "-R"; "-X"; "stream"; "-c"; "fast"; "--no-sync"; "-d"; from ]
        // From its promotion on it acknowledges nothing without a standby of that name, either.
        configure (own @ [ "synchronous_standby_names", name ])

    /// Starts it, and returns once it answers.
    member server.Start() =
        let started = launch (ofServer "postgres") [ "-D"; data ]
        started.OutputDataReceived.Add ignore
        started.BeginOutputReadLine()
        let log = Text.StringBuilder()
        started.ErrorDataReceived.Add(fun line -> lock log (fun () -> log.AppendLine line.Data |> ignore))
        started.BeginErrorReadLine()
        running <- started
        let clock = Stopwatch.StartNew()
        let mutable isUp = false

        while not isUp do
            if started.HasExited || clock.Elapsed > TimeSpan.FromSeconds 60L then
                failwithf "PostgreSQL does not start on port %d: %O" port log

            try
                use connection = new NpgsqlConnection(server.Address + ";Pooling=false;Timeout=2")
                connection.Open()
                isUp <- true
            with :? NpgsqlException ->
                Thread.Sleep 20

    /// As kill -9 of every process of it does: what is not on disk is lost.
    member _.Kill() =
        match running with
        | null -> ()
        | started ->
            let children = childrenOf started.Id
            started.Kill()

            for child in children do
                use kill =
                    nonNull (
                        Process.Start(ProcessStartInfo("kill", [ "-9"; string child ], RedirectStandardError = true))
                    )

                kill.WaitForExit()

            started.WaitForExit()
            started.Dispose()
            running <- null

    /// A standby becomes the primary.
    member _.Promote() = run (ofServer "pg_ctl") [ "promote"; "-D"; data; "-w" ]

    /// One statement, by the superuser.
    member server.Execute(sql: string) =
        use connection = new NpgsqlConnection(server.Address + ";Pooling=false")
        connection.Open()
        use command = new NpgsqlCommand(sql, connection)
        command.ExecuteNonQuery() |> ignore

    /// The first value of the first row.
    member server.Scalar(sql: string) =
        use connection = new NpgsqlConnection(server.Address + ";Pooling=false")
        connection.Open()
        use command = new NpgsqlCommand(sql, connection)
        command.ExecuteScalar()

    /// The same, where it is a number.
    member server.Number(sql: string) : int64 =
        match server.Scalar sql with
        | null -> 0L
        | value -> Convert.ToInt64(value: obj)

    interface IDisposable with
        member server.Dispose() =
            server.Kill()

            if Directory.Exists folder then
                Directory.Delete(folder, true)

let startOne settings =
    let server = new PostgresServer(settings)
    server.Create()
    server.Start()
    server

/// As the server says it of itself.
let version () =
    let info = ProcessStartInfo(ofServer "postgres", [ "--version" ], RedirectStandardOutput = true)
    use started = nonNull (Process.Start info)
    started.StandardOutput.ReadToEnd().Trim()

/// One for all tests that need no more than a server: each test has a table of its own.
let shared = lazy (untilExit (startOne [ "statement_timeout", "0" ]))

let private tables = ref 0

/// A name that no other test has.
let newTable () = $"t{Interlocked.Increment tables}"

/// A primary that acknowledges nothing which its standby has not on disk. After a failover the two change places.
[<Sealed>]
type PostgresPair() =
    let name = "partner"
    let first, second = new PostgresServer([ "wal_level", "replica" ]), new PostgresServer([])
    let mutable primary, standby = first, second

    member _.Primary = primary
    member _.Standby = standby

    /// A connection string that names both.
    member _.Address = $"Host=127.0.0.1:{first.Port},127.0.0.1:{second.Port};Username=postgres;Database=postgres"

    /// Until the primary counts on the standby.
    member private _.Settled() =
        let clock = Stopwatch.StartNew()

        let isSynchronous () =
            primary.Scalar "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'" = box 1L

        while not (isSynchronous ()) do
            if clock.Elapsed > TimeSpan.FromSeconds 60L then
                failwith "the standby does not come up"

            Thread.Sleep 50

    member pair.Start() =
        first.Create()
        first.Start()
        second.CopyOf(first, name)
        second.Start()
        first.Execute $"ALTER SYSTEM SET synchronous_standby_names = '{name}'"
        first.Execute "SELECT pg_reload_conf()"
        pair.Settled()

    /// The primary is killed and the standby promoted. It has no standby then, and so acknowledges nothing that must last.
    member _.FailOver() =
        primary.Kill()
        standby.Promote()
        let former = primary
        primary <- standby
        standby <- former

    /// What was the primary becomes the standby of what was its standby.
    member pair.Repair() =
        standby.CopyOf(primary, name)
        standby.Start()
        pair.Settled()

    interface IDisposable with
        member _.Dispose() =
            for server in [ first; second ] do
                (server :> IDisposable).Dispose()

/// Before a server, as the address of a machine that hangs: takes connections and what comes over them, and answers nothing,
/// until it is opened. What came before that never gets to the server.
[<Sealed>]
type SilentHost(server: int) =
    let mutable isOpen = false

    let swallow (client: Net.Sockets.TcpClient) : Task<unit> =
        task {
            let bytes = Array.zeroCreate<byte> 4096
            let mutable goesOn = true

            try
                while goesOn do
                    let! length = client.GetStream().ReadAsync(bytes.AsMemory())
                    goesOn <- length > 0
            with
            | :? IOException
            | :? ObjectDisposedException -> ()

            client.Dispose()
        }

    let forward (client: Net.Sockets.TcpClient) : Task<unit> =
        task {
            let upstream = new Net.Sockets.TcpClient(NoDelay = true)
            do! upstream.ConnectAsync(Net.IPAddress.Loopback, server)
            let toServer, toClient = upstream.GetStream(), client.GetStream()
            let free (_: byte array) = Task.CompletedTask
            let! _ = Task.WhenAll(pump toClient toServer free, pump toServer toClient free)
            ()
        }

    let serve (client: Net.Sockets.TcpClient) : Task<unit> =
        if Volatile.Read &isOpen then forward client else swallow client

    let relay = new Relay(serve)
    member _.Port = relay.Port

    /// Whoever connects from now on is at the server.
    member _.Open() = Volatile.Write(&isOpen, true)

    interface IDisposable with
        member _.Dispose() = (relay :> IDisposable).Dispose()

/// pgbouncer before a server: each transaction gets one of a few connections.
[<Sealed>]
type PgBouncer(server: PostgresServer) =
    let folder = ownFolder ()
    let port = freePort ()
    let file = Path.Combine(folder, "pgbouncer.ini")

    do
        File.WriteAllLines(
            file,
            [ "[databases]"
              $"* = host=127.0.0.1 port={server.Port} user=postgres"
              "[pgbouncer]"
              "listen_addr = 127.0.0.1"
              $"listen_port = {port}"
              $"unix_socket_dir = {folder}"
              "auth_type = any"
              "pool_mode = transaction"
              "default_pool_size = 3"
              "max_client_conn = 500" ]
        )

        giveToServer file

    let started =
        let program = if File.Exists "/usr/sbin/pgbouncer" then "/usr/sbin/pgbouncer" else "pgbouncer"
        let started = launch program [ file ]
        started.OutputDataReceived.Add ignore
        started.ErrorDataReceived.Add ignore
        started.BeginOutputReadLine()
        started.BeginErrorReadLine()
        started

    do
        let clock = Stopwatch.StartNew()
        let mutable isUp = false

        while not isUp do
            if started.HasExited || clock.Elapsed > TimeSpan.FromSeconds 20L then
                failwithf "pgbouncer does not start on port %d" port

            try
                use client = new Net.Sockets.TcpClient()
                client.Connect(Net.IPAddress.Loopback, port)
                isUp <- true
            with :? Net.Sockets.SocketException ->
                Thread.Sleep 20

    member _.Address = $"Host=127.0.0.1;Port={port};Username=postgres;Database=postgres"

    interface IDisposable with
        member _.Dispose() =
            started.Kill()
            started.WaitForExit()
            started.Dispose()
            Directory.Delete(folder, true)
