/// What attacks, races and failures do, over real HTTP, against each store.
module Integration.Stories

open System
open System.IO
open System.Threading.Tasks
open Expecto
open Microsoft.Extensions.Time.Testing
open Integration.App
open Integration.Http
open Session.CSharp
open Session.Engine
open Session.Stores.Sqlite

let private t0 = DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero)

let private temporary () = Path.Combine(Path.GetTempPath(), "session-" + Guid.NewGuid().ToString "N" + ".db")

let private sqlite path = new SqliteStore(SqliteStoreOptions(Path = path))

/// An application with a counting store and a clock of its own, and a client.
type private World(make: unit -> ISessionStore, configure: SessionOptions<Cart> -> unit) =
    let inner = make ()
    let store = CountingStore inner
    let clock = FakeTimeProvider t0
    let client = newClient ()
    let mutable app: SubjectApp option = None
    member _.Store = store
    member _.Clock = clock
    member _.Gate = app.Value.Gate

    member _.Start() =
        task {
            let! started = SubjectApp.StartAsync(store, clock, Action<_> configure)
            app <- Some started
        }

    member _.Send(verb, path, headers) = send client app.Value.Address verb path headers

    member world.With(token: string, verb, path) = world.Send(verb, path, [ "Cookie", "sid=" + token ])

    interface IAsyncDisposable with
        member _.DisposeAsync() =
            ValueTask(
                task {
                    match app with
                    | Some app -> do! app.DisposeAsync()
                    | None -> ()

                    client.Dispose()

                    match inner with
                    | :? IDisposable as store -> store.Dispose()
                    | _ -> ()
                }
            )

let private minutes (n: float) = TimeSpan.FromMinutes n

