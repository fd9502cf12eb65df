/// One hour of a fleet from one seed: how it is set up, what happens when, and what has to be true of it all the time.
module Simulation.World

open System
open System.Collections.Generic
open System.Threading.Tasks
open Session.Domain
open Session.Engine
open Session.AspNetCore
open Simulation.Scheduler
open Simulation.Words
open Simulation.Judge
open Simulation.Network
open Simulation.Node
open Simulation.Browser

let private seconds (n: int) = TimeSpan.FromSeconds(int64 n)
let private minutes (n: int) = TimeSpan.FromMinutes(int64 n)

let private setupOf seed (scheduler: Scheduler) : Setup =
    let pick items = scheduler.Pick items
    let limit = pick [| None; None; Some 1; Some 2; Some 3 |]
    let refuses = limit.IsSome && scheduler.Chance 400
    let least, most = pick [| 0, 0; 1, 5; 1, 5; 2, 60; 10, 400 |]

    { Nodes = 2 + scheduler.Below 3
      Browsers = 3 + scheduler.Below 4
      // Where a limit refuses, sign-ins of a subject take turns by its hash, which is another one in each process.
      Subjects = if refuses then [| "ada" |] else pick [| [| "ada" |]; [| "ada"; "bob" |] |]
      Settings =
        { SessionSettings.defaults with
            IdleTimeout = minutes (pick [| 4; 8; 12 |])
            AbsoluteTimeout = minutes (pick [| 15; 25; 40 |])
            ConfirmTimeout = Some(minutes (pick [| 2; 4 |]))
            RotateEvery = pick [| None; Some(minutes 1); Some(minutes 2); Some(minutes 4) |]
            RotationGrace = seconds (pick [| 20; 30; 45 |])
            TombstoneRetention = minutes (pick [| 2; 10 |])
            OnReplay = pick [| DestroySession; DestroySession; RefuseToken |]
            MaxSessionsPerSubject = limit
            WhenLimitReached = (if refuses then RefuseNew else EndOldest) }
      Skew = pick [| TimeSpan.Zero; seconds 1; seconds 6 |]
      Steps = scheduler.Chance 500
      Least = least
      Most = most
      Faults = pick [| 0; 5; 20; 60 |]
      Crashes = scheduler.Chance 500
      Thief = scheduler.Chance 500
      Throws = pick [| 0; 100 |]
      Hangs = pick [| 0; 0; 60 |]
      CallsBack = pick [| 0; 100 |]
      InOrder = scheduler.Chance 300
      // By the seed, and not by chance: what the other seeds tell stays as it was.
      Hasty = List.contains (seed % 10) [ 0; 5; 7; 8; 9 ] }

