/// What requests found in the simulation: each a short story of its own.
module Properties.Requesting

open System
open System.Threading
open System.Threading.Tasks
open Expecto
open Microsoft.Extensions.DependencyInjection
open Microsoft.Extensions.Logging.Abstractions
open Microsoft.Extensions.Time.Testing
open Session.Domain
open Session.Engine
open Session.AspNetCore
open Properties.Histories
open Properties.Sites

let private none = CancellationToken.None
let private add item (found: Basket option) = { Items = (defaultArg found { Items = [] }).Items @ [ item ] }

/// Does something else after a listing, before it is answered.
type private Meddling(inner: ISessionStore) =
    inherit ForwardingStore(inner)
    member val Meddle: unit -> Task = (fun () -> Task.CompletedTask) with get, set

    override store.BySubject(subject, after, limit, cancel) =
        ValueTask<StoredPage>(
            task =
                task {
                    let! page = inner.BySubject(subject, after, limit, cancel)
                    do! store.Meddle()
                    return page
                }
        )

/// Takes a minute for an insert, and fails what it is told to fail.
type private Slow(inner: ISessionStore, clock: FakeTimeProvider) =
    inherit ForwardingStore(inner)
    member val Fails = false with get, set

    override _.Insert(record, cancel) =
        clock.Advance(minutes 1)
        inner.Insert(record, cancel)

    override store.Replace(record, expected, cancel) =
        if store.Fails then raise (TimeoutException "no answer") else inner.Replace(record, expected, cancel)