let private stories (make: unit -> ISessionStore) =
    let story name configure (tell: World -> Task<unit>) =
        testCaseTask name (fun () ->
            task {
                let world = World(make, configure)

                try
                    do! world.Start()
                    do! tell world
                finally
                    (world :> IAsyncDisposable).DisposeAsync().AsTask().Wait()
            })

    let plain name tell = story name ignore tell

    /// A session of `user` that its client has confirmed.
    let signedIn (world: World) user =
        task {
            let! login = world.Send("POST", "/login?user=" + user, [])
            let! profile = world.With(token login, "GET", "/profile")
            Expect.equal profile.Body user "signed in"
            return token login
        }

    let status (expected: int) (answer: Answer) = Expect.equal answer.Status expected answer.Body
    let noCookie (answer: Answer) = Expect.isEmpty answer.SetCookies "the cookie is left alone"

    [ plain "a slow request does not undo a logout" (fun world ->
          task {
              let! token = signedIn world "ada"
              let slow = world.With(token, "POST", "/slow/tea")
              do! world.Gate.EnteredAsync 1
              let! out = world.With(token, "POST", "/logout")
              status 200 out
              world.Gate.Open()
              let! late = slow
              status 401 late
              noCookie late
              let! profile = world.With(token, "GET", "/profile")
              status 401 profile
          })

      plain "parallel updates all count: 100 at once are exactly 100" (fun world ->
          task {
              let! token = signedIn world "ada"
              let! answers = all [ for i in 1..100 -> world.With(token, "POST", $"/cart/s{i}") ]
              let bad = answers |> Array.filter (fun answer -> answer.Status <> 200)
              Expect.isEmpty bad "all accepted"
              let! cart = world.With(token, "GET", "/cart")

              let found =
                  [ for i in 1..100 do
                        if cart.Body.Contains $"s{i}" then
                            i ]

              Expect.equal found.Length 100 "all there"
          })

      plain "a token known before sign-in is dead after it" (fun world ->
          task {
              let! first = world.Send("POST", "/cart/tea", [])
              let before = token first
              let! login = world.With(before, "POST", "/login?user=ada")
              let after = token login
              Expect.equal (idOf after) (idOf before) "the same session"
              let! planted = world.With(before, "GET", "/profile")
              status 401 planted
              noCookie planted
              let! own = world.With(after, "GET", "/profile")
              status 200 own
          })

      plain "a token that the client made up never becomes a session" (fun world ->
          task {
              let madeUp = String('A', 22) + "." + String('A', 43)
              let! read = world.With(madeUp, "GET", "/profile")
              status 401 read
              noCookie read
              let! write = world.With(madeUp, "POST", "/cart/tea")
              Expect.notEqual (idOf (token write)) (String('A', 22)) "an id of ours"
              let! again = world.With(madeUp, "GET", "/profile")
              status 401 again
          })

      plain "a real id with a wrong secret opens nothing and harms none" (fun world ->
          task {
              let! own = signedIn world "ada"
              let forged = idOf own + "." + String('A', 43)
              let! read = world.With(forged, "GET", "/profile")
              let! write = world.With(forged, "POST", "/cart/tea")
              let! out = world.With(forged, "POST", "/logout")
              status 401 read
              status 401 write
              [ read; write; out ] |> List.iter noCookie
              let! profile = world.With(own, "GET", "/profile")
              status 200 profile
          })

      plain "50 parallel requests across a renewal: nobody is logged out, one new token is issued" (fun world ->
          task {
              let! own = signedIn world "ada"
              world.Clock.Advance(minutes 16)
              let! answers = all [ for _ in 1..50 -> world.With(own, "GET", "/profile") ]
              Expect.isTrue (answers |> Array.forall (fun answer -> answer.Status = 200)) "nobody logged out"
              let issued = answers |> Array.filter (fun answer -> not answer.SetCookies.IsEmpty)
              Expect.equal issued.Length 1 "one token"
              let! next = world.With(token issued[0], "GET", "/profile")
              status 200 next
          })

      plain "a lost renewal response costs nothing" (fun world ->
          task {
              let! own = signedIn world "ada"
              world.Clock.Advance(minutes 16)
              let! lost = world.With(own, "GET", "/profile")
              world.Clock.Advance(minutes 1)
              let! again = world.With(own, "GET", "/profile")
              status 200 again
              Expect.notEqual (token again) (token lost) "another in its place"
              let! late = world.With(token lost, "GET", "/profile")
              status 200 late
          })

      (let mutable replays = 0

       story
           "a replay after a renewal ends the session and is reported once"
           (fun o ->
               o.Events.OnReplayed <-
                   (fun _ ->
                       replays <- replays + 1
                       Task.CompletedTask))
           (fun world ->
               task {
                   replays <- 0
                   let! own = signedIn world "ada"
                   world.Clock.Advance(minutes 16)
                   let! renewed = world.With(own, "GET", "/profile")
                   let next = token renewed
                   let! _ = world.With(next, "GET", "/profile")
                   let! graced = world.With(own, "GET", "/profile")
                   status 200 graced
                   noCookie graced
                   world.Clock.Advance(minutes 1)
                   let! stolen = world.With(own, "GET", "/profile")
                   status 401 stolen
                   noCookie stolen
                   let! victim = world.With(next, "GET", "/profile")
                   status 401 victim
                   let! _ = world.With(own, "GET", "/profile")
                   Expect.equal replays 1 "once"
               }))

      plain "a request in flight with the old token at sign-in neither opens nor ends anything" (fun world ->
          task {
              let! first = world.Send("POST", "/cart/tea", [])
              let before = token first
              let! _ = world.With(before, "GET", "/cart")
              let write = world.With(before, "POST", "/slow/mug")
              let out = world.With(before, "POST", "/slow-logout")
              do! world.Gate.EnteredAsync 2
              let! login = world.With(before, "POST", "/login?user=ada")
              world.Gate.Open()
              let! write = write
              let! out = out
              status 401 write
              [ write; out ] |> List.iter noCookie
              let! late = world.With(before, "POST", "/cart/mug")
              status 401 late
              noCookie late
              let! profile = world.With(token login, "GET", "/profile")
              status 200 profile
          })

      plain "idle timeout, at the tick" (fun world ->
          task {
              let! own = signedIn world "ada"
              world.Clock.SetUtcNow((t0 + minutes 30).AddTicks -1L)
              let! alive = world.With(own, "GET", "/profile")
              status 200 alive
              world.Clock.SetUtcNow(t0 + minutes 60)
              let! over = world.With(own, "GET", "/cart")
              Expect.equal (over.Header "X-Origin") (Some "Expired") "over"
              noCookie over
          })

      story "absolute timeout, at the tick" (fun o -> o.RotateEvery <- Nullable()) (fun world ->
          task {
              let! own = signedIn world "ada"

              for i in 1..16 do
                  world.Clock.SetUtcNow((t0 + minutes (float i * 30.0)).AddTicks(int64 -i))
                  let! alive = world.With(own, "GET", "/profile")
                  status 200 alive

              world.Clock.SetUtcNow(t0 + TimeSpan.FromHours 8)
              let! over = world.With(own, "GET", "/profile")
              status 401 over
          })

      plain "a failed save is not a 200" (fun world ->
          task {
              let! own = signedIn world "ada"
              world.Store.Fail [ "Replace"; "Insert" ]
              let! save = world.With(own, "POST", "/cart/tea")
              let! create = world.Send("POST", "/cart/tea", [])
              let! out = world.With(own, "POST", "/logout")

              for answer in [ save; create; out ] do
                  status 503 answer
                  noCookie answer

              world.Store.Heal()
              let! profile = world.With(own, "GET", "/profile")
              status 200 profile
          })

      plain "the store down gives 503 and leaves the cookie alone" (fun world ->
          task {
              let! own = signedIn world "ada"
              world.Store.FailAll()
              let! read = world.With(own, "GET", "/profile")
              let! guarded = world.With(own, "GET", "/guarded")
              let! untouched = world.With(own, "GET", "/plain")

              for answer in [ read; guarded ] do
                  status 503 answer
                  noCookie answer

              status 200 untouched
          })

      plain "anonymous, malformed and ambiguous requests make no store call" (fun world ->
          task {
              world.Store.Reset()
              let good = String('A', 22) + "." + String('A', 43)
              let other = String('B', 22) + "." + String('A', 43)

              for cookie in
                  [ "a=b"
                    "sid="
                    "sid=x"
                    "SID=" + good
                    "sid=" + good + "A"
                    "sid=%41" + good
                    $"sid={good}; sid={other}" ] do
                  let! answer = world.Send("GET", "/cart", [ "Cookie", cookie ])
                  status 200 answer
                  noCookie answer

              let! _ = world.Send("GET", "/cart", [])
              let! _ = world.Send("GET", "/guarded", [])
              Expect.isEmpty world.Store.Counts "no call"
          })

      plain "the same cookie twice is the session" (fun world ->
          task {
              let! own = signedIn world "ada"
              let! answer = world.Send("GET", "/profile", [ "Cookie", $"sid={own}; x=y; sid={own}" ])
              status 200 answer
          })

      plain "store calls: a read one, a write two, an untouched none" (fun world ->
          task {
              let! own = signedIn world "ada"
              world.Store.Reset()
              let! untouched = world.With(own, "GET", "/plain")
              noCookie untouched
              Expect.isEmpty world.Store.Counts "untouched"
              let! read = world.With(own, "GET", "/cart")
              noCookie read
              Expect.equal world.Store.Counts [ "Load", 1 ] "read"
              world.Store.Reset()
              let! _ = world.With(own, "POST", "/cart/tea")
              Expect.equal world.Store.Counts [ "Load", 1; "Replace", 1 ] "write"
          })

      plain "logout expires the cookie with the attributes it was set with, and nothing caches it" (fun world ->
          task {
              let! login = world.Send("POST", "/login?user=ada", [])
              let! out = world.With(token login, "POST", "/logout")
              let set, cleared = parseSetCookie login.SetCookies.Head, parseSetCookie out.SetCookies.Head
              let rest = cleared.Attributes |> Map.remove "expires" |> Map.remove "max-age"
              Expect.equal rest set.Attributes "the same attributes"
              Expect.equal (cleared.Value, cleared.Attributes["max-age"]) ("", "0") "expired"

              for answer in [ login; out ] do
                  Expect.equal (answer.Header "Cache-Control") (Some "no-store") "no-store"
          })

      plain "one user's session id in another user's hands is a 404" (fun world ->
          task {
              let! ada = signedIn world "ada"
              let! bob = signedIn world "bob"
              let! stolen = world.With(bob, "DELETE", "/sessions/" + idOf ada)
              status 404 stolen
              let! own = world.With(ada, "GET", "/profile")
              status 200 own
          })

      plain "logout everywhere ends every device" (fun world ->
          task {
              let! phone = signedIn world "ada"
              let! laptop = signedIn world "ada"
              let! _ = world.With(phone, "POST", "/logout-everywhere")

              for token in [ phone; laptop ] do
                  let! profile = world.With(token, "GET", "/profile")
                  status 401 profile
          })

      plain "a save that is based on older data is a 409" (fun world ->
          task {
              let! own = signedIn world "ada"
              let slow = world.With(own, "POST", "/save/tea?wait=true")
              do! world.Gate.EnteredAsync 1
              let! _ = world.With(own, "POST", "/cart/mug")
              world.Gate.Open()
              let! save = slow
              status 409 save
          })

      story "data over the limit is a 413 and changes nothing" (fun o -> o.MaxDataBytes <- 200) (fun world ->
          task {
              let! own = signedIn world "ada"
              let! large = world.With(own, "POST", "/cart/" + String('x', 300))
              status 413 large
              let! cart = world.With(own, "GET", "/cart")
              Expect.isFalse (cart.Body.Contains "xxx") "as before"
          })

      story "a limit of 3 devices keeps the newest three" (fun o -> o.MaxSessionsPerSubject <- 3) (fun world ->
          task {
              let! answers = all [ for _ in 1..20 -> world.Send("POST", "/login?user=ada", []) ]
              let tokens = answers |> Array.filter (fun answer -> answer.Status = 200) |> Array.map token
              let! profiles = all [ for token in tokens -> world.With(token, "GET", "/profile") ]
              let live = profiles |> Array.filter (fun profile -> profile.Status = 200)
              Expect.equal live.Length 3 "three"
          })

      story
          "the header transport: asked for by an empty header, and never with a cookie"
          (fun o -> o.HeaderName <- "X-Session-Token")
          (fun world ->
              task {
                  let! first = world.Send("POST", "/login?user=ada", [ "X-Session-Token", "" ])
                  noCookie first
                  let token = (first.Header "X-Session-Token").Value
                  let! own = world.Send("GET", "/profile", [ "X-Session-Token", token ])
                  status 200 own
                  let! both = world.Send("GET", "/profile", [ "X-Session-Token", token; "Cookie", "sid=" + token ])
                  status 400 both
              })

      plain "an endpoint that requires a session answers 401 without one" (fun world ->
          task {
              let! anonymous = world.Send("GET", "/guarded", [])
              status 401 anonymous
              let! own = signedIn world "ada"
              let! guarded = world.With(own, "GET", "/guarded")
              status 200 guarded
          }) ]

let all =
    testList
        "stories"
        [ testList "memory" (stories (fun () -> MemoryStore()))
          testList "sqlite" (stories (fun () -> sqlite (temporary ())))
          testCaseTask "a tombstone and a session survive a restart (sqlite)" (fun () ->
              task {
                  let path = temporary ()
                  let first = World((fun () -> sqlite path), ignore)
                  do! first.Start()
                  let! ada = first.Send("POST", "/login?user=ada", [])
                  let! bob = first.Send("POST", "/login?user=bob", [])
                  let! _ = first.With(token ada, "POST", "/logout")
                  do! (first :> IAsyncDisposable).DisposeAsync()
                  let second = World((fun () -> sqlite path), ignore)
                  do! second.Start()
                  let! over = second.With(token ada, "GET", "/cart")
                  let! lives = second.With(token bob, "GET", "/profile")
                  do! (second :> IAsyncDisposable).DisposeAsync()
                  Expect.equal (over.Header "X-State") (Some "Destroyed") "a tombstone"
                  Expect.equal lives.Status 200 "nobody is logged out"
              }) ]
