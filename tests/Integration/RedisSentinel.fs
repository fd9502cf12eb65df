/// Behind Sentinel: an old primary that comes back takes nothing back, whatever had happened to it.
module Integration.RedisSentinel

open System
open System.Collections.Concurrent
open System.Diagnostics
open System.Net.Http
open System.Threading
open System.Threading.Tasks
open Expecto
open Integration.RedisFleet
open Integration.World
open Session.Engine
open Session.Stores.Redis

let private none = CancellationToken.None

/// SESSION_SENTINEL_ROUNDS: how many failovers of each kind.
let private rounds =
    match Environment.GetEnvironmentVariable "SESSION_SENTINEL_ROUNDS" with
    | null
    | "" -> 2
    | text -> int text

/// What the clients of a few users saw.
type private Seen =
    { LoggedOut: ConcurrentQueue<string>
      Kept: ConcurrentQueue<string>
      Undone: ConcurrentQueue<string>
      Replaced: ConcurrentQueue<string>
      Odd: ConcurrentQueue<string>
      Unavailable: ConcurrentQueue<int>
      Good: ConcurrentQueue<int64> }

let private nothing () =
    { LoggedOut = ConcurrentQueue()
      Kept = ConcurrentQueue()
      Undone = ConcurrentQueue()
      Replaced = ConcurrentQueue()
      Odd = ConcurrentQueue()
      Unavailable = ConcurrentQueue()
      Good = ConcurrentQueue() }

/// Of one answer to the bearer of a session that lives.
let private look (seen: Seen) (what: string) (token: string) (answer: Http.Answer) =
    if answer.Status = 503 then
        seen.Unavailable.Enqueue answer.Status
    elif answer.Status <> 200 then
        seen.Odd.Enqueue $"{what}: {answer.Status}"

    for line in answer.SetCookies do
        let value = (Http.parseSetCookie line).Value

        if value = "" || Http.idOf value <> Http.idOf token then
            seen.Replaced.Enqueue $"{what}: {answer.Status} {line}"

/// One browser after the other: signs in, fills a cart on both nodes, and logs out on one; the other has to know at once.
let private client (seen: Seen) (nodes: World array) (name: string) (isOver: CancellationToken) =
    task {
        let mutable i = 0

        while not isOver.IsCancellationRequested do
            i <- i + 1
            let node k = nodes[(i + k) % nodes.Length]
            let! first = (node 0).Post $"/login?user={name}-{i}"

            if first.Status <> 200 then
                seen.Unavailable.Enqueue first.Status

                if first.Status <> 503 then
                    seen.Odd.Enqueue $"sign-in: {first.Status}"

                do! Task.Delay 20
            else
                let token = Http.token first

                for k in 1..3 do
                    let! answer = (node k).Post($"/cart/{k}", token)
                    look seen "update" token answer
                    let! answer = (node (k + 1)).Get("/profile", token)
                    look seen "read" token answer

                if i % 4 = 0 then
                    seen.Kept.Enqueue token
                else
                    let! ended = (node 0).Post("/logout", token)

                    if ended.Status = 200 then
                        seen.Good.Enqueue(Stopwatch.GetTimestamp())
                        seen.LoggedOut.Enqueue token
                        let! after = (node 1).Get("/profile", token)

                        if after.Status = 200 then
                            seen.Undone.Enqueue token
                        elif after.Status <> 401 && after.Status <> 503 then
                            seen.Odd.Enqueue $"after the logout: {after.Status}"
                    else
                        seen.Unavailable.Enqueue ended.Status

                        if ended.Status <> 503 then
                            seen.Odd.Enqueue $"logout: {ended.Status}"
    }

/// The status that a token leads to, once it can be said.
let private truth (node: World) (token: string) =
    task {
        let clock = Stopwatch.StartNew()
        let mutable status = 503

        while status = 503 && clock.Elapsed < TimeSpan.FromSeconds 20L do
            let! found = node.Profile token
            status <- found

            if status = 503 then
                do! Task.Delay 50

        return status
    }

