/// nginx as a cache in front of an application, with a folder and a port of its own. Stopped by its own id.
module Integration.Nginx

open System
open System.Diagnostics
open System.IO
open System.Net
open System.Net.Sockets
open System.Threading

let private program =
    [ "/usr/sbin/nginx"; "/usr/bin/nginx" ] |> List.tryFind File.Exists |> Option.defaultValue "nginx"

let private configuration folder port (server: Uri) =
    let temporary =
        [ for name in [ "client_body"; "proxy"; "fastcgi"; "uwsgi"; "scgi" ] -> $"  {name}_temp_path {folder}/{name};" ]

    String.Join(
        '\n',
        [ "daemon off;"
          "master_process off;"
          $"pid {folder}/nginx.pid;"
          $"error_log {folder}/error.log;"
          "events { worker_connections 64; }"
          "http {"
          "  access_log off;"
          yield! temporary
          $"  proxy_cache_path {folder}/cache keys_zone=answers:1m;"
          "  server {"
          $"    listen 127.0.0.1:{port};"
          "    location / {"
          $"      proxy_pass {server.ToString().TrimEnd '/'};"
          "      proxy_http_version 1.1;"
          "      proxy_cache answers;"
          // What says nothing is kept, too.
          "      proxy_cache_valid any 1m;"
          "      add_header X-Cache $upstream_cache_status always;"
          "    }"
          "  }"
          "}" ]
    )

[<Sealed>]
type Nginx(server: Uri) =
    let folder = Directory.CreateTempSubdirectory("session-nginx-").FullName
    let port = RedisServer.freePort ()
    let file = Path.Combine(folder, "nginx.conf")
    do File.WriteAllText(file, configuration folder port server)
    let running = RedisServer.launch program [ "-p"; folder; "-c"; file ]

    let isUp () =
        try
            use client = new TcpClient()
            client.Connect(IPAddress.Loopback, port)
            true
        with :? SocketException ->
            false

    do
        let clock = Stopwatch.StartNew()

        while not (isUp ()) do
            if running.HasExited || clock.Elapsed > TimeSpan.FromSeconds 20L then
                let log = Path.Combine(folder, "error.log")
                failwithf "nginx does not start: %s" (if File.Exists log then File.ReadAllText log else "no log")

            Thread.Sleep 20

    member _.Address = Uri $"http://127.0.0.1:{port}"

    interface IDisposable with
        member _.Dispose() =
            running.Kill true
            running.WaitForExit()
            running.Dispose()
            Directory.Delete(folder, true)