let all =
    testList
        "requests"
        [ testTask "9 no lost update: what is read after an elevation is what is stored, and not what was read before" {
              let site = Site id
              let! _, cookie = site.SignIn()
              let mutable found: string list = []

              let! _ =
                  site.Send(
                      Some cookie,
                      fun context ->
                          task {
                              let! _ = Session.tryGet<Basket> context

                              let! _ =
                                  site.Send(
                                      Some cookie,
                                      fun other ->
                                          task {
                                              let! answer = Session.update (add "b") other
                                              Engines.ok answer |> ignore
                                          }
                                  )

                              let! elevated = Session.regenerate<Basket> context
                              Engines.ok elevated
                              let! data = Session.tryGet<Basket> context
                              let! saved = Session.save (add "c" data) context
                              found <- (Engines.ok saved).Items
                          }
                  )

              Expect.equal found [ "a"; "b"; "c" ] "all of them"
          }

          testTask
              "18 outcomes are true: where the store does not say whether it took the confirmation, nobody is told that there is no session" {
              let clock = FakeTimeProvider t0
              let store = Slow(MemoryStore(), clock)
              let site = Site(id, store)

              let! (first: Simulation.Http.Response) =
                  site.Send(
                      None,
                      fun context ->
                          task {
                              let! answer = Session.create basket context
                              Engines.ok answer |> ignore
                          }
                  )

              store.Fails <- true
              let mutable isToldNone = false

              let! (response: Simulation.Http.Response) =
                  site.Send(
                      Some((string first.Headers.SetCookie).Split(';')[0]),
                      fun context ->
                          task {
                              let! found = Session.tryGet<Basket> context
                              isToldNone <- found.IsNone
                          }
                  )

              Expect.equal (isToldNone, response.Status) (false, 503) "the answer"
          }

          testTask
              "17 no crossed answer: a slow answer to a sign-in does not hand out a token of what has ended meanwhile" {
              for seconds, handed in [ 0, true; 2, false ] do
                  let site = Site(id, MemoryStore(), true)

                  let! (response: Simulation.Http.Response) =
                      site.Send(
                          None,
                          fun context ->
                              task {
                                  let! answer = Session.signIn "ada" basket context
                                  Engines.ok answer |> ignore
                                  let! ended = site.Engine.DestroyAll("ada", None, Revoked, none)
                                  Expect.equal ended (Ok 1) "ended"
                                  site.Clock.Advance(TimeSpan.FromSeconds(int64 seconds))
                              }
                      )

                  Expect.equal (response.Headers.SetCookie.Count = 1) handed $"after {seconds} seconds"
          }

          testTask "events: the later one is told though the handler of the earlier one fails" {
              let told = ResizeArray<string>()

              let handle (event: SessionEvent<Basket>) (_: IServiceProvider) : Task =
                  match event with
                  | SessionEvent.SignedIn _ ->
                      told.Add "signed in"
                      Task.CompletedTask
                  | _ -> Task.FromException(InvalidOperationException "the mail server is down")

              let! _ = Site(SessionEvents.tell handle).SignIn()
              Expect.equal (List.ofSeq told) [ "signed in" ] "told"
              let! _ = Site(SessionEvents.tell handle >> SessionEvents.tell handle).SignIn()

              Expect.equal
                  (List.ofSeq told)
                  [ "signed in"; "signed in"; "signed in" ]
                  "by each handler, the others' failures aside"
          }

          testTask
              "events: what a request's read has brought about is told, whatever the operation throws that it was read for" {
              let told = ResizeArray<string>()

              let handle (event: SessionEvent<Basket>) (_: IServiceProvider) : Task =
                  told.Add(string event)
                  Task.CompletedTask

              let site = Site(SessionEvents.tell handle)
              let! _, cookie = site.SignIn()
              let! _ = site.Look cookie
              site.Clock.Advance(TimeSpan.FromMinutes 16L)
              let! _, header = site.Look cookie
              Expect.isNotEmpty header "renewed"
              told.Clear()

              let! _ =
                  site.Send(
                      Some(header.Split(';')[0]),
                      fun context ->
                          task {
                              try
                                  let! _ =
                                      Session.update<Basket>
                                          (fun _ -> raise (FormatException "of the application"))
                                          context

                                  failtest "it throws"
                              with :? FormatException ->
                                  ()
                          }
                  )

              Expect.exists told _.StartsWith("Regenerated (Renewal)") $"%A{List.ofSeq told}"
          }

          testTask
              "events: what is told again until it is heard is told to the next handler once, when the one before has heard it" {
              let told = ResizeArray<string>()
              let fails = ref true

              let first (_: SessionEvent<Basket>) (_: IServiceProvider) : Task =
                  if fails.Value then
                      Task.FromException(InvalidOperationException "the mail server is down")
                  else
                      told.Add "first"
                      Task.CompletedTask

              let second (_: SessionEvent<Basket>) (_: IServiceProvider) : Task =
                  told.Add "second"
                  Task.CompletedTask

              let settings = ref None

              let change before =
                  let after = before |> SessionEvents.tell first |> SessionEvents.tell second
                  settings.Value <- Some after
                  after

              let site = Site change

              let notice =
                  { Kind = ExpiredNotice Idle
                    Id = "a"
                    Subject = None
                    Data = [||]
                    At = site.Clock.GetUtcNow() }

              let tell () =
                  task {
                      try
                          do! (settings.Value.Value.OnNotice notice).Value site.Provider
                          return true
                      with :? InvalidOperationException ->
                          return false
                  }

              let! once = tell ()
              let! twice = tell ()
              Expect.equal (once, twice, told.Count) (false, false, 0) "it will be told again"
              fails.Value <- false
              let! atLast = tell ()
              Expect.isTrue atLast "told"
              Expect.equal (List.ofSeq told) [ "first"; "second" ] "once"
          }

          testTask "17 no crossed answer: a slow answer to a sign-in hands out the token of what lives" {
              let site = Site(id, MemoryStore(), true)

              let! (response: Simulation.Http.Response) =
                  site.Send(
                      None,
                      fun context ->
                          task {
                              let! answer = Session.signIn "ada" basket context
                              Engines.ok answer |> ignore
                              site.Clock.Advance(minutes 1)
                          }
                  )

              Expect.equal response.Headers.SetCookie.Count 1 "it is the only one"
          }

          testTask
              "17 no crossed answer: a slow answer about what time has ended does not take the cookie of a new session" {
              let site = Site(id, MemoryStore(), true)
              let! _, cookie = site.SignIn()

              let! (slow: Simulation.Http.Response) =
                  site.Send(
                      Some cookie,
                      fun context ->
                          task {
                              site.Clock.Advance SessionSettings.defaults.IdleTimeout
                              // Another answer takes the cookie, and the client begins anew without one: nothing in the
                              // store joins the two.
                              let! isLive, taken = site.Look cookie
                              Expect.equal (isLive, taken.Contains "max-age=0") (false, true) "taken at once"
                              let! _ = site.SignIn()
                              let! data = Session.tryGet<Basket> context
                              Expect.isNone data "over"
                          }
                  )

              Expect.equal slow.Headers.SetCookie.Count 0 "the slow one takes nothing"
          }

          testTask "17 no crossed answer: an answer about what time has ended leaves the cookie of whoever has gone on" {
              let site = Site(id, MemoryStore(), true)
              let! _, cookie = site.SignIn()
              site.Clock.Advance(SessionSettings.defaults.IdleTimeout + minutes 1)

              let! (late: Simulation.Http.Response) =
                  site.Send(
                      Some cookie,
                      fun context ->
                          task {
                              let! data = Session.tryGet<Basket> context
                              Expect.isNone data "over"

                              let! (begun: Simulation.Http.Response) =
                                  site.Send(
                                      Some cookie,
                                      fun other ->
                                          task {
                                              let! answer = Session.create basket other
                                              Engines.ok answer |> ignore
                                          }
                                  )

                              Expect.equal begun.Headers.SetCookie.Count 1 "a new session"
                          }
                  )

              Expect.equal late.Headers.SetCookie.Count 0 "its cookie stays"
          }

          testTask "15 destroy all is all: and leaves a session alone that somebody else has signed in to meanwhile" {
              let store = Meddling(MemoryStore())
              let engine = Engines.engineWith store Engines.settings
              let! created = engine.Create(Token.newId, Some "ada", [| 0uy |], none)
              let opened = Engines.ok created

              store.Meddle <-
                  fun () ->
                      task {
                          store.Meddle <- fun () -> Task.CompletedTask
                          let! answer = engine.SignIn(opened, "bob", [| 1uy |], none)
                          Engines.ok answer |> ignore
                      }

              let! ended = engine.DestroyAll("ada", None, Revoked, none)
              Expect.equal ended (Ok 0) "none of hers is left"
              let! (left: Result<Snapshot list, SessionError>) = engine.List("bob", none)
              Expect.equal (Engines.ok left).Length 1 "his lives"
          }

          testTask "what a store lists of a subject, and is another's, is none of theirs" {
              let memory = MemoryStore() :> ISessionStore

              // An index that is behind.
              let store =
                  { new ForwardingStore(memory) with
                      override _.BySubject(_, after, limit, cancel) = memory.Enumerate(after, limit, cancel) }

              let limited =
                  { Engines.settings with
                      MaxSessionsPerSubject = Some 1
                      WhenLimitReached = RefuseNew }

              let engine = Engines.engineWith store limited
              let! his = engine.Create((fun () -> "his"), Some "bob", [| 0uy |], none)
              Engines.ok his |> ignore
              let! hers = engine.Create((fun () -> "hers"), Some "ada", [| 0uy |], none)
              Expect.isOk hers "there is room for hers"
              let! (found: Result<Snapshot list, SessionError>) = engine.List("ada", none)
              Expect.equal (Engines.ok found |> List.map _.Id) [ "hers" ] "hers alone"
              let! ended = engine.DestroyAll("ada", None, Revoked, none)
              Expect.equal ended (Ok 1) "it is ended"
              let! (left: Result<Snapshot list, SessionError>) = engine.List("bob", none)
              Expect.equal (Engines.ok left |> List.map _.Id) [ "his" ] "his lives"
          }

          testTask "keys are copied when sessions are added: an application may wipe its arrays" {
              let key (first: byte) = Array.init 32 (fun i -> first + byte i)
              let store, mine, former = MemoryStore(), key 1uy, key 100uy

              let site =
                  Site((fun settings -> { settings with ServerKey = Some mine; FormerServerKeys = [ former ] }), store)

              Array.Clear mine
              Array.Clear former

              for first, isOpen in [ 1uy, true; 100uy, true; 0uy, false ] do
                  let own = if first = 0uy then Array.zeroCreate 32 else key first
                  let other = Site((fun settings -> { settings with ServerKey = Some own }), store)
                  let! _, cookie = other.SignIn()
                  let! found, _ = site.Look cookie
                  Expect.equal found isOpen $"{first}"
          }

          testCase "keys are copied when sessions are added: before the first of them is asked for, too" (fun () ->
              let key (first: byte) = Array.init 32 (fun i -> first + byte i)
              let mine, former = key 1uy, key 100uy
              let services = ServiceCollection()

              services
                  .AddLogging()
                  .AddSession<Basket>(fun settings ->
                      { settings with ServerKey = Some mine; FormerServerKeys = [ former ] })
                  .UseMemory()
              |> ignore

              Array.Clear mine
              Array.Clear former
              use provider = services.BuildServiceProvider()
              let service = provider.GetRequiredService<SessionService<Basket>>()
              Expect.equal service.Settings.ServerKey (Some(key 1uy)) "the one of now"
              Expect.equal service.Settings.FormerServerKeys [ key 100uy ] "and of before")

          testTask
              "8 the unattended end: what a request writes to the session that it has begun keeps it no longer awake" {
              let clock = FakeTimeProvider t0
              let store = Slow(MemoryStore(), clock)
              let silent = Engines.silent
              let engine = SessionEngine(store, Engines.settings, clock, NullLogger.Instance, silent)
              let! created = engine.Create(Token.newId, Some "ada", [| 0uy |], none)
              clock.Advance(minutes 1)

              let! (updated: Result<Opened, SessionError>) =
                  engine.Update(Engines.ok created, (fun data -> Ok data), none)

              Expect.equal (Engines.ok updated).Live.LastSeen t0 "as of its beginning"
          }

          testTask "a request counts once a sixtieth of the idle timeout has passed, or a minute, whichever is less" {
              for idle, step in
                  [ minutes 5, TimeSpan.FromSeconds 5L
                    minutes 30, TimeSpan.FromSeconds 30L
                    minutes 60, minutes 1
                    minutes 480, minutes 1 ] do
                  let clock, store, silent = FakeTimeProvider t0, MemoryStore() :> ISessionStore, Engines.silent

                  let policy =
                      { Engines.settings.Policy with
                          Idle = idle
                          Absolute = TimeSpan.FromHours 24.0
                          RotateEvery = None }

                  let settings = { Engines.settings with Policy = policy }
                  let engine = SessionEngine(store, settings, clock, NullLogger.Instance, silent)
                  let! created = engine.Create(Token.newId, Some "ada", [| 0uy |], none)
                  let opened = Engines.ok created
                  let text = opened.Issued.Value.Reveal()
                  let token = (Token.tryParse engine.Hasher (text.AsSpan())).Value
                  let! confirmed = engine.Present(token, false, none)
                  Engines.ok confirmed |> ignore
                  clock.Advance(step - TimeSpan.FromTicks 1L)
                  let! early = engine.Present(token, false, none)
                  Engines.ok early |> ignore
                  let! (before: StoredRecord | null) = store.Load(opened.Snapshot.Id, none)
                  Expect.equal (nonNull before).LastSeen t0 $"idle {idle}: nothing is told to the store yet"
                  clock.Advance(TimeSpan.FromTicks 1L)
                  let! late = engine.Present(token, false, none)
                  Engines.ok late |> ignore
                  let! (after: StoredRecord | null) = store.Load(opened.Snapshot.Id, none)
                  Expect.equal (nonNull after).LastSeen (t0 + step) $"idle {idle}: it was seen"
                  // What was told lengthens its life by just that.
                  clock.Advance(idle - TimeSpan.FromTicks 1L)
                  let! (lives: Result<Snapshot option, SessionError>) = engine.Find(opened.Snapshot.Id, none)
                  Expect.isSome (Engines.ok lives) $"idle {idle}: until just before"
                  clock.Advance(TimeSpan.FromTicks 1L)
                  let! (left: Result<Snapshot option, SessionError>) = engine.Find(opened.Snapshot.Id, none)
                  Expect.isNone (Engines.ok left) $"idle {idle}: and not at its time"
          }

          testTask "6 no resurrection: what is open for a session keeps it alive, and wakes none whose time is over" {
              let idle, silent = Engines.settings.Policy.Idle, Engines.silent

              for silence, lives in [ idle - TimeSpan.FromTicks 1L, true; idle, false ] do
                  let clock = FakeTimeProvider t0
                  let engine = SessionEngine(MemoryStore(), Engines.settings, clock, NullLogger.Instance, silent)
                  let! created = engine.Create(Token.newId, Some "ada", [| 0uy |], none)
                  let id = (Engines.ok created).Snapshot.Id
                  clock.Advance silence
                  let look = engine.Look [| id |]
                  let! (found: Collections.Generic.Dictionary<string, Result<Snapshot, SessionError>>) = look
                  do! engine.KeepAlive(found[id], clock.GetUtcNow(), engine.NewErrand())
                  clock.Advance(TimeSpan.FromTicks 1L)
                  let! (left: Result<Snapshot option, SessionError>) = engine.Find(id, none)
                  Expect.equal (Engines.ok left).IsSome lives $"after {silence}"
          } ]