let private openAt (fleet: Fleet) prefix =
    openRedisAt (fleet.Configuration + ",connectTimeout=1000") prefix (fun options ->
        options.WaitForReplicas <- 1
        options.OperationTimeout <- TimeSpan.FromSeconds 1L)

/// The longest time without an acknowledged logout.
let private silence (seen: Seen) =
    seen.Good
    |> Seq.sort
    |> Seq.pairwise
    |> Seq.map Stopwatch.GetElapsedTime
    |> Seq.fold max TimeSpan.Zero

let private comesBack (name: string) (away: Member -> unit) (back: Member -> unit) =
    testCaseTask name (fun () ->
        task {
            use fleet = new Fleet()
            do! fleet.Settled()
            let prefix = "returns:"
            let stores = [| for _ in 1..2 -> openAt fleet prefix |]
            let! nodes = [| for store in stores -> start store ignore |] |> Task.WhenAll
            let seen = nothing ()

            for round in 1..rounds do
                let logouts = seen.LoggedOut.Count
                use isOver = new CancellationTokenSource()
                let from = seen.Good.Count

                let running =
                    [ for n in 1..6 -> Task.Run<unit>(fun () -> client seen nodes $"{round}-{n}" isOver.Token) ]

                do! eventually "logouts" (fun () -> seen.LoggedOut.Count > logouts + 10)
                let! primary = fleet.Named()
                let clock = Stopwatch.StartNew()
                away primary.Value
                do! fleet.FailedOver primary.Value
                let failover = clock.Elapsed
                // Work goes on with the new primary, and then the old one is there again.
                do! Task.Delay 500
                back primary.Value
                do! Task.Delay 3000
                do! fleet.Settled()
                do! Task.Delay 500
                isOver.Cancel()
                let! _ = Task.WhenAll running
                let quiet = silence { seen with Good = ConcurrentQueue(Seq.skip from seen.Good) }

                printfn
                    "%s, round %d: failover %.1f s, longest silence %.1f s, %d logouts so far, %d undone, %d cookies replaced, %d times 503"
                    (name.Substring(0, name.IndexOf " takes"))
                    round
                    failover.TotalSeconds
                    quiet.TotalSeconds
                    seen.LoggedOut.Count
                    seen.Undone.Count
                    seen.Replaced.Count
                    seen.Unavailable.Count

                Expect.isLessThan quiet (failover + TimeSpan.FromSeconds 3L) "logouts go through again soon"

            Expect.isEmpty (Seq.truncate 5 seen.Undone) "no logout was undone while it ran"
            Expect.isEmpty (Seq.truncate 5 seen.Replaced) "no cookie was replaced"
            Expect.isEmpty (Seq.truncate 5 seen.Odd) "nothing but 200, 401 after the end, and 503"

            for token in seen.LoggedOut do
                let! status = truth nodes[0] token

                Expect.equal status 401 "logged out for good"

            for token in seen.Kept do
                let! status = truth nodes[1] token
                Expect.equal status 200 "and nobody else is"

            for node in nodes do
                do! stop node

            for store in stores do
                do! (store :> IAsyncDisposable).DisposeAsync()
        })

let private returns =
    [ comesBack
          "an old primary that was killed and is started again takes nothing back: no logout is undone, no cookie replaced"
          _.Server.Kill()
          _.Server.Start()
      comesBack
          "an old primary that was stopped and goes on takes nothing back: no logout is undone, no cookie replaced"
          _.Server.Freeze()
          _.Server.Thaw()
      comesBack
          "an old primary that was cut off and is joined again takes nothing back: no logout is undone, no cookie replaced"
          _.Fence.Cut()
          _.Fence.Heal() ]

let all = testList "Redis behind Sentinel" returns
