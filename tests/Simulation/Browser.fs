/// A browser: one cookie jar, several requests at once, answers in any order, some of them lost. And a thief, who has
/// tokens of others, guesses, and plants his own.
module Simulation.Browser

open System
open System.Collections.Generic
open System.Threading
open System.Threading.Tasks
open Microsoft.AspNetCore.Http
open Session.Domain
open Simulation.Scheduler
open Simulation.Words
open Simulation.Judge
open Simulation.Network
open Simulation.Node
open Simulation.Verdicts

/// What the handler of one request does.
type Step =
    | Do of Kind
    /// At once.
    | Both of Kind list
    | Pause of TimeSpan

let private mostPatience = TimeSpan.FromMinutes 4L

[<Sealed>]
type Browser(number: int, scheduler: Scheduler, nodes: Node array, weather: Weather, setup: Setup, judge: Judge) =
    let mutable jar: Token option = None
    let mutable outstanding = 0
    // Which headers with a cookie came, by the order in which they were written.
    let mutable written, newest = 0, 0
    let sessions = HashSet<string>(StringComparer.Ordinal)
    // The one that it was given last: what its jar is for.
    let mutable home: string option = None

    let show (token: Token) =
        match judge.Find token.Id with
        | null -> "a token of no session"
        | known ->
            match known.Keys.TryGetValue token.Hash with
            | true, key -> $"token {key.Number} of {known.Name}"
            | false, _ -> $"a guess for {known.Name}"

    /// The token died in the very moment in which the headers were written, or nobody could ask.
    let isCrossed cookie =
        match cookie with
        | Untouched -> false
        // That the client has gone on is written down for such answers, and this may have failed.
        | Cleared -> weather.Faults > 0
        | Handed token ->
            match (judge.Find token.Id).Keys.TryGetValue token.Hash with
            | true, key when key.DeadAt.IsSome ->
                weather.Faults > 0 || scheduler.Now - key.DeadAt.Value < TimeSpan.FromSeconds 3L
            | _ -> false

    member _.Number = number
    member _.Jar = jar
    member _.IsQuiet = outstanding = 0
    /// It sends nothing until then.
    member val RestsUntil = TimeSpan.Zero with get, set
    /// It may be without a working token, and no promise is broken: a thief was here, or an answer with a token was lost.
    member val IsTainted = false with get, set
    member _.Has(id: string) = sessions.Contains id

    /// A user who clears the cookies, or another one at the same browser.
    member browser.Forget() =
        jar <- None
        sessions.Clear()
        home <- None
        browser.IsTainted <- false

    member _.Plant(token: Token) = jar <- Some token

    /// The answer is there: what the browser keeps of it.
    member private browser.Take
        (visitor: Visitor, cookie: Cookie, order: int, isLate: bool, wasQuick: bool, wasLive: bool)
        =
        match cookie with
        | Untouched -> ()
        | Cleared
        | Handed _ ->
            if order < newest then
                scheduler.Tell $"  b{number} gets answers in another order than they were written in"
                browser.IsTainted <- true

            newest <- max newest order

        match cookie with
        | Untouched -> ()
        | Cleared ->
            scheduler.Tell $"  b{number} loses its cookie"

            // Whoever has gone on without a token may lose the new one to an answer that took less than a second: nothing in
            // the store joins the two.
            match jar with
            | Some token when wasQuick && not (visitor.Tokens |> List.exists (fun it -> it.Text = token.Text)) ->
                browser.IsTainted <- true
            | _ -> ()

            jar <- None

            if visitor.HasSignedOut then
                home <- None
        | Handed token ->
            scheduler.Tell $"  b{number} gets {show token}"
            jar <- Some token
            sessions.Add token.Id |> ignore

            // A renewal's token of what is over takes the place of one that opens: it should not have been handed out.
            if wasLive || List.contains token.Id visitor.Born then
                home <- Some token.Id

            if isLate then
                browser.IsTainted <- true

    /// Sends a request with what is in the jar, and perhaps a second cookie. `ended`: once it has its answer, or none.
    member browser.Send(script: Step list, planted: Token option, ended: Visitor -> int -> unit) =
        match nodes |> Array.filter _.IsUp with
        | [||] -> ()
        | up ->
            let node = scheduler.Pick up
            let tokens = Option.toList jar @ Option.toList planted |> List.distinctBy _.Text
            let cookies = tokens |> List.map (fun token -> $"{node.CookieName}={token.Text}")
            outstanding <- outstanding + 1
            let isOver = ref false

            let over (what: string) =
                if not isOver.Value then
                    isOver.Value <- true
                    outstanding <- outstanding - 1
                    scheduler.Tell $"  b{number} {what}"

            let travel () = scheduler.Milliseconds(setup.Least, setup.Most + 20)

            let kinds =
                script
                |> List.collect (fun step ->
                    match step with
                    | Do kind -> [ kind ]
                    | Both kinds -> kinds
                    | Pause _ -> [])

            let mayCarry = kinds |> List.exists (fun kind -> not (kind.IsLook || kind.IsReload || kind.IsSignOut))

            let lose what =
                if not isOver.Value then
                    over what
                    browser.IsTainted <- browser.IsTainted || mayCarry

            let serve (visitor: Visitor) (aborted: CancellationToken) : Task =
                task {
                    let place = node.Place

                    let work (perform: Kind -> Task) : Task =
                        task {
                            for step in script do
                                match step with
                                | Do kind -> do! perform kind
                                | Both kinds -> do! Task.WhenAll [| for kind in kinds -> perform kind |]
                                | Pause time -> do! place.Sleep time
                        }

                    let! status, cookie = node.Serve(visitor, cookies, work, aborted)

                    // From here on the browser alone.
                    let order =
                        match cookie with
                        | Untouched -> written
                        | Cleared
                        | Handed _ ->
                            written <- written + 1
                            written

                    browser.IsTainted <- browser.IsTainted || visitor.MayHaveLost || isCrossed cookie

                    let wasLive =
                        match cookie with
                        | Handed token -> (judge.Find token.Id).IsLive
                        | Untouched
                        | Cleared -> false

                    let wasQuick = scheduler.Now - visitor.ArrivedAt < TimeSpan.FromSeconds 1L
                    let isSlow = weather.Faults > 0 && scheduler.Chance 15
                    let delay = if isSlow then scheduler.Milliseconds(1000, 45_000) else travel ()

                    let isRenewal = visitor.Born.IsEmpty && not mayCarry

                    if scheduler.Chance(min 20 weather.Faults) then
                        scheduler.After(
                            delay,
                            fun () ->
                                over $"never gets the answer to r{visitor.Number}"
                                browser.IsTainted <- browser.IsTainted || (cookie.IsHanded && not isRenewal)
                        )
                        |> ignore
                    else
                        scheduler.After(
                            delay,
                            fun () ->
                                if not isOver.Value then
                                    over $"gets the answer to r{visitor.Number}: {status}"

                                    browser.Take(
                                        visitor,
                                        cookie,
                                        order,
                                        delay > TimeSpan.FromSeconds 8L,
                                        wasQuick,
                                        wasLive
                                    )

                                    ended visitor status
                        )
                        |> ignore
                }

            scheduler.After(
                travel (),
                fun () ->
                    if not node.IsUp then
                        over "finds the node gone"
                    else
                        let visitor = arrived judge number tokens
                        let with' = tokens |> List.map show |> String.concat " and "
                        let what = kinds |> List.map nameOf |> String.concat ", "

                        scheduler.Tell
                            $"  r{visitor.Number} of b{number} reaches {node.Place.Name} with [{with'}]: {what}"

                        let hangUp = new CancellationTokenSource()
                        let place = node.Place

                        node.InFlight.Add(fun () ->
                            visitor.IsOver <- true
                            lose "gets no answer: the node crashed")

                        let patience = if setup.Hasty then 6000 else 2000

                        if weather.Faults > 0 && scheduler.Chance(if setup.Hasty then 100 else 10) then
                            scheduler.After(
                                scheduler.Milliseconds(1, patience),
                                fun () ->
                                    lose $"hangs up on r{visitor.Number}"
                                    place.Enter hangUp.Cancel
                            )
                            |> ignore

                        scheduler.After(
                            mostPatience,
                            fun () ->
                                judge.Must(
                                    $"18 request {visitor.Number} never gets its answer",
                                    isOver.Value || not place.IsAlive
                                )
                        )
                        |> ignore

                        place.Start(fun () -> serve visitor hangUp.Token)
            )
            |> ignore

    /// With every answer there the jar opens a session that this browser has, if one of them lives.
    member browser.CheckJar() =
        let isLive (id: string) =
            let known = judge.Find id

            known.IsLive
            && (match Lifecycle.deadline judge.Policy known.State with
                | ValueSome(struct (_, at)) -> at > scheduler.Time + judge.Slack + TimeSpan.FromSeconds 5L
                | ValueNone -> false)

        match jar, home with
        | _, None -> ()
        | None, Some id ->
            judge.Must($"17 browser {number} has no token of {judge.NameOf id}, which lives", not (isLive id))
        | Some token, Some id when isLive id ->
            let opens =
                token.Id = id
                && (match (judge.Find id).Keys.TryGetValue token.Hash with
                    | true, key -> key.DeadAt.IsNone
                    | false, _ -> false)

            judge.Must($"17 the jar of browser {number} has {show token}, which does not open {judge.NameOf id}", opens)
        | Some _, Some _ -> ()
