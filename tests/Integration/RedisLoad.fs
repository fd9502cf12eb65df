/// A load of sessions that are used and logged out while something happens to the servers, and what is left of it.
module Integration.RedisLoad

open System
open System.Collections.Concurrent
open System.Diagnostics
open System.Threading
open System.Threading.Tasks
open Expecto
open Integration.Engines
open Integration.RedisServer
open Integration.World
open Integration.RedisWorld
open Session.Domain
open Session.Engine
open Session.Stores.Redis

/// Sign-ins and logouts under load while `disturb` runs; the logouts that were acknowledged, and how long nothing worked.
let underLoad (store: ISessionStore) (disturb: unit -> Task<unit>) =
    task {
        let engine = engine store
        use stop = new CancellationTokenSource()
        let loggedOut = ConcurrentQueue<string>()
        let kept = ConcurrentQueue<string>()
        let failures = ConcurrentQueue<SessionError>()
        let mutable lastGood = Stopwatch.GetTimestamp()
        let mutable longest = TimeSpan.Zero
        let gate = Lock()

        let good () =
            lock gate (fun () ->
                longest <- max longest (Stopwatch.GetElapsedTime lastGood)
                lastGood <- Stopwatch.GetTimestamp())

        let client n =
            task {
                let mutable i = 0

                while not stop.IsCancellationRequested do
                    i <- i + 1
                    let! created = engine.Create(Token.newId, Some $"user-{n}-{i}", [| 1uy |], none)

                    match created with
                    | Error error ->
                        failures.Enqueue error
                        do! Task.Delay 20
                    | Ok opened ->
                        let token = opened.Issued.Value.Reveal()

                        if i % 2 = 0 then
                            let! ended = engine.SignOut(opened, none)

                            match ended with
                            | Ok _ ->
                                loggedOut.Enqueue token
                                good ()
                            | Error error -> failures.Enqueue error
                        else
                            kept.Enqueue token
            }

        let running = [ for n in 1..8 -> Task.Run<unit>(fun () -> client n) ]
        let started = Stopwatch.StartNew()

        // A busy machine needs its time until work goes through.
        while loggedOut.Count < 20 && started.Elapsed < TimeSpan.FromSeconds 30L do
            do! Task.Delay 100

        lock gate (fun () ->
            lastGood <- Stopwatch.GetTimestamp()
            longest <- TimeSpan.Zero)

        do! disturb ()
        // Until work is done again, and a little more.
        do! Task.Delay 3000
        stop.Cancel()
        let! _ = Task.WhenAll running
        return engine, List.ofSeq loggedOut, List.ofSeq kept, List.ofSeq failures, longest
    }

/// How many of these tokens open a session, once that can be said.
let judge (engine: SessionEngine) (loggedOut: string list) =
    task {
        let mutable undead = 0

        for token in loggedOut do
            let mutable answer = Error(SessionError.Unavailable(TimeoutException()))
            let mutable tries = 0

            while (match answer with
                   | Error error -> isUnavailable error
                   | Ok _ -> false)
                  && tries < 50 do
                tries <- tries + 1

                // A connection that is made anew takes a moment.
                if tries > 1 then
                    do! Task.Delay 100

                let! found = present engine token
                answer <- found

            if answer.IsOk then
                undead <- undead + 1

        return undead
    }

/// Why these tokens open nothing, of those that do not.
let refusals (engine: SessionEngine) (tokens: string list) =
    task {
        let found = Collections.Generic.List<string>()

        for token in tokens do
            match! present engine token with
            | Error error -> found.Add $"{Http.idOf token}: {error}"
            | Ok _ -> ()

        return String.concat "; " (Seq.truncate 10 found)
    }

/// How long this machine let its programs stand still meanwhile, all in all: a busy one is late with everything.
let lateness (isOver: CancellationToken) : Task<TimeSpan> =
    task {
        let step = TimeSpan.FromMilliseconds 20L
        let mutable late = TimeSpan.Zero

        while not isOver.IsCancellationRequested do
            let started = Stopwatch.GetTimestamp()
            do! Task.Delay step
            // A timer's own coarseness is none.
            let over = Stopwatch.GetElapsedTime started - step
            late <- late + max TimeSpan.Zero (over - TimeSpan.FromMilliseconds 5L)

        return late
    }

/// Reads a session over and over: how long it was not to be had. Nothing but "unavailable" may come in between.
let longestWait (engine: SessionEngine) (isOver: CancellationToken) (token: string) : Task<TimeSpan> =
    task {
        let mutable last = Stopwatch.GetTimestamp()
        let mutable longest = TimeSpan.Zero

        while not isOver.IsCancellationRequested do
            match! present engine token with
            | Ok _ ->
                longest <- max longest (Stopwatch.GetElapsedTime last)
                last <- Stopwatch.GetTimestamp()
            | Error(SessionError.Unavailable _) -> ()
            | Error error -> failtestf "logged out by a failover: %A" error

            do! Task.Delay 50

        return max longest (Stopwatch.GetElapsedTime last)
    }
