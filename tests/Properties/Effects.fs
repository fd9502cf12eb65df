/// What the store, the server or the browser sees of each option: one test for each, and one that finds an option without.
module Properties.Effects

open System
open System.Collections.Generic
open System.Text.Json.Nodes
open System.Threading
open System.Threading.Tasks
open Expecto
open Microsoft.AspNetCore.Http
open Microsoft.Extensions.DependencyInjection
open Microsoft.Extensions.Hosting
open Microsoft.FSharp.Reflection
open Session.Domain
open Session.Engine
open Session.AspNetCore
open Properties.Histories
open Properties.Sites

let private none = CancellationToken.None

let private header change (part: string) =
    task {
        let! set, _ = (Site change).SignIn()
        let! plain, _ = (Site id).SignIn()
        Expect.stringContains (set + ";") part "with it"
        Expect.isFalse ((plain + ";").Contains part) "without it"
    }

let private s = SessionSettings.defaults

/// It lives until just before, and not at that time.
let private ends change (time: TimeSpan) =
    task {
        let site = Site change
        let! _, cookie = site.SignIn()
        site.Clock.Advance(time - TimeSpan.FromTicks 1L)
        let! before, _ = site.Look cookie
        Expect.isTrue before "just before"
        let site = Site change
        let! _, cookie = site.SignIn()
        site.Clock.Advance time
        let! after, _ = site.Look cookie
        Expect.isFalse after "at its time"
    }

/// Whether a POST that another site had the browser send begins a session.
let private crossSite change =
    task {
        let site = Site(change)

        let! response =
            site.Send(
                None,
                [ "Sec-Fetch-Site", "cross-site"; "Origin", "https://other.example" ],
                fun context ->
                    task {
                        context.Request.Method <- "POST"
                        let! answer = Session.create basket context
                        Expect.equal (Result.isOk answer) (context.Response.Headers.SetCookie.Count > 0) "the answer"
                    }
            )

        return response.Headers.SetCookie.Count > 0
    }

let private withKey (key: byte[]) former settings = { settings with ServerKey = Some key; FormerServerKeys = former }

/// Never answers.
type private Mute(inner: ISessionStore) =
    inherit ForwardingStore(inner)
    override _.Load(_, _) = ValueTask<StoredRecord | null>(TaskCompletionSource<StoredRecord | null>().Task)

type private Failing(inner: ISessionStore) =
    inherit ForwardingStore(inner)
    override _.Load(_, _) = raise (TimeoutException "no answer")

/// Says nothing to other nodes.
type private Deaf(inner: ISessionStore) =
    inherit ForwardingStore(inner)
    override _.Publish(_, _) = ValueTask.CompletedTask

/// Finds nothing by itself.
type private Unlisted(inner: ISessionStore) =
    inherit ForwardingStore(inner)
    override _.Prepare _ = ValueTask.FromResult(StoreReport("elsewhere", true, false, [||]))

let private startOf (site: Site) : Task =
    task {
        for host in site.Provider.GetServices<IHostedService>() do
            do! host.StartAsync none
    }