[<Sealed>]
type private World(seed: int, scheduler: Scheduler) =
    let setup = setupOf seed scheduler
    let judge = Judge(scheduler, setup)
    let server = Server judge
    let weather = Weather()
    let mutable ids, isCalm, isEnd = 0, false, false

    let newId () =
        ids <- ids + 1
        $"session-{ids}"

    let nodes = [| for n in 1 .. setup.Nodes -> Node(n, scheduler, server, weather, setup, judge, newId) |]
    let browsers = [| for n in 1 .. setup.Browsers -> Browser(n, scheduler, nodes, weather, setup, judge) |]
    let thief = Browser(99, scheduler, nodes, weather, setup, judge)
    let stolen = List<Token>()

    /// Again and again, with pauses, until the hour is over. Not while it is calm.
    let rec often least most (action: unit -> unit) =
        scheduler.After(
            scheduler.Milliseconds(least * 1000, most * 1000),
            fun () ->
                if not isEnd then
                    if not isCalm then
                        action ()

                    often least most action
        )
        |> ignore

    let kind () =
        let n = scheduler.Below 100

        if n < 30 then Look
        elif n < 56 then Add
        elif n < 64 then Save
        elif n < 74 then SignIn(scheduler.Pick setup.Subjects)
        elif n < 82 then Elevate
        elif n < 87 then SignOut
        elif n < 90 then Begin
        else Reload

    let noSave kind = if kind = Save || kind = Begin then Add else kind

    let script () =
        [ match scheduler.Below 10 with
          // What is saved was computed from what was read before: not while another call of the request writes.
          | 0 -> Both [ noSave (kind ()); noSave (kind ()) ]
          | 1 ->
              Do(kind ())
              Pause(scheduler.Milliseconds(10, 60_000))
              Do(kind ())
          | 2 ->
              Pause(scheduler.Milliseconds(10, 90_000))
              Do(kind ())
          | 3 ->
              Do(kind ())
              Do(kind ())
          | 4 -> Both [ Add; Add; noSave (kind ()) ]
          | _ -> Do(kind ()) ]

    let noEnd _ _ = ()

    /// Rests until the last seconds of its session, and comes back then.
    let linger (browser: Browser) =
        let deadline =
            match browser.Jar with
            | None -> ValueNone
            | Some token ->
                match judge.Find token.Id with
                | null -> ValueNone
                | known -> Lifecycle.deadline judge.Policy known.State

        match deadline with
        | ValueNone -> ()
        | ValueSome(struct (_, at)) ->
            let pause = at - scheduler.Time - scheduler.Milliseconds(0, 4000)

            if pause > TimeSpan.Zero then
                browser.RestsUntil <- scheduler.Now + pause

                scheduler.After(
                    pause,
                    fun () ->
                        if not isCalm && not isEnd then
                            browser.Send([ Do(noSave (kind ())) ], None, noEnd)
                )
                |> ignore

    let surfs (browser: Browser) =
        if browser.IsQuiet then
            if browser.IsTainted || scheduler.Chance 20 then browser.Forget() else browser.CheckJar()

        match browser.Jar with
        | Some token when setup.Thief && scheduler.Chance 50 -> stolen.Add token
        | _ -> ()

        for _ in 0 .. scheduler.Pick [| 0; 0; 0; 1; 1; 2; 3 |] do
            if scheduler.Chance 700 then
                browser.Send(script (), None, noEnd)
            else
                scheduler.After(
                    scheduler.Milliseconds(1, 3000),
                    fun () ->
                        if not isCalm then
                            browser.Send(script (), None, noEnd)
                )
                |> ignore

    let surf (browser: Browser) =
        if scheduler.Now >= browser.RestsUntil then
            if setup.Hasty && browser.IsQuiet && scheduler.Chance 100 then linger browser else surfs browser

    let taint (token: Token) =
        for browser in browsers do
            if browser.Has token.Id then
                browser.IsTainted <- true

    let steal () =
        match scheduler.Below 4 with
        | 0 when stolen.Count > 0 ->
            let token = stolen[scheduler.Below stolen.Count]
            taint token
            thief.Plant token
            thief.Send(script (), None, noEnd)
        | 1 when judge.Sessions.Count > 0 ->
            // A guess: an id is no secret.
            let bytes = Array.zeroCreate<byte> 32
            scheduler.Random.NextBytes bytes
            let id = judge.Sessions[scheduler.Below judge.Sessions.Count].Id
            let text = $"{id}.{Buffers.Text.Base64Url.EncodeToString(ReadOnlySpan<byte> bytes)}"
            thief.Plant(nodes[0].Parse text)
            thief.Send([ Do(kind ()) ], None, noEnd)
        | 2 ->
            thief.Forget()
            thief.Send([ Do Add ], None, noEnd)
        | _ ->
            match thief.Jar with
            | None -> ()
            | Some token ->
                let victim = scheduler.Pick browsers
                victim.IsTainted <- true

                if scheduler.Chance 500 then
                    victim.Plant token
                    victim.Send([ Do(SignIn(scheduler.Pick setup.Subjects)) ], None, noEnd)
                else
                    victim.Send([ Do(scheduler.Pick [| SignOut; Look; SignIn setup.Subjects[0] |]) ], Some token, noEnd)

    let operate () =
        match nodes |> Array.filter _.IsUp with
        | [||] -> ()
        | up ->
            let node = scheduler.Pick up
            let some () = judge.Sessions[scheduler.Below judge.Sessions.Count].Id

            let kind =
                match scheduler.Below 12 with
                | 0 -> EndEvery
                | n when n < 4 -> EndAll(scheduler.Pick setup.Subjects)
                | n when n < 8 && judge.Sessions.Count > 0 -> End(some ())
                | _ when judge.Sessions.Count > 0 -> AddTo(some ())
                | _ -> EndAll setup.Subjects[0]

            node.Place.Start(fun () -> node.Operate kind)

    let step () =
        for node in nodes do
            let most = int setup.Skew.TotalMilliseconds

            if most > 0 then
                node.Skew <- TimeSpan.FromMilliseconds(float (scheduler.Below(2 * most + 1) - most))

    let crash () =
        let node = scheduler.Pick nodes

        if node.IsUp then
            node.Crash()

            scheduler.After(
                scheduler.Milliseconds(100, 60_000),
                fun () ->
                    node.Boot()
                    scheduler.Tell $"    {node.Place.Name} is back"
            )
            |> ignore

    let outage () =
        weather.IsDown <- true
        scheduler.Tell "  the store is down"

        scheduler.After(
            scheduler.Milliseconds(500, 40_000),
            fun () ->
                weather.IsDown <- false
                scheduler.Tell "  the store is back"
        )
        |> ignore

    let storm () =
        isCalm <- false
        weather.Faults <- setup.Faults
        scheduler.Tell "it storms"

    /// Everything works, and everybody has waited for it: nothing may fail any more.
    let audit (browser: Browser) =
        if browser.IsQuiet then
            if browser.IsTainted then browser.Forget() else browser.CheckJar()

            let expected =
                match browser.Jar with
                | None -> None
                | Some token ->
                    let known = judge.Find token.Id

                    match Lifecycle.deadline judge.Policy known.State with
                    | ValueSome(struct (_, at)) when
                        at > scheduler.Time + judge.Slack + seconds 10 && known.Keys[token.Hash].DeadAt.IsNone
                        ->
                        Some known
                    | _ -> None

            let isNew = browser.Jar.IsNone

            browser.Send(
                [ Do Look; Do Add ],
                None,
                fun visitor status ->
                    match expected with
                    | Some known when known.IsLive && not known.OverAt.IsSome ->
                        judge.Must(
                            $"10 browser {browser.Number} is not let in to {known.Name}, which lives",
                            visitor.IsLetIn
                        )

                        judge.Must($"10 browser {browser.Number} cannot write to {known.Name}", visitor.Done.Length = 2)
                    | _ when isNew ->
                        judge.Must(
                            $"10 browser {browser.Number} cannot begin a session",
                            visitor.Done.Length = 2 && status = 200
                        )
                    | _ -> ()
            )

    let calm () =
        isCalm <- true
        weather.Faults <- 0
        weather.IsDown <- false
        scheduler.Tell "it is calm"

    let rec seasons from =
        if from < minutes 60 then
            let stormy = scheduler.Milliseconds(240_000, 700_000)
            scheduler.After(from - scheduler.Now, storm) |> ignore

            scheduler.After(
                from + stormy - scheduler.Now,
                fun () ->
                    calm ()
                    scheduler.After(seconds 130, (fun () -> Array.iter audit browsers)) |> ignore
            )
            |> ignore

            seasons (from + stormy + seconds 140)

    member _.Judge = judge
    member _.Setup = setup

    member _.Run() =
        let s = setup.Settings

        scheduler.Tell
            $"{setup.Nodes} nodes, {setup.Browsers} browsers, idle {s.IdleTimeout}, absolute {s.AbsoluteTimeout}, limit {s.MaxSessionsPerSubject} {s.WhenLimitReached}, clocks {setup.Skew} off, store {setup.Least} to {setup.Most} ms, {setup.Faults} of 1000 calls fail"

        scheduler.RunsInOrder <- setup.InOrder
        step ()

        for node in nodes do
            node.Boot()

        for browser in browsers do
            often 1 (scheduler.Pick [| 20; 60; 200 |]) (fun () -> surf browser)

        often 60 240 operate

        if setup.Thief then
            often 20 120 steal

        if setup.Steps then
            often 30 300 step

        if setup.Crashes then
            often 60 400 crash

        if setup.Faults > 0 then
            often 200 900 outage

        seasons TimeSpan.Zero
        scheduler.RunUntil(minutes 60, judge.Check)
        calm ()
        isEnd <- true
        // Nobody comes any more: everything ends by itself, is told, and is forgotten.
        let rest = s.AbsoluteTimeout + s.TombstoneRetention + minutes 15
        scheduler.RunUntil(minutes 60 + rest, judge.Check)

        for known in judge.Sessions do
            judge.Must($"8 {known.Name} never ends", not known.IsLive)
            judge.Must($"8 {known.Name} is never forgotten", known.IsRemoved)

        judge.Check()

/// What became of a seed.
type Outcome =
    {
        Seed: int
        Steps: int
        Sessions: int
        Operations: int
        Hash: string
        /// What is broken, and the story up to there.
        Failure: (string * string list) option
    }

let run seed isKept =
    let scheduler = Scheduler(seed, isKept)
    let world = World(seed, scheduler)

    let failure =
        try
            world.Run()
            None
        with
        | Broken what -> Some(what, scheduler.Story.Lines)
        | error -> Some($"18 it crashes: {error}", scheduler.Story.Lines)

    { Seed = seed
      Steps = scheduler.Steps
      Sessions = world.Judge.Sessions.Count
      Operations = world.Judge.Ops.Count
      Hash = scheduler.Story.Hash
      Failure = failure }
