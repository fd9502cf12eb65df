/// A node: the shipped services, middleware, requests and sweeper, on the simulated network; until it crashes.
module Simulation.Node

open System
open System.Collections.Generic
open System.Threading
open System.Threading.Tasks
open Microsoft.AspNetCore.Http
open Microsoft.Extensions.DependencyInjection
open Session.Domain
open Session.Engine
open Session.AspNetCore
open Simulation.Scheduler
open Simulation.Words
open Simulation.Judge
open Simulation.Network
open Simulation.Verdicts

let private none = CancellationToken.None

/// What the application says of an operation's outcome.
let private toldBy (answer: Result<'a, SessionError>) =
    match answer with
    | Ok _ -> Done
    // Stored, and ended at once by those who signed in meanwhile.
    | Error(SessionError.LimitExceeded _) -> Unsure
    | Error error ->
        match SessionError.outcome error with
        | NothingChanged -> Refused
        | MayHaveChanged -> Told.Unsure
        | Changed -> Partly

[<Sealed>]
type Node
    (
        number: int,
        scheduler: Scheduler,
        server: Server,
        weather: Weather,
        setup: Setup,
        judge: Judge,
        newId: unit -> string
    ) as node =
    let mutable place = Place(scheduler, $"node {number}")
    let mutable provider: ServiceProvider = Unchecked.defaultof<_>
    let mutable service: SessionService<Cart> = Unchecked.defaultof<_>
    let mutable skew = TimeSpan.Zero

    let inFlight = List<unit -> unit>()

    /// Handlers of the application: most do their work; some throw, never end, take their time, or call the library.
    let handle (notice: Notice) : Task =
        task {
            let at = place
            let name = judge.NameOf notice.Id
            let isStormy = weather.Faults > 0
            let chance share = isStormy && scheduler.Chance share

            match author.Value with
            | null -> ()
            | visitor -> visitor.Handlers <- visitor.Handlers + 1

            match notice.Kind, judge.Find notice.Id with
            | DestroyedNotice _, known when not (isNull known) ->
                known.EndsTold <- known.EndsTold + 1
                judge.Must($"8 the end of {name} is told twice", known.EndsTold = 1)
                judge.Must($"18 the end of {name} is told, and it lives", not known.IsLive)
            | ExpiredNotice _, known when not (isNull known) ->
                judge.Must($"18 the end of {name} is told, and it lives", not known.IsLive)
            | _ -> ()

            if chance setup.Throws then
                scheduler.Tell $"    {at.Name} the handler of {name} throws"
                invalidOp "a handler of the application"

            if chance setup.Hangs then
                scheduler.Tell $"    {at.Name} the handler of {name} never ends"
                do! TaskCompletionSource().Task

            if chance setup.Hangs then
                do! at.Sleep(scheduler.Milliseconds(100, 30_000))

            if chance setup.CallsBack && notice.Id <> "" then
                let kind = if scheduler.Chance 500 then AddTo notice.Id else End notice.Id
                do! node.Operate kind

            match notice.Kind, judge.Find notice.Id with
            | ExpiredNotice _, known when not (isNull known) -> known.Heard <- known.Heard + 1
            | _ -> ()
        }

    let settings =
        { setup.Settings with
            GenerateId = Some(fun _ -> newId ())
            OnNotice = fun notice -> Some(fun _ -> handle notice) }

    let sweep (place: Place) : Task =
        task {
            let service = service

            while true do
                do! place.Sleep(settings.SweepInterval * (0.8 + 0.4 * scheduler.Random.NextDouble()))
                let began = scheduler.Now

                try
                    let mutable handled = 20

                    while handled = 20 do
                        let! count = service.Engine.Sweep(20, none)
                        handled <- count
                with _ ->
                    scheduler.Tell $"    {place.Name} the sweep fails"

                judge.Must($"8 {place.Name} swept for an hour", scheduler.Now - began < TimeSpan.FromMinutes 20L)
        }

    member _.Number = number
    member _.IsUp = place.IsAlive && not (isNull (box provider))
    member _.Place = place
    member _.Hasher = service.Engine.Hasher

    member _.Skew
        with get () = skew
        and set value = skew <- value

    /// A new process: nothing is left of the one before.
    member _.Boot() =
        place <- Place(scheduler, $"node {number}")
        let clock = Clock(place, (fun () -> skew))
        let timer = Clock(place, (fun () -> TimeSpan.Zero))
        let services = ServiceCollection()
        services.AddSingleton<TimeProvider> clock |> ignore
        services.AddSingleton(Surroundings(timer, scheduler.Random)) |> ignore
        let wire = Wire(place, server, weather, setup)

        (services
         |> SessionRegistration.add<Cart>
             (Func<IServiceProvider, SessionSettings>(fun _ -> settings))
             (Func<IServiceProvider, ISessionSerializer<Cart>>(fun _ -> serializer)))
            .UseStore(fun _ -> wire :> ISessionStore)
        |> ignore

        provider <- services.BuildServiceProvider()
        service <- provider.GetRequiredService<SessionService<Cart>>()
        service.IsMounted <- true
        let here = place
        here.Start(fun () -> sweep here)

    member _.Crash() =
        scheduler.Tell $"    {place.Name} crashes"
        place.IsAlive <- false

        for tell in List.ofSeq inFlight do
            tell ()

        inFlight.Clear()

    /// Who is told when it crashes.
    member _.InFlight = inFlight

    // ---------------------------------------------------------------------------------------- operations

    /// One that needs no request.
    member node.Operate(kind: Kind) : Task =
        task {
            let visitor = judge.Visit(0, [])
            author.Value <- visitor
            let op = judge.Begin(visitor, kind)
            scheduler.Tell $"    {place.Name} operation {op.Number}: the application {nameOf kind}"
            let engine = service.Engine

            let! told =
                task {
                    match kind with
                    | End id ->
                        let! ended = engine.Destroy(id, Revoked, none)
                        return toldBy ended
                    | EndAll subject ->
                        let! ended = engine.DestroyAll(subject, None, Revoked, none)
                        return toldBy ended
                    | EndEvery ->
                        let! ended = engine.DestroyEvery(Revoked, none)
                        return toldBy ended
                    | AddTo id ->
                        let add (cart: Cart option) = { Marks = (defaultArg cart { Marks = [] }).Marks @ [ op.Number ] }

                        match! service.UpdateById(id, add, none) with
                        | Ok(Some _) -> return Done
                        | Ok None -> return Refused
                        | Error error -> return toldBy (Error error)
                    | _ -> return Refused
                }

            scheduler.Tell $"    {place.Name} operation {op.Number}: {told}"
            answered judge setup scheduler.Time op told None None
            visitor.IsOver <- true
        }

    /// One of a request.
    member private _.Perform(visitor: Visitor, context: HttpContext, kind: Kind) : Task =
        task {
            let op = judge.Begin(visitor, kind)
            let request = RequestSession.find<Cart> context
            scheduler.Tell $"  r{visitor.Number} operation {op.Number}: {nameOf kind}"
            let began = scheduler.Now
            visitor.Begun <- visitor.Begun + 1
            visitor.IsElevating <- visitor.IsElevating || kind.IsElevate || kind.IsSignIn

            if visitor.Running = 0 then
                visitor.BusySince <- began

            visitor.Running <- visitor.Running + 1
            let isFirst, begun = visitor.Running = 1, visitor.Begun
            let marks (cart: Cart) = Some cart.Marks

            let adding (cart: Cart option) =
                { Marks =
                    (match cart with
                     | None -> []
                     | Some cart -> cart.Marks)
                    @ [ op.Number ] }

            let! told, read =
                task {
                    try
                        match kind with
                        | Look ->
                            let! found = Session.tryGet<Cart> context
                            return Done, found |> Option.bind marks
                        | Add ->
                            let! answer = Session.update adding context

                            return
                                toldBy answer,
                                (match answer with
                                 | Ok cart -> marks cart
                                 | Error _ -> None)
                        | Save ->
                            let! found = Session.tryGet<Cart> context
                            let! answer = Session.save (adding found) context

                            return
                                toldBy answer,
                                (match answer with
                                 | Ok cart -> marks cart
                                 | Error _ -> None)
                        | Begin ->
                            let! answer = Session.create { Marks = [ op.Number ] } context
                            return toldBy answer, None
                        | SignIn subject ->
                            let! answer = Session.signIn subject { Marks = [ op.Number ] } context
                            return toldBy answer, None
                        | Elevate ->
                            let! answer = Session.regenerate<Cart> context
                            return toldBy answer, None
                        | SignOut ->
                            let! answer = Session.destroy<Cart> context
                            return toldBy answer, None
                        | Reload ->
                            let! answer = Session.reload<Cart> context

                            return
                                toldBy answer,
                                (match answer with
                                 | Ok(Some cart) -> marks cart
                                 | _ -> None)
                        | AddTo _
                        | End _
                        | EndAll _
                        | EndEvery -> return Refused, None
                    with
                    | :? SessionFailedException
                    | :? OperationCanceledException -> return Refused, None
                }

            let session =
                match request.Id with
                | None -> "no session"
                | Some id -> judge.NameOf id

            scheduler.Tell $"  r{visitor.Number} operation {op.Number}: {told}, {session}"
            visitor.Running <- visitor.Running - 1

            if visitor.Running = 0 then
                visitor.Busy <- visitor.Busy + (scheduler.Now - visitor.BusySince)
            // Another call of the same request may have gone on to another session meanwhile.
            let isAlone = isFirst && begun = visitor.Begun
            answered judge setup scheduler.Time op told request.Id (if isAlone then read else None)

            if op.Kind.IsSignOut && (told = Done || told = Partly) then
                visitor.HasSignedOut <- true

            if told = Told.Unsure || told = Partly then
                visitor.MayHaveLost <- true

            judge.Must(
                $"18 operation {op.Number} of request {visitor.Number} took {scheduler.Now - began}",
                scheduler.Now - began < TimeSpan.FromMinutes 3L
            )
        }

    /// A request, to the end of its headers: the status and what becomes of the browser's cookie.
    member node.Serve
        (visitor: Visitor, cookies: string list, work: (Kind -> Task) -> Task, aborted: CancellationToken)
        : Task<int * Cookie> =
        task {
            author.Value <- visitor
            let context, response = Http.contextOf provider cookies aborted
            let perform kind = node.Perform(visitor, context, kind)
            let middleware = SessionMiddleware<Cart>(RequestDelegate(fun _ -> work perform), service)
            do! middleware.Invoke context

            if not response.HasStarted then
                do! response.Start()

            // One deadline for all that it waits for. The handlers have their own; a sign-in waits for each session that makes
            // room for it.
            let most =
                settings.RequestTimeout + settings.EventTimeout * float visitor.Handlers + TimeSpan.FromSeconds 2L

            let isSignIn = judge.Ops.Exists(fun op -> obj.ReferenceEquals(op.Visitor, visitor) && op.Kind.IsSignIn)

            judge.Must(
                $"18 request {visitor.Number} has waited {visitor.Busy}, and may wait {most}",
                isSignIn || visitor.Busy <= most
            )

            let request = RequestSession.find<Cart> context

            match request.Origin, visitor.Tokens with
            | Origin.Resumed, [ token ] ->
                visitor.IsLetIn <- true
                letIn judge setup visitor token
            | Origin.Resumed, _ -> judge.Fail $"11 request {visitor.Number} was let in without a token, or with two"
            | _ -> ()

            let cookie = node.CookieOf response
            handed judge visitor cookie
            visitor.IsOver <- true
            return response.Status, cookie
        }

    member private _.CookieOf(response: Http.Response) =
        let name = service.Transport.CookieName + "="

        let ours =
            [ for cookie in response.Headers.SetCookie do
                  match cookie with
                  | null -> ()
                  | cookie when cookie.StartsWith(name, StringComparison.Ordinal) ->
                      cookie.Substring(name.Length).Split(';')[0]
                  | _ -> () ]

        match ours with
        | [] -> Untouched
        | [ "" ] -> Cleared
        | [ text ] -> Handed(node.Parse text)
        | _ ->
            judge.Fail "17 a response sets the cookie twice"
            Untouched

    member _.Parse(text: string) : Token =
        match Token.tryParse service.Engine.Hasher (text.AsSpan()) with
        | ValueSome token -> { Text = text; Id = token.Id; Hash = token.Hash }
        | ValueNone -> { Text = text; Id = ""; Hash = Unchecked.defaultof<SecretHash> }

    member _.CookieName = service.Transport.CookieName