let private within (limit: int) (work: Task<'a>) = work.WaitAsync(TimeSpan.FromSeconds(int64 limit))

let rec private isSwept (store: ISessionStore) tries : Task<bool> =
    task {
        let! page = store.Enumerate(null, 10, none)

        if page.Records.Count = 0 then
            return true
        elif tries = 0 then
            return false
        else
            do! Task.Delay 10
            return! isSwept store (tries - 1)
    }

let private effects: (string * (unit -> Task)) list =
    [ "CookieName", (fun () -> header (fun s -> { s with CookieName = Some "__Host-it" }) "__Host-it=")
      "CookieDomain", (fun () -> header (fun s -> { s with CookieDomain = Some "example.com" }) "; domain=example.com;")
      "CookiePath", (fun () -> header (fun s -> { s with CookiePath = "/app" }) "; path=/app;")
      "SameSite", (fun () -> header (fun s -> { s with SameSite = SameSiteMode.Strict }) "; samesite=strict;")
      "SecurePolicy",
      (fun () ->
          task {
              let! set, _ = (Site(fun s -> { s with SecurePolicy = CookieSecurePolicy.None })).SignIn()
              Expect.isFalse (set.Contains "secure") "not for https alone"
              let! plain, _ = (Site id).SignIn()
              Expect.stringContains plain "; secure" "for https alone"
          })
      "HttpOnly",
      (fun () ->
          task {
              let! plain, _ = (Site id).SignIn()
              Expect.stringContains plain "; httponly" "never for scripts"
              let refused = SessionSettings.contradictions { s with HttpOnly = false }
              Expect.isNonEmpty refused "and not to be switched off"
          })
      "Partitioned",
      (fun () -> header (fun s -> { s with Partitioned = true; SameSite = SameSiteMode.None }) "; partitioned;")
      "CookieMaxAge",
      (fun () -> header (fun s -> { s with CookieMaxAge = Some(TimeSpan.FromHours 1) }) "; max-age=3600;")
      "HeaderName",
      (fun () ->
          task {
              let site = Site(fun s -> { s with HeaderName = Some "X-Token" })

              let! response =
                  site.Send(
                      None,
                      [ "X-Token", "" ],
                      fun context ->
                          task {
                              let! answer = Session.signIn "ada" basket context
                              Engines.ok answer |> ignore
                          }
                  )

              Expect.isTrue (response.Headers.ContainsKey "X-Token") "the token"
              Expect.equal response.Headers.SetCookie.Count 0 "and no cookie"
          })
      "TrustedOrigins",
      (fun () ->
          task {
              for trusted, isAllowed in [ [], false; [ "https://other.example" ], true ] do
                  let! set = crossSite (fun s -> { s with TrustedOrigins = trusted; SameSite = SameSiteMode.None })
                  Expect.equal set isAllowed "for what a page of this origin sent"
          })
      "AllowCrossSiteWrites",
      (fun () ->
          task {
              for isAllowed in [ false; true ] do
                  let! set = crossSite (fun s -> { s with AllowCrossSiteWrites = isAllowed })
                  Expect.equal set isAllowed "for what another site sent"
          })
      "IdleTimeout", (fun () -> ends (fun s -> { s with IdleTimeout = minutes 5 }) (minutes 5))
      "AbsoluteTimeout",
      (fun () ->
          ends
              (fun s ->
                  { s with
                      AbsoluteTimeout = minutes 9
                      IdleTimeout = minutes 9
                      RotateEvery = None })
              (minutes 9))
      "ConfirmTimeout",
      (fun () ->
          task {
              for minute, lives in [ 2, true; 3, false ] do
                  let site = Site(fun s -> { s with ConfirmTimeout = Some(minutes 3) })

                  let! response =
                      site.Send(
                          None,
                          fun context ->
                              task {
                                  let! answer = Session.create basket context
                                  Engines.ok answer |> ignore
                              }
                      )

                  site.Clock.Advance(minutes minute)
                  let! found, _ = site.Look((string response.Headers.SetCookie).Split(';')[0])
                  Expect.equal found lives $"after {minute} minutes"
          })
      "RotateEvery",
      (fun () ->
          task {
              let site = Site(fun s -> { s with RotateEvery = Some(minutes 2) })
              let! _, cookie = site.SignIn()
              site.Clock.Advance(minutes 2 - TimeSpan.FromTicks 1L)
              let! _, early = site.Look cookie
              Expect.equal early "" "not yet"
              site.Clock.Advance(minutes 1)
              let! _, due = site.Look cookie
              Expect.isNonEmpty due "a new token"
          })
      "RotationGrace",
      (fun () ->
          task {
              let site =
                  Site(fun s ->
                      { s with
                          RotationGrace = TimeSpan.FromSeconds 50L
                          OnReplay = RefuseToken })

              let! _, old = site.SignIn()
              site.Clock.Advance(minutes 16)
              let! _, next = site.Look old
              let! _ = site.Look(next.Split(';')[0])
              site.Clock.Advance(TimeSpan.FromSeconds 49L)
              let! works, _ = site.Look old
              Expect.isTrue works "within it"
              site.Clock.Advance(TimeSpan.FromSeconds 1L)
              let! works, _ = site.Look old
              Expect.isFalse works "after it"
          })
      "TombstoneRetention",
      (fun () ->
          task {
              let store = MemoryStore() :> ISessionStore
              let site = Site((fun s -> { s with TombstoneRetention = minutes 7 }), store)
              let! _ = site.SignIn()
              let! _ = site.Engine.DestroyAll("ada", None, Revoked, none)

              for minute, left in [ 6, 1; 1, 0 ] do
                  site.Clock.Advance(minutes minute)
                  let! _ = site.Engine.Sweep(10, none)
                  let! page = store.Enumerate(null, 10, none)
                  Expect.equal page.Records.Count left $"{minute} minutes later"
          })
      "OnReplay",
      (fun () ->
          task {
              for onReplay, lives in [ RefuseToken, true; DestroySession, false ] do
                  let site = Site(fun s -> { s with OnReplay = onReplay })
                  let! _, old = site.SignIn()
                  site.Clock.Advance(minutes 16)
                  let! _, next = site.Look old
                  let! _ = site.Look(next.Split(';')[0])
                  site.Clock.Advance(minutes 1)
                  let! replayed, _ = site.Look old
                  Expect.isFalse replayed "the old one"
                  let! holds, _ = site.Look(next.Split(';')[0])
                  Expect.equal holds lives "the session"
          })
      "MaxDataBytes",
      (fun () ->
          task {
              let site = Site(fun s -> { s with MaxDataBytes = 20 })
              let mutable answers = []

              for length in [ 1; 30 ] do
                  let! _ =
                      site.Send(
                          None,
                          fun context ->
                              task {
                                  let! answer = Session.create { Items = [ String('x', length) ] } context
                                  answers <- answers @ [ answer.IsOk ]
                              }
                      )

                  ()

              Expect.equal answers [ true; false ] "small and large"
          })
      "MaxSessionsPerSubject",
      (fun () ->
          task {
              let site = Site(fun s -> { s with MaxSessionsPerSubject = Some 1 })
              let! _, first = site.SignIn()
              site.Clock.Advance(TimeSpan.FromSeconds 1L)
              let! _, second = site.SignIn()
              let! a, _ = site.Look first
              let! b, _ = site.Look second
              Expect.equal (a, b) (false, true) "the first makes room"
          })
      "WhenLimitReached",
      (fun () ->
          task {
              let site =
                  Site(fun s ->
                      { s with
                          MaxSessionsPerSubject = Some 1
                          WhenLimitReached = RefuseNew })

              let! _, first = site.SignIn()
              let mutable refused = false

              let! _ =
                  site.Send(
                      None,
                      fun context ->
                          task {
                              let! answer = Session.signIn "ada" basket context
                              refused <- answer.IsError
                          }
                  )

              let! lives, _ = site.Look first
              Expect.equal (refused, lives) (true, true) "the first stays"
          })
      "DataVersion",
      (fun () ->
          task {
              let up = Map [ 1, id ]

              let bytes version =
                  (SessionSerializer.json<Basket> { s with DataVersion = version; Upcasters = up }).Serialize basket

              Expect.isFalse ((bytes 1).AsSpan().SequenceEqual((bytes 2).AsSpan())) "it is written down"
              let old = SessionSerializer.json<Basket> s

              Expect.throws
                  (fun () -> old.Deserialize(ReadOnlyMemory(bytes 2)) |> ignore)
                  "and newer data is left alone"
          })
      "Upcasters",
      (fun () ->
          task {
              let old = (SessionSerializer.json<Basket> s).Serialize basket
              let more _ = nonNull (JsonNode.Parse """{"Items":["a","b"]}""")
              let newer = SessionSerializer.json<Basket> { s with DataVersion = 2; Upcasters = Map [ 1, more ] }
              Expect.equal (newer.Deserialize(ReadOnlyMemory old)).Items [ "a"; "b" ] "brought to the next version"
          })
      "ServerKey",
      (fun () ->
          task {
              let store = MemoryStore()
              let! _, cookie = (Site(withKey (Array.create 32 1uy) [], store)).SignIn()
              let! same, _ = (Site(withKey (Array.create 32 1uy) [], store)).Look cookie
              let! other, _ = (Site(withKey (Array.create 32 2uy) [], store)).Look cookie
              Expect.equal (same, other) (true, false) "under the same key, and under another"
          })
      "FormerServerKeys",
      (fun () ->
          task {
              let store = MemoryStore()
              let! _, cookie = (Site(withKey (Array.create 32 1uy) [], store)).SignIn()
              let! former, _ = (Site(withKey (Array.create 32 2uy) [ Array.create 32 1uy ], store)).Look cookie
              Expect.isTrue former "under the key from before"
          })
      "GenerateId",
      (fun () ->
          task {
              let! set, _ = (Site(fun s -> { s with GenerateId = Some(fun _ -> "mine") })).SignIn()
              Expect.stringStarts set "__Host-sid=mine." "the id"
          })
      "SweepInterval",
      (fun () ->
          task {
              let store = MemoryStore() :> ISessionStore

              let site =
                  Site(
                      (fun s ->
                          { s with
                              SweepInterval = minutes 40
                              TombstoneRetention = TimeSpan.Zero }),
                      store
                  )

              let! _ = site.SignIn()
              let! _ = site.Engine.DestroyAll("ada", None, Revoked, none)
              do! startOf site

              // Until its timer runs.
              do! Task.Delay 500
              // A fifth more or less.
              site.Clock.Advance(minutes 31)
              let! early = isSwept store 5
              site.Clock.Advance(minutes 18)
              let! late = isSwept store 500
              Expect.equal (early, late) (false, true) "then, and not before"
          })
      "ConnectionsExtendIdle",
      (fun () ->
          task {
              let minutesOf change =
                  task {
                      let site = Site change
                      let! _, cookie = site.SignIn()
                      let passed = ref 0

                      let! _ =
                          within
                              30
                              (site.Send(
                                  Some cookie,
                                  (fun context ->
                                      task {
                                          let! ended = Session.ended<Basket> context

                                          while not ended.IsCancellationRequested && passed.Value < 90 do
                                              site.Clock.Advance(minutes 1)
                                              passed.Value <- passed.Value + 1
                                              do! Task.Delay 20
                                      })
                              ))

                      return passed.Value
                  }

              let! kept = minutesOf (fun s -> { s with ConnectionsExtendIdle = true })
              let! plain = minutesOf id
              Expect.equal kept 90 "as long as it is open"
              Expect.isLessThan plain 60 "it ends by its idle timeout"
          })
      "LiveCheck",
      (fun () ->
          task {
              let store = MemoryStore()
              // No notice comes through between the two.
              let one = Site((fun s -> { s with LiveCheck = minutes 3 }), Deaf store)
              let other = Site(id, Deaf store)
              let! _, cookie = other.SignIn()
              let mutable early = true

              let! _ =
                  within
                      30
                      (one.Send(
                          Some cookie,
                          (fun context ->
                              task {
                                  let! ended = Session.ended<Basket> context
                                  do! Task.Delay 100
                                  let! _ = other.Engine.DestroyAll("ada", None, Revoked, none)
                                  one.Clock.Advance(minutes 2)
                                  do! Task.Delay 100
                                  early <- ended.IsCancellationRequested

                                  while not ended.IsCancellationRequested do
                                      one.Clock.Advance(minutes 1)
                                      do! Task.Delay 20

                                  Expect.equal
                                      (Session.endedBecause<Basket> context)
                                      (Some(EndCause.Over(OnPurpose Revoked)))
                                      "why"
                              })
                      ))

              Expect.isFalse early "not before"
          })
      "RequestTimeout",
      (fun () ->
          task {
              let site =
                  Site((fun s -> { s with RequestTimeout = TimeSpan.FromMilliseconds 50L }), Mute(MemoryStore()))

              let! response =
                  within
                      4
                      (site.Send(
                          Some "__Host-sid=some.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                          (fun context -> Session.tryGet<Basket> context)
                      ))

              Expect.equal response.Status 503 "the answer"
          })
      "EventTimeout",
      (fun () ->
          task {
              let hangs = fun (_: Notice) -> Some(fun (_: IServiceProvider) -> TaskCompletionSource().Task)

              let site =
                  Site(fun s ->
                      { s with
                          EventTimeout = TimeSpan.FromMilliseconds 50L
                          OnNotice = hangs })

              let! _ = within 4 (site.SignIn())
              ()
          })
      "ContinueWithoutStore",
      (fun () ->
          task {
              for goesOn, status in [ true, 200; false, 503 ] do
                  let site = Site((fun s -> { s with ContinueWithoutStore = goesOn }), Failing(MemoryStore()))

                  let! response =
                      site.Send(
                          Some "__Host-sid=some.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                          (fun context -> Session.tryGet<Basket> context)
                      )

                  Expect.equal response.Status status $"{goesOn}"
          })
      "HearsExpiry",
      (fun () ->
          task {
              for hears in [ true; false ] do
                  let site = Site((fun s -> { s with HearsExpiry = hears }), Unlisted(MemoryStore()))
                  let mutable isRefused = false

                  try
                      do! startOf site
                  with _ ->
                      isRefused <- true

                  Expect.equal isRefused hears "a store that cannot find them"
          })
      "OnNotice",
      (fun () ->
          task {
              let heard = List<NoticeKind>()

              let hear (notice: Notice) : NoticeHandler option =
                  heard.Add notice.Kind
                  None

              let! _ = (Site(fun s -> { s with OnNotice = hear })).SignIn()
              Expect.equal (List.ofSeq heard) [ CreatedNotice ] "what happened"
          }) ]

/// The option that sets it and whose effect is shown above, or else the file of tests that shows it.
let private ofTheEngine =
    [ typeof<EngineSettings>,
      [ "MaxDataBytes", "MaxDataBytes"
        "MaxSessionsPerSubject", "MaxSessionsPerSubject"
        "WhenLimitReached", "WhenLimitReached"
        "ServerKey", "ServerKey"
        // By ways of the builder, and not by options.
        "SealsToBearer", "tests/Properties/Sealing.fs"
        "Protector", "tests/Facade/ProtectionTests.cs" ]
      typeof<Policy>,
      [ "Idle", "IdleTimeout"
        "Absolute", "AbsoluteTimeout"
        "Confirm", "ConfirmTimeout"
        "RotateEvery", "RotateEvery"
        "Grace", "RotationGrace"
        "Retention", "TombstoneRetention"
        "OnReplay", "OnReplay" ]
      typeof<WaitLimits>,
      [ "RequestTimeout", "RequestTimeout"
        "EventTimeout", "EventTimeout"
        // Of a simulation: its hours would be real ones otherwise, and no story the same twice.
        "Timer", "tests/Simulation/Node.fs"
        "Chance", "tests/Simulation/Node.fs" ] ]

let all =
    testList
        "the effect of an option"
        [ for name, effect in effects do
              testTask $"option {name}: the store, the server or the browser sees it" { do! effect () }

          testCase
              "every setting of the engine is an option with a test of its effect, or has tests of its own"
              (fun () ->
                  for settings, shown in ofTheEngine do
                      let all = FSharpType.GetRecordFields settings |> Array.map _.Name |> List.ofArray
                      let named = List.map fst shown
                      let all = List.except [ "Policy" ] all
                      Expect.equal (all |> List.except named) [] $"settings of {settings.Name} without a test"
                      Expect.equal (named |> List.except all) [] $"tests without a setting of {settings.Name}"

                      for name, by in shown do
                          if by.Contains '/' then
                              Expect.isTrue (IO.File.Exists(Repository.under [ by ])) $"{name}: {by}"
                          else
                              Expect.contains (List.map fst effects) by name)

          testCase "every option has a test of its effect" (fun () ->
              let options = FSharpType.GetRecordFields typeof<SessionSettings> |> Array.map _.Name |> List.ofArray
              let tested = List.map fst effects
              Expect.equal (options |> List.except tested) [] "options without a test"
              Expect.equal (tested |> List.except options) [] "tests without an option") ]
