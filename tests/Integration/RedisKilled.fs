/// kill -9 of a Redis server under load, started again on its file: which acknowledged logouts are undone, and how old they were.
module Integration.RedisKilled

open System
open System.Collections.Concurrent
open System.Diagnostics
open System.Threading
open System.Threading.Tasks
open Expecto
open Integration.RedisServer
open Integration.World
open Session.Domain
open Session.Engine

let private none = CancellationToken.None

/// Acknowledged logouts, how many of them a kill undid, and the age of the oldest of these when the server was killed.
let private kill appendfsync =
    task {
        use server = startOne [ "appendonly", "yes"; "appendfsync", appendfsync ]
        let store = openRedisAt (server.Address + ",connectRetry=3") "killed:" ignore
        let engine = Engines.engineOn store Engines.settings TimeProvider.System Engines.silent
        let ended = ConcurrentQueue<IssuedToken * int64>()
        let mutable isOver = false

        let client () =
            task {
                while not (Volatile.Read &isOver) do
                    match! engine.Create(Token.newId, Some "ann", [| 1uy |], none) with
                    | Ok opened ->
                        match! engine.SignOut(opened, none) with
                        | Ok _ -> ended.Enqueue((opened.Issued.Value, Stopwatch.GetTimestamp()))
                        | Error _ -> ()
                    | Error _ -> ()
            }
            :> Task

        let clients = [ for _ in 1..16 -> Task.Run(client) ]
        do! Task.Delay 3000
        let killedAt = Stopwatch.GetTimestamp()
        server.Kill()
        Volatile.Write(&isOver, true)
        do! Task.WhenAll clients
        server.Start()
        let clock = Stopwatch.StartNew()
        let mutable isUp = false

        while not isUp && clock.Elapsed < TimeSpan.FromSeconds 20L do
            let! created = engine.Create(Token.newId, None, [||], none)
            isUp <- created.IsOk

        Expect.isTrue isUp "it is back"
        let mutable undone, oldest = 0, TimeSpan.Zero

        for token, at in ended do
            match! engine.Present((Token.tryParse engine.Hasher (token.Reveal().AsSpan())).Value, true, none) with
            | Ok _ ->
                undone <- undone + 1
                oldest <- max oldest (Stopwatch.GetElapsedTime(at, killedAt))
            | Error(SessionError.Ended _)
            | Error SessionError.NoSession -> ()
            | Error error -> failtest (string error)

        do! (store :> IAsyncDisposable).DisposeAsync()

        printfn
            "appendfsync %s, server killed: of %d acknowledged logouts %d undone, the oldest %.0f ms before the kill"
            appendfsync
            ended.Count
            undone
            oldest.TotalMilliseconds

        return ended.Count, undone, oldest
    }

let all =
    testSequenced
    <| testList
        "redis, killed"
        [ testCaseTask "with appendfsync always a kill under load undoes no logout" (fun () ->
              task {
                  let! ended, undone, _ = kill "always"
                  Expect.isGreaterThan ended 100 "logouts"
                  Expect.equal undone 0 "undone"
              })

          // Redis writes each second, and waits for a slow disk for one more.
          testCaseTask
              "with appendfsync everysec a kill under load undoes the last seconds, and nothing older"
              (fun () ->
                  task {
                      let! ended, _, oldest = kill "everysec"
                      Expect.isGreaterThan ended 100 "logouts"
                      Expect.isLessThan oldest (TimeSpan.FromSeconds 3L) "the oldest"
                  }) ]
