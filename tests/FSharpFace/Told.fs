/// Events as a union, and a serializer of the application's own.
module FSharpFace.Told

open System
open System.Collections.Concurrent
open System.Text
open System.Threading.Tasks
open Expecto
open Microsoft.Extensions.DependencyInjection
open Microsoft.Extensions.Options
open FSharpFace.Programs
open FSharpFace.Site
open Session.AspNetCore
open Session.Engine

let private tea = { Items = [ "tea" ] }

/// Items on a line each.
type private Lines() =
    interface ISessionSerializer<Cart> with
        member _.Serialize cart = Encoding.UTF8.GetBytes(String.Join('\n', cart.Items))
        member _.Deserialize bytes = { Items = List.ofArray (Encoding.UTF8.GetString(bytes.Span).Split '\n') }

let private nameOf event =
    match event with
    | SessionEvent.Created facts -> $"created {facts.Data.IsSome}"
    | SessionEvent.Regenerated(_, Session.RegenerationReason.Renewal) -> "renewed"
    | SessionEvent.Regenerated(_, Session.RegenerationReason.Elevation) -> "elevated"
    | SessionEvent.Regenerated(_, Session.RegenerationReason.SignIn) -> "given to a subject"
    | SessionEvent.SignedIn { Subject = subject } -> $"signed in {subject.Value}"
    | SessionEvent.Destroyed(_, Session.DestroyReason.SignedOut) -> "signed out"
    | SessionEvent.Destroyed(_, reason) -> $"ended: {reason}"
    | SessionEvent.Expired(_, kind) -> $"expired: {kind}"
    | SessionEvent.Replayed _ -> "replayed"
    | SessionEvent.Outdated _ -> "outdated"
    | SessionEvent.Refused(_, reason) -> $"refused: {reason}"
    | SessionEvent.Unreadable(_, reason) -> $"unreadable: {reason}"

let private benchTold onEvent =
    Bench<Cart>(MemoryStore(), (fun settings services -> services.AddSession<Cart>(settings, onEvent = onEvent)))

let all =
    testList
        "events"
        [ testTask "a handler that fails at the first event of a change hears of the second" {
              let heard = ConcurrentQueue<string>()

              let bench =
                  benchTold (fun event _ ->
                      heard.Enqueue(nameOf event)

                      if event.IsCreated then
                          Task.FromException(InvalidOperationException "mail")
                      else
                          Task.CompletedTask)

              do!
                  bench.Run(fun _ browser ->
                      task {
                          let! _ = bench.Do(browser, Session.signIn "ada" tea)
                          ()
                      })

              Expect.equal (List.ofSeq heard) [ "created True"; "signed in ada" ] "both"
          }

          testTask "each is told with its session, in its order" {
              let heard = ConcurrentQueue<string>()

              let bench =
                  benchTold (fun event services ->
                      task {
                          services.GetRequiredService<IServiceScopeFactory>() |> ignore
                          heard.Enqueue(nameOf event)
                      })

              do!
                  bench.Run(fun services browser ->
                      task {
                          let! _ = bench.Do(browser, Session.create tea)
                          let planted = browser.Cookie
                          let! _ = bench.Do(browser, Session.signIn "ada" tea)
                          let! _ = bench.Do(browser, Session.regenerate<Cart>)
                          let own = browser.Cookie
                          browser.Cookie <- planted
                          let! _ = bench.Do(browser, Session.tryGet<Cart>)
                          browser.Cookie <- "sid=nothing"
                          let! _ = bench.Do(browser, Session.tryGet<Cart>)
                          browser.Cookie <- own
                          let! _ = bench.Do(browser, Session.destroy<Cart>)
                          browser.Cookie <- ""
                          let! _ = bench.Do(browser, Session.signIn "bob" tea)
                          let! _ = SessionServices.destroyAll<Cart> "bob" services
                          ()
                      })

              Expect.equal
                  (List.ofSeq heard)
                  [ "created True"
                    "given to a subject"
                    "signed in ada"
                    "elevated"
                    "outdated"
                    "refused: Malformed"
                    "signed out"
                    "created True"
                    "signed in bob"
                    "ended: Revoked" ]
                  "what happened"
          }

          testTask "a handler that fails changes nothing, and the next event is told" {
              let heard = ConcurrentQueue<string>()

              let bench =
                  benchTold (fun event _ ->
                      heard.Enqueue(nameOf event)
                      failwith "no")

              do!
                  bench.Run(fun _ browser ->
                      task {
                          let! signedIn = bench.Do(browser, Session.signIn "ada" tea)
                          Expect.equal signedIn (Ok tea) "signed in all the same"
                      })

              Expect.equal (List.ofSeq heard) [ "created True"; "signed in ada" ] "both"
          }

          testTask "a serializer of the application's own" {
              let store = MemoryStore()

              let own settings (services: IServiceCollection) =
                  services.AddSession<Cart>(settings, serializer = Lines())

              let bench = Bench<Cart>(store, own)

              do!
                  bench.Run(fun _ browser ->
                      task {
                          let! _ = bench.Do(browser, Session.update (add "tea"))
                          let! _ = bench.Do(browser, Session.update (add "milk"))
                          let! data = bench.Do(browser, Session.tryGet<Cart>)
                          Expect.equal data (Some { Items = [ "milk"; "tea" ] }) "it comes back"
                      })
          }

          testCase "a later call that names no serializer leaves the one that was named before" (fun () ->
              let written (calls: (IServiceCollection -> unit) list) =
                  let services = ServiceCollection() :> IServiceCollection

                  for call in calls do
                      call services

                  use provider = services.BuildServiceProvider()
                  let service = provider.GetRequiredService<SessionService<Cart>>()
                  Encoding.UTF8.GetString(service.Serializer.Serialize { Items = [ "tea"; "milk" ] })

              let named (services: IServiceCollection) = services.AddSession<Cart>(id, serializer = Lines()) |> ignore

              let plain (services: IServiceCollection) =
                  services.AddSession<Cart>(fun (s: SessionSettings) -> { s with MaxDataBytes = 9 }) |> ignore

              let fromServices (services: IServiceCollection) =
                  services.AddSessionWith<Cart>(fun _ (s: SessionSettings) -> { s with MaxDataBytes = 8 }) |> ignore

              for calls in
                  [ [ named ]
                    [ named; plain ]
                    [ named; fromServices; plain ]
                    [ plain; named ] ] do
                  Expect.equal (written calls) "tea\nmilk" "the application's own"

              Expect.stringStarts (written [ plain ]) "{" "where none is named it is JSON")

          testCase "a serializer of one's own tells versions apart by itself" (fun () ->
              let services = ServiceCollection()

              services.AddSession<Cart>(
                  (fun s -> { s with DataVersion = 2; Upcasters = Map [ 1, id ] }),
                  serializer = Lines()
              )
              |> ignore

              use provider = services.BuildServiceProvider()

              Expect.throwsT<OptionsValidationException>
                  (fun () -> provider.GetRequiredService<SessionService<Cart>>() |> ignore)
                  "said at start") ]
