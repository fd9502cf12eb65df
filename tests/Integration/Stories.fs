/// What sessions promise over HTTP, each promise on each store.
module Integration.Stories

open System
open System.IO
open System.Threading.Tasks
open Expecto
open Integration.Http
open Integration.World
open Session.CSharp

/// NIST SP 800-63B-4: the cookie of a session that is over should be erased.
let private erased (answer: Answer) =
    Expect.equal (parseSetCookie (List.exactlyOne answer.SetCookies)).Value "" "the cookie is erased"

let private noCookie (answer: Answer) = Expect.isEmpty answer.SetCookies "the cookie is left alone"
let private status expected (answer: Answer) message = Expect.equal answer.Status expected $"{message}: {answer.Body}"

/// 43 characters that are a secret, but nobody's.
let private wrongSecret = String('A', 43)

let private plain (_: SessionOptions<App.Cart>) = ()
let private never (o: SessionOptions<App.Cart>) = o.RotateEvery <- Nullable()

let private security kind =
    let story name body = storyWith kind name plain body

    [ story "01 a slow request does not undo a logout" (fun w ->
          task {
              let! token = w.SignIn "ann"
              let slow = w.Post("/slow/late", token)
              do! w.App.Gate.EnteredAsync 1
              let! out = w.Post("/logout", token)
              status 200 out "logout"
              w.App.Gate.Open()
              let! slow = slow
              status 401 slow "the slow request"
              noCookie slow
              let! profile = w.Profile token
              Expect.equal profile 401 "still logged out"
              let! again = w.Post("/cart/x", token)
              status 401 again "a write with the old token right after the logout"
              noCookie again
          })

      story "01b a slow request does not undo a logout everywhere, nor does a slow sign-in" (fun w ->
          task {
              let! here = w.SignIn "ann"
              let! there = w.SignIn "ann"
              let slow = w.Post("/slow/late", here)
              let login = w.Post("/slow-login?user=ann", here)
              do! w.App.Gate.EnteredAsync 2
              let! out = w.Post("/logout-everywhere", there)
              Expect.equal out.Body "2" "two sessions ended"
              w.App.Gate.Open()
              let! slow = slow
              let! login = login
              status 401 slow "the slow request"
              status 401 login "the slow sign-in"
              noCookie login
              let! profile = w.Profile here
              Expect.equal profile 401 "still logged out"
          })

      story "02 a hundred parallel updates all count" (fun w ->
          task {
              let! token = w.Begin "first"
              let! answers = all [ for i in 1..100 -> w.Post($"/cart/s{i}", token) ]
              Expect.all answers (fun a -> a.Status = 200) "all are 200"
              let! cart = w.Cart token
              let items = cart.Split ','
              Expect.equal items.Length 101 "none is lost, none counts twice"
              Expect.equal (Set.ofArray items).Count 101 "each is there"
          })

      story "02b a hundred updates that all read before the first writes all count" (fun w ->
          task {
              let! token = w.Begin "first"
              let slow = all [ for i in 1..100 -> w.Post($"/slow/s{i}", token) ]
              do! w.App.Gate.EnteredAsync 100
              w.App.Gate.Open()
              let! answers = slow
              let refused = answers |> Array.filter (fun a -> a.Status <> 200)
              Expect.isEmpty refused "all are 200"
              let! cart = w.Cart token
              Expect.equal (cart.Split(',').Length) 101 "none is lost"
          })

      story "03 a token known before sign-in is dead after it" (fun w ->
          task {
              let! planted = w.Begin "x"
              let! login = w.Post("/login?user=ann", planted)
              let own = token login
              Expect.notEqual own planted "a new token"
              let! attacker = w.Profile planted
              Expect.equal attacker 401 "the planted token opens nothing"
              let! victim = w.Profile own
              Expect.equal victim 200 "the new one does"
              let! cart = w.Cart own
              Expect.equal cart "x" "the data came along"
              let! guarded = w.Get("/guarded", planted)
              status 401 guarded "the guard"
          })

      story "04 a made-up id is not taken over" (fun w ->
          task {
              let made = String('B', 22) + "." + wrongSecret
              let! answer = w.Post("/cart/x", made)
              status 200 answer "a write begins a session"
              Expect.notEqual (idOf (token answer)) (idOf made) "under an id of ours"
              let! cart = w.Cart made
              Expect.equal cart "(none)" "and the made-up token opens nothing"
          })

      story "04b a real id with a wrong secret opens nothing and harms none" (fun w ->
          task {
              let! token = w.SignIn "ann"
              let guess = idOf token + "." + wrongSecret

              for path in [ "/profile"; "/guarded" ] do
                  let! answer = w.Get(path, guess)
                  status 401 answer path
                  noCookie answer

              for path in [ "/cart/x"; "/save/x"; "/elevate" ] do
                  let! answer = w.Post(path, guess)
                  status 401 answer path
                  noCookie answer

              let! out = w.Post("/logout", guess)
              noCookie out
              let! profile = w.Profile token
              Expect.equal profile 200 "the session is unharmed"
              Expect.equal (w.Count "Replayed") 0 "and nothing was reported"
          })

      story "08 a request in flight at sign-in neither opens nor ends anything" (fun w ->
          task {
              let! old = w.Begin "x"
              let writing = w.Post("/slow/late", old)
              let leaving = w.Post("/slow-logout", old)
              do! w.App.Gate.EnteredAsync 2
              let! login = w.Post("/login?user=ann", old)
              let own = token login
              w.App.Gate.Open()
              let! writing = writing
              let! leaving = leaving
              status 401 writing "the write"
              status 401 leaving "the logout in flight ends nothing, and says so"
              noCookie writing
              noCookie leaving

              for verb, path in [ "GET", "/cart"; "POST", "/cart/y"; "POST", "/logout"; "POST", "/save/y" ] do
                  let! answer = w.Send(verb, path, [ "Cookie", "sid=" + old ])
                  noCookie answer

              let! profile = w.Profile own
              Expect.equal profile 200 "the session lives"
              let! cart = w.Cart own
              Expect.equal cart "x" "unchanged"
          })

      story "17 another user's session is 404" (fun w ->
          task {
              let! ann = w.SignIn "ann"
              let! bob = w.SignIn "bob"
              let! answer = w.Delete("/sessions/" + idOf ann, bob)
              status 404 answer "not bob's"
              let! unknown = w.Delete("/sessions/nobody", bob)
              status 404 unknown "the same as for an id that there is not"
              let! listed = w.Get("/sessions", bob)
              Expect.equal listed.Body (idOf bob) "bob sees his own"
              let! profile = w.Profile ann
              Expect.equal profile 200 "ann's lives"
              let! own = w.Delete("/sessions/" + idOf ann, ann)
              status 204 own "ann may"
              let! profile = w.Profile ann
              Expect.equal profile 401 "and it is over"
          })

      story "20 a save on data that has changed is a 409" (fun w ->
          task {
              let! token = w.Begin "first"
              let slow = w.Post("/save/slow?wait=true", token)
              do! w.App.Gate.EnteredAsync 1
              let! quick = w.Post("/save/quick", token)
              status 200 quick "the first save"
              w.App.Gate.Open()
              let! slow = slow
              status 409 slow "the second"
              noCookie slow
              let! cart = w.Cart token
              Expect.equal cart "first,quick" "the first one stays"
          })

      story "21 an elevation: the old token is dead at once" (fun w ->
          task {
              let! old = w.SignIn "ann"
              let! answer = w.Post("/elevate", old)
              status 200 answer "elevated"
              let next = token answer
              Expect.equal (idOf next) (idOf old) "the same session"
              let! before = w.Profile old
              Expect.equal before 401 "old"
              let! after = w.Profile next
              Expect.equal after 200 "new"
              Expect.equal (w.Count "Replayed") 0 "no replay: only outdated"
              let! none = w.Post "/elevate"
              status 401 none "without a session there is nothing to elevate"
          })

      storyWith
          kind
          "22 a hundred parallel sign-ins leave as many sessions as allowed"
          (fun o -> o.MaxSessionsPerSubject <- Nullable 3)
          (fun w ->
              task {
                  let! answers = all [ for _ in 1..100 -> w.Post "/login?user=ann" ]
                  let acknowledged = answers |> Array.filter (fun a -> a.Status = 200)

                  Expect.all
                      answers
                      (fun a -> a.Status = 200 || a.Status = 401)
                      "200, or 401 for one that had to make room"

                  let! alive = all [ for a in acknowledged -> w.Profile(token a) ]
                  Expect.equal (alive |> Array.filter ((=) 200) |> Array.length) 3 "three live"
                  let! other = w.SignIn "bob"
                  let! bob = w.Profile other
                  Expect.equal bob 200 "another subject is not counted"
              })

      storyWith
          kind
          "22b with a limit of one, the newest sign-in stays"
          (fun o -> o.MaxSessionsPerSubject <- Nullable 1)
          (fun w ->
              task {
                  let! first = w.SignIn "ann"
                  w.Clock.Advance(TimeSpan.FromSeconds 1L)
                  let! second = w.SignIn "ann"
                  let! a = w.Profile first
                  let! b = w.Profile second
                  Expect.equal (a, b) (401, 200) "first out, second in"
                  Expect.equal (w.Count "Destroyed Limit") 1 "and the application was told"
              })

      storyWith
          kind
          "22c where the limit refuses, a hundred parallel sign-ins get as many sessions as allowed"
          (fun o ->
              o.MaxSessionsPerSubject <- Nullable 3
              o.WhenLimitReached <- SessionLimitBehavior.RefuseNew)
          (fun w ->
              task {
                  let! answers = all [ for _ in 1..100 -> w.Post "/login?user=ann" ]
                  let acknowledged = answers |> Array.filter (fun a -> a.Status = 200)
                  Expect.equal acknowledged.Length 3 "three are let in"
                  Expect.all answers (fun a -> a.Status = 200 || a.Status = 409) "the others hear why"
                  let! alive = all [ for a in acknowledged -> w.Profile(token a) ]
                  Expect.all alive ((=) 200) "and nobody is thrown out for them"
                  let! cart = w.Begin "x"
                  let! refused = w.Post("/login?user=ann", cart)
                  status 409 refused "a fourth, from a browser with a cart"
                  noCookie refused
                  let! kept = w.Cart cart
                  Expect.equal kept "x" "which keeps its cart"
                  let! _ = w.Post("/logout", token acknowledged[0])
                  let! now = w.Post("/login?user=ann", cart)
                  status 200 now "when one has left, there is room"
                  let! again = w.Post("/login?user=ann", token now)
                  status 200 again "who is in may sign in again"
              })

      storyWith kind "08b a token from before a sign-in is refused, and told" never (fun w ->
          task {
              let! planted = w.Begin "x"
              let! signedIn = w.Post("/login?user=ann", planted)
              let! refused = w.Get("/profile", planted)
              status 401 refused "refused"
              noCookie refused
              Expect.equal (w.Count "Outdated") 1 "told"
              let! alive = w.Profile(token signedIn)
              Expect.equal alive 200 "and no more than that"
          }) ]

let private renewal kind =
    let story name body = storyWith kind name plain body

    [ story "05 fifty parallel requests across a renewal" (fun w ->
          task {
              let! token = w.SignIn "ann"
              w.Clock.Advance(minutes 15.0)
              let! answers = all [ for _ in 1..50 -> w.Get("/profile", token) ]
              Expect.all answers (fun a -> a.Status = 200) "nobody is logged out"
              Expect.equal (answers |> Seq.sumBy (fun a -> a.SetCookies.Length)) 1 "exactly one Set-Cookie"
              let next = answers |> Seq.find (fun a -> not a.SetCookies.IsEmpty) |> Http.token
              let! confirmed = w.Get("/profile", next)
              status 200 confirmed "the next token"
              noCookie confirmed
              let! both = all [ for i in 1..50 -> w.Get("/profile", (if i % 2 = 0 then token else next)) ]
              Expect.all both (fun a -> a.Status = 200 && a.SetCookies.IsEmpty) "in the grace both work"
              Expect.equal (w.Count "Regenerated Renewal") 1 "told once"
          })

      story "06 a lost renewal costs nothing" (fun w ->
          task {
              let! old = w.SignIn "ann"
              w.Clock.Advance(minutes 15.0)
              let! lost = w.Get("/profile", old)
              let lost = token lost
              let! still = w.Get("/profile", old)
              status 200 still "the old one works on"
              noCookie still
              w.Clock.Advance(TimeSpan.FromSeconds 30L)
              let! again = w.Get("/profile", old)
              status 200 again "after the grace, too"
              let second = token again
              Expect.notEqual second lost "another one is issued"
              let! late = w.Profile lost
              Expect.equal late 200 "the late one lets in: its answer came, and another is on its way"
              let! newest = w.Get("/profile", second)
              status 200 newest "and kills nothing: the newest confirms"
              noCookie newest
              let! grace = w.Profile old
              Expect.equal grace 200 "the old one has its grace"
              let! twin = w.Get("/profile", lost)
              status 401 twin "of two twins one opens then"
              noCookie twin
              let! still = w.Profile second
              Expect.equal still 200 "and the session lives"
              Expect.equal (w.Count "Replayed") 0 "a lost twin is no replay"
          })

      story "06 a renewal whose second answer is lost costs nothing" (fun w ->
          task {
              let! old = w.SignIn "ann"
              w.Clock.Advance(minutes 15.0)
              let! first = w.Get("/profile", old)
              let first = token first
              w.Clock.Advance(TimeSpan.FromSeconds 30L)
              let! lost = w.Get("/profile", old)
              let lost = token lost
              w.Clock.Advance(TimeSpan.FromSeconds 60L)
              let! confirmed = w.Profile first
              Expect.equal confirmed 200 "the newer one must have come by now: the one before confirms"
              let! twin = w.Profile lost
              Expect.equal twin 401 "and of two twins one opens"
              let! still = w.Profile first
              Expect.equal still 200 "and the session lives"
          })

      story "07 a replay after the grace ends the session, and is told once" (fun w ->
          task {
              let! old = w.SignIn "ann"
              w.Clock.Advance(minutes 15.0)
              let! issued = w.Get("/profile", old)
              let next = token issued
              let! _ = w.Profile next
              w.Clock.Advance(TimeSpan.FromSeconds 30L - TimeSpan.FromTicks 1L)
              let! inGrace = w.Profile old
              Expect.equal inGrace 200 "one tick before the end of the grace"
              w.Clock.Advance(TimeSpan.FromTicks 1L)
              let! answers = all [ for _ in 1..10 -> w.Get("/profile", old) ]
              Expect.all answers (fun a -> a.Status = 401) "the replay"
              let! victim = w.Profile next
              Expect.equal victim 401 "ended for both"
              Expect.equal (w.Count "Replayed") 1 "told once"
              Expect.equal (w.Count "Destroyed Replayed") 1 "ended once"
          })

      // A sealed session cannot keep what a replay leaves behind: only its client writes to it.
      if kind <> Sealed then
          storyWith
              kind
              "07b where replays are only refused, the session lives"
              (fun o -> o.DestroyOnReplay <- false)
              (fun w ->
                  task {
                      let! old = w.SignIn "ann"
                      w.Clock.Advance(minutes 15.0)
                      let! issued = w.Get("/profile", old)
                      let next = token issued
                      let! _ = w.Profile next
                      w.Clock.Advance(TimeSpan.FromSeconds 30L)
                      let! answers = all [ for _ in 1..10 -> w.Get("/profile", old) ]
                      Expect.all answers (fun a -> a.Status = 401 && a.SetCookies.IsEmpty) "refused"
                      let! victim = w.Profile next
                      Expect.equal victim 200 "the session lives"
                      Expect.equal (w.Count "Replayed") 1 "told once"
                  }) ]

let private time kind =
    [ storyWith kind "09 idle ends at the tick" never (fun w ->
          task {
              let tick = TimeSpan.FromTicks 1L
              let! token = w.Begin "x"
              w.Clock.Advance(minutes 30.0 - tick)
              let! alive = w.Get("/cart", token)
              Expect.equal (alive.Body, alive.Header "X-Origin") ("x", Some "Resumed") "one tick before"
              w.Clock.Advance(minutes 30.0 - tick)
              let! alive = w.Get("/cart", token)
              Expect.equal alive.Body "x" "one tick before, again"
              w.Clock.Advance(minutes 30.0)
              let! over = w.Get("/cart", token)
              Expect.equal (over.Body, over.Header "X-Origin") ("(none)", Some "Expired") "at it"
              erased over
              let! guarded = w.Get("/guarded", token)
              status 401 guarded "the guard"
          })

      storyWith kind "09b absolute ends at the tick, whatever it does" never (fun w ->
          task {
              let tick = TimeSpan.FromTicks 1L
              let! token = w.SignIn "ann"

              for _ in 1..19 do
                  w.Clock.Advance(minutes 25.0)
                  let! alive = w.Profile token
                  Expect.equal alive 200 "in use"

              w.Clock.Advance(minutes 5.0 - tick)
              let! alive = w.Profile token
              Expect.equal alive 200 "one tick before"
              w.Clock.Advance tick
              let! over = w.Profile token
              Expect.equal over 401 "at it"
          })

      storyWith kind "09c a token that never came back ends at the confirm timeout" never (fun w ->
          task {
              let! first = w.Post "/cart/x"
              let! second = w.Post "/cart/y"
              w.Clock.Advance(minutes 10.0 - TimeSpan.FromTicks 1L)
              let! cart = w.Cart(token first)
              Expect.equal cart "x" "one tick before"
              w.Clock.Advance(TimeSpan.FromTicks 1L)
              let! cart = w.Cart(token second)
              Expect.equal cart "(none)" "at it"
              let! cart = w.Cart(token first)
              Expect.equal cart "x" "the confirmed one lives"
          })

      storyWith kind "09d an expired session is followed by a new one" never (fun w ->
          task {
              let! old = w.Begin "x"
              w.Clock.Advance(minutes 30.0)
              let! answer = w.Post("/cart/y", old)
              status 200 answer "a write begins anew"
              Expect.notEqual (idOf (token answer)) (idOf old) "under a new id"
              Expect.equal answer.Body "y" "with nothing of the old"
          })

      storyWith kind "23 the sweeper tells of an end once" never (fun w ->
          task {
              let! _ = w.Begin "x"
              w.Clock.Advance(minutes 31.0)

              do!
                  eventually "OnExpired" (fun () ->
                      w.Clock.Advance(minutes 0.2)
                      w.Count "Expired" > 0)

              for _ in 1..10 do
                  w.Clock.Advance(minutes 1.2)
                  do! Task.Delay 10

              Expect.equal
                  (w.Heard |> List.filter _.StartsWith("Expired"))
                  [ "Expired Idle " + (if kind = Sealed then "" else string (App.Cart.Empty.With "x")) ]
                  "once, with the data, unless only its client can read it"
          }) ]

let private failures kind =
    let story name body = storyWith kind name plain body

    [ story "10 a failed save is no 200" (fun w ->
          task {
              let! token = w.Begin "x"
              w.Store.Fail [ "Replace"; "Insert" ]

              for path in [ "/cart/y"; "/save/y"; "/login?user=ann"; "/logout"; "/elevate" ] do
                  let! answer = w.Post(path, token)
                  status 503 answer path
                  noCookie answer
                  Expect.equal (answer.Header "Retry-After") (Some "1") "come back"

              let! fresh = w.Post "/cart/y"
              status 503 fresh "a new session"
              noCookie fresh
              w.Store.Heal()
              let! cart = w.Cart token
              Expect.equal cart "x" "nothing was changed"
          })

      story "11 the store down: 503, the cookie stays" (fun w ->
          task {
              let! token = w.SignIn "ann"
              w.Store.FailAll()

              for path in [ "/cart"; "/profile"; "/guarded"; "/sessions" ] do
                  let! answer = w.Get(path, token)
                  status 503 answer path
                  noCookie answer

              let! plain = w.Get("/plain", token)
              status 200 plain "no session needed"
              let! anonymous = w.Get "/cart"
              status 200 anonymous "no token, no store"
              w.Store.Heal()
              let! profile = w.Profile token
              Expect.equal profile 200 "as if nothing had been"
          })

      storyWith kind "11b an app may go on without" (fun o -> o.ContinueWithoutStore <- true) (fun w ->
          task {
              let! token = w.SignIn "ann"
              w.Store.FailAll()
              let! read = w.Get("/cart", token)
              Expect.equal (read.Status, read.Body) (200, "(none)") "reads go on without a session"
              noCookie read

              for path in [ "/cart/y"; "/save/y"; "/login?user=ann"; "/logout" ] do
                  let! answer = w.Post(path, token)
                  status 503 answer path
                  noCookie answer
          })

      storyWith kind "25 too much data is a 413 and changes nothing" (fun o -> o.MaxDataBytes <- 100) (fun w ->
          task {
              let! token = w.Begin "x"
              let huge = String('h', 100)

              for path in [ "/cart/"; "/save/" ] do
                  let! answer = w.Post(path + huge, token)
                  status 413 answer path
                  noCookie answer
                  let! fresh = w.Post(path + huge)
                  status 413 fresh "a new session"
                  noCookie fresh

              let! cart = w.Cart token
              Expect.equal cart "x" "as before"
          }) ]

let private wire kind =
    let story name body = storyWith kind name plain body

    [ story "12 no token, no store call" (fun w ->
          task {
              let! token = w.Begin "x"
              w.Store.Reset()
              let secret = token.Substring(token.LastIndexOf '.' + 1)

              let malformed =
                  [ "sid="
                    "sid=garbage"
                    "sid=" + String('A', 5000)
                    "sid=." + secret
                    "sid=" + token + "x"
                    "sid=" + token.Substring 1 + " x"
                    "sid=\"" + token + "\""
                    "sid=" + Uri.EscapeDataString(token.Replace(".", "%2E"))
                    "sid=" + idOf token + "." + secret.Substring(0, 42) + "="
                    "sid=" + idOf token + "." + String('A', 42) + "B"
                    "sid=a/../b." + secret
                    "SID=" + token
                    "xsid=" + token
                    "sid" ]

              for cookie in malformed do
                  let! answer = w.Send("GET", "/cart", [ "Cookie", cookie ])
                  Expect.equal (answer.Status, answer.Body) (200, "(none)") cookie
                  noCookie answer

              for path in [ "/plain"; "/cart"; "/profile"; "/guarded" ] do
                  let! answer = w.Get path
                  noCookie answer

              let! untouched = w.Get("/plain", token)
              noCookie untouched
              Expect.isEmpty w.Store.Counts "no call at all"
          })

      story "13 a GET that only reads sets no cookie" (fun w ->
          task {
              let! visit = w.Get "/cart"
              noCookie visit
              let! token = w.Begin "x"
              let! read = w.Get("/cart", token)
              noCookie read
              let! write = w.Post("/cart/y", token)
              noCookie write
              Expect.equal (write.Header "Cache-Control") (Some "private") "it is nobody else's"
          })

      story "14 two values under one name are no session; twice the same is one" (fun w ->
          task {
              let! a = w.Begin "a"
              let! b = w.Begin "b"
              w.Store.Reset()

              for cookies in
                  [ [ "Cookie", $"sid={a}; sid={b}" ]
                    [ "Cookie", $"sid={b}; other=1; sid={a}" ]
                    [ "Cookie", $"sid={a}; sid=" ]
                    [ "Cookie", $"sid={a}; sid=garbage" ] ] do
                  let! answer = w.Send("GET", "/cart", cookies)
                  Expect.equal (answer.Status, answer.Body) (200, "(none)") "no session"
                  noCookie answer

              Expect.isEmpty w.Store.Counts "no store call"
              let! twice = w.Send("GET", "/cart", [ "Cookie", $"sid={a}; sid={a}" ])
              Expect.equal twice.Body "a" "the session"
          })

      story "14b a logout with two values under the name ends both sessions" (fun w ->
          task {
              let! a = w.SignIn "ann"
              let! b = w.Begin "b"
              let! out = w.Send("POST", "/logout", [ "Cookie", $"sid={a}; sid={b}" ])

              Expect.equal
                  (out.Status, out.Header "X-Origin", out.Header "X-State")
                  (200, Some "Invalid", Some "Destroyed")
                  "ended, and said so"

              Expect.equal (parseSetCookie (List.exactlyOne out.SetCookies)).Value "" "the cookie is expired"
              Expect.equal (w.Count "Refused Duplicate") 1 "told"
              Expect.equal (w.Count "Destroyed SignedOut") 2 "both"
              let! profile = w.Profile a
              Expect.equal profile 401 "the one"
              let! cart = w.Cart b
              Expect.equal cart "(none)" "and the other"
          })

      story "14c a logout that ends nothing is no success" (fun w ->
          task {
              let! own = w.SignIn "ann"
              let guess = idOf own + "." + wrongSecret
              let! refused = w.Post("/logout", guess)
              status 401 refused "a token that does not open its session"
              noCookie refused
              Expect.equal (w.Count "Refused Guess") 1 "told"
              let! planted = w.Begin "x"
              let! _ = w.Post("/login?user=bob", planted)
              let! outdated = w.Post("/logout", planted)
              status 401 outdated "a token from before the sign-in"
              noCookie outdated
              let! garbage = w.Post("/logout", "garbage")

              Expect.equal
                  (garbage.Status, garbage.Header "X-Origin", garbage.Header "X-State")
                  (200, Some "Invalid", Some "None")
                  "no token at all: the program can see it"

              noCookie garbage
              Expect.equal (w.Count "Refused Malformed") 1 "told"
              let! profile = w.Profile own
              Expect.equal profile 200 "nobody was signed out"
              let! mixed = w.Send("POST", "/logout", [ "Cookie", $"sid={guess}; sid={own}" ])
              status 401 mixed "one of the two could not be ended"
              let! profile = w.Profile own
              Expect.equal profile 401 "the other one was"
              let! many = w.Send("POST", "/logout", [ "Cookie", String.Join("; ", [ for i in 1..20 -> $"sid={i}" ]) ])
              status 401 many "more than are looked at"
              w.Store.Reset()
              let! nothing = w.Post "/logout"

              Expect.equal
                  (nothing.Status, nothing.Header "X-Origin", nothing.Header "X-State")
                  (200, Some "New", Some "None")
                  "without a token there is nothing to end"

              Expect.isEmpty w.Store.Counts "and no store call"
          })

      story "29 the time of the sign-in, and the events of it" (fun w ->
          task {
              let! token = w.Begin "x"
              let! before = w.Get("/cart", token)
              Expect.equal (before.Header "X-Authenticated") (Some "never") "nobody has signed in"
              w.Clock.Advance(minutes 1.0)
              let! login = w.Post("/login?user=ann", token)
              w.Clock.Advance(minutes 1.0)
              let! after = w.Get("/cart", Http.token login)

              Expect.equal
                  (after.Header "X-Authenticated")
                  (Some((w.Clock.GetUtcNow() - minutes 1.0).ToString "O"))
                  "the time of the sign-in"

              Expect.equal (w.Count "SignedIn") 1 "told, with a session before"
              let! _ = w.Post "/login?user=bob"
              Expect.equal (w.Count "SignedIn") 2 "and without"
          })

      // A cache cannot list: it says so.
      if kind <> Cache then
          story "30 every session of everybody ends" (fun w ->
              task {
                  let! ann = w.SignIn "ann"
                  let! bob = w.SignIn "bob"
                  let! cart = w.Begin "x"
                  let! _ = w.Post("/logout", bob)

                  let manager =
                      match w.App.Services.GetService typeof<SessionManager<App.Cart>> with
                      | :? (SessionManager<App.Cart>) as manager -> manager
                      | _ -> failtest "no manager"

                  let! count = manager.DestroyEverySessionAsync()
                  Expect.equal count 2 "those that lived"
                  let! profile = w.Profile ann
                  Expect.equal profile 401 "ann's"
                  let! left = w.Cart cart
                  Expect.equal left "(none)" "the anonymous one"
                  let! again = manager.DestroyEverySessionAsync()
                  Expect.equal again 0 "none is left"
              })

      storyWith
          kind
          "15 logout expires the cookie with the same attributes"
          (fun o ->
              o.Cookie.Path <- "/"
              o.Cookie.Domain <- "example.com"
              o.Cookie.MaxAge <- Nullable(TimeSpan.FromHours 1)
              o.Cookie.SameSite <- Microsoft.AspNetCore.Http.SameSiteMode.Strict)
          (fun w ->
              task {
                  let! login = w.Post "/login?user=ann"
                  let set = parseSetCookie (List.exactlyOne login.SetCookies)
                  let! logout = w.Post("/logout", set.Value)
                  let cleared = parseSetCookie (List.exactlyOne logout.SetCookies)
                  Expect.equal (cleared.Name, cleared.Value) (set.Name, "") "the same name, no value"
                  Expect.equal cleared.Attributes["max-age"] "0" "over"
                  Expect.equal set.Attributes["max-age"] "3600" "an hour before"
                  let others (cookie: SetCookie) = cookie.Attributes |> Map.remove "expires" |> Map.remove "max-age"
                  Expect.equal (others cleared) (others set) "the same attributes"
                  Expect.isTrue (set.Attributes.ContainsKey "httponly") "never for scripts"
                  Expect.equal set.Attributes["domain"] "example.com" "domain"
                  Expect.equal set.Attributes["samesite"] "strict" "same site"
                  let! again = w.Post("/logout", set.Value)
                  status 200 again "logout twice is fine"
              })

      story "16 what sets the cookie is not cached" (fun w ->
          task {
              for header, expected in
                  [ "public, max-age=60", "no-store"
                    "private, no-store, must-revalidate", "private, no-store, must-revalidate"
                    "no-store", "no-store"
                    "private", "no-store, private" ] do
                  let! answer = w.Post("/cached/x?header=" + Uri.EscapeDataString header)
                  Expect.equal answer.SetCookies.Length 1 "a cookie"
                  Expect.equal (answer.Header "Cache-Control") (Some expected) header

              let! created = w.Post "/cart/x"
              Expect.equal (created.Header "Cache-Control") (Some "no-store") "without a header of the app"
              let! kept = w.Post("/cached/y?header=public", token created)
              Expect.equal (kept.Header "Cache-Control") (Some "public") "no cookie: the app's own header"
              let! logout = w.Post("/logout", token created)
              Expect.equal (logout.Header "Cache-Control") (Some "no-store") "logout"
          })

      story "19 call counts" (fun w ->
          task {
              let counts what expected =
                  Expect.equal (w.Store.Counts |> List.sort) (List.sort expected) what
                  w.Store.Reset()

              let! first = w.Post "/cart/x"
              counts "begin: 1" [ "Insert", 1 ]
              let token = token first
              let! _ = w.Get("/cart", token)
              counts "first presentation: 2" [ "Load", 1; "Replace", 1 ]
              let! _ = w.Get("/cart", token)
              counts "read: 1" [ "Load", 1 ]
              let! _ = w.Post("/cart/y", token)
              counts "write: 2" [ "Load", 1; "Replace", 1 ]
              let! _ = w.Post("/save/z", token)
              counts "save: 2" [ "Load", 1; "Replace", 1 ]
              let! _ = w.Get("/guarded", token)
              counts "guard: 1" [ "Load", 1 ]
              let! _ = w.Get("/plain", token)
              counts "untouched: 0" []
              let! login = w.Post("/login?user=ann", token)
              counts "sign-in: 2" [ "Load", 1; "Replace", 1 ]
              let token = Http.token login
              let! _ = w.Post("/logout", token)
              counts "logout: 2" [ "Load", 1; "Replace", 1 ]
              let! _ = w.Get("/cart", token)
              counts "over: 1" [ "Load", 1 ]
          })

      storyWith kind "24 the token in a header" (fun o -> o.HeaderName <- "X-Session-Token") (fun w ->
          task {
              let header (value: string) = [ "X-Session-Token", value ]
              let! asked = w.Send("POST", "/cart/x", header "")
              status 200 asked "asked for with an empty header"
              noCookie asked
              let token = Option.get (asked.Header "X-Session-Token")
              Expect.equal (asked.Header "Cache-Control") (Some "no-store") "not cached"
              let! read = w.Send("GET", "/cart", header token)
              Expect.equal read.Body "x" "it opens the session"
              let! both = w.Send("GET", "/cart", ("Cookie", "sid=" + token) :: header token)
              status 400 both "both at once"
              let! both = w.Send("GET", "/plain", ("Cookie", "sid=" + token) :: header "")
              status 400 both "both at once, even if one is empty"
              let! cookie = w.Post "/cart/y"
              Expect.equal cookie.SetCookies.Length 1 "without the header: a cookie"
              Expect.isNone (cookie.Header "X-Session-Token") "and no header"
              let! login = w.Send("POST", "/login?user=ann", header token)
              let next = Option.get (login.Header "X-Session-Token")
              noCookie login
              let! profile = w.Send("GET", "/profile", header next)
              status 200 profile "signed in"
              let! logout = w.Send("POST", "/logout", header next)
              noCookie logout
              let! profile = w.Send("GET", "/profile", header next)
              status 401 profile "signed out"
          }) ]

let private combined kind =
    let story name body = storyWith kind name plain body

    [ story "05b parallel writes across a renewal and its confirmation all count" (fun w ->
          task {
              let! old = w.Begin "x"
              w.Clock.Advance(minutes 15.0)
              let! answers = all [ for i in 1..50 -> w.Post($"/cart/a{i}", old) ]
              Expect.all answers (fun a -> a.Status = 200) "all are 200"
              Expect.equal (answers |> Seq.sumBy _.SetCookies.Length) 1 "one new token"
              let next = answers |> Seq.find (fun a -> not a.SetCookies.IsEmpty) |> token
              let! both = all [ for i in 1..50 -> w.Post($"/cart/b{i}", (if i % 2 = 0 then old else next)) ]
              Expect.all both (fun a -> a.Status = 200 && a.SetCookies.IsEmpty) "all are 200 again"
              let! cart = w.Cart next
              Expect.equal (cart.Split(',').Length) 101 "none is lost"
          })

      story "05c a sign-in or a logout when a renewal is due: one Set-Cookie, the last word" (fun w ->
          task {
              let! old = w.Begin "x"
              w.Clock.Advance(minutes 15.0)
              let! login = w.Post("/login?user=ann", old)
              let own = token login
              let! profile = w.Profile own
              Expect.equal profile 200 "the token of the sign-in"
              let! before = w.Get("/cart", old)
              Expect.equal before.Body "(none)" "the old one is dead"
              w.Clock.Advance(minutes 15.0)
              let! logout = w.Post("/logout", own)
              let cleared = parseSetCookie (List.exactlyOne logout.SetCookies)
              Expect.equal cleared.Value "" "the cookie is expired, and not renewed"
          })

      story "26 a session created in place of another ends it" (fun w ->
          task {
              let! old = w.SignIn "ann"
              let! created = w.Post("/create/y", old)
              status 200 created "created"
              let next = token created
              Expect.notEqual (idOf next) (idOf old) "a new id"
              let! profile = w.Profile old
              Expect.equal profile 401 "the old one is over"
              let! cart = w.Cart next
              Expect.equal cart "y" "the new data"
              Expect.equal (w.Count "Destroyed SignedOut") 1 "told once"
          })

      story "27 after the response has started an open session still takes a write, and no new one begins" (fun w ->
          task {
              let! token = w.Begin "x"
              let! late = w.Post("/late/y", token)
              status 200 late "started"
              let! cart = w.Cart token
              Expect.equal cart "x,y" "and written"
              w.Store.Reset()

              try
                  let! _ = w.Post "/late/y"
                  failtest "the connection is cut"
              with :? System.Net.Http.HttpRequestException ->
                  ()

              Expect.isEmpty w.Store.Counts "nothing was stored"
          })

      story "28 a new sign-in right after a logout, with the old cookie, works" (fun w ->
          task {
              let! old = w.SignIn "ann"
              let! _ = w.Post("/logout", old)
              let! login = w.Post("/login?user=ann", old)
              status 200 login "signed in"
              Expect.notEqual (idOf (token login)) (idOf old) "under a new id"
              let! late = w.Post("/cart/x", old)
              noCookie late
              w.Clock.Advance(TimeSpan.FromSeconds 31L)
              let! later = w.Post("/cart/x", old)
              status 200 later "and once the requests in flight are through, a write begins a new session"
          })

      storyWith
          kind
          "22c a sign-in that could not be acknowledged changed nothing"
          (fun o -> o.MaxSessionsPerSubject <- Nullable 3)
          (fun w ->
              task {
                  let! token = w.Begin "x"
                  w.Store.Fail [ "BySubject" ]
                  let! login = w.Post("/login?user=ann", token)
                  status 503 login "the store did not list"
                  noCookie login
                  w.Store.Heal()
                  let! cart = w.Cart token
                  Expect.equal cart "x" "the session is as before"
              }) ]

let private nodes =
    let two (body: World -> World -> Task<unit>) =
        async {
            let folder = temporaryFolder ()

            try
                (task {
                    use one = openSqlite folder
                    use other = openSqlite folder
                    let! a = start one never
                    let! b = start other never

                    try
                        do! body a b
                    finally
                        (stop a).GetAwaiter().GetResult()
                        (stop b).GetAwaiter().GetResult()
                })
                    .GetAwaiter()
                    .GetResult()
            finally
                Directory.Delete(folder, true)
        }

    [ testCaseAsync
          "02c a hundred parallel updates on two nodes all count"
          (two (fun a b ->
              task {
                  let! token = a.Begin "first"
                  let! answers = all [ for i in 1..100 -> (if i % 2 = 0 then a else b).Post($"/cart/s{i}", token) ]
                  Expect.all answers (fun answer -> answer.Status = 200) "all are 200"
                  let! cart = b.Cart token
                  Expect.equal (cart.Split(',').Length) 101 "none is lost"
              }))
      testCaseAsync
          "01c a logout on one node is one on the other"
          (two (fun a b ->
              task {
                  let! token = a.SignIn "ann"
                  let slow = b.Post("/slow/late", token)
                  do! b.App.Gate.EnteredAsync 1
                  let! _ = a.Post("/logout", token)
                  b.App.Gate.Open()
                  let! slow = slow
                  status 401 slow "the slow request on the other node"
                  let! profile = b.Profile token
                  Expect.equal profile 401 "logged out there, too"
              }))
      testCaseAsync
          "23b of two sweepers one tells of an end"
          (two (fun a b ->
              task {
                  for _ in 1..5 do
                      let! _ = a.Begin "x"
                      ()

                  let told () = a.Count "Expired" + b.Count "Expired"

                  do!
                      eventually "five ends" (fun () ->
                          a.Clock.Advance(minutes 1.2)
                          b.Clock.Advance(minutes 1.2)
                          told () >= 5)

                  for _ in 1..5 do
                      a.Clock.Advance(minutes 1.2)
                      b.Clock.Advance(minutes 1.2)
                      do! Task.Delay 20

                  Expect.equal (told ()) 5 "each once"
              })) ]

let private restart =
    testCaseAsync
        "18 a tombstone survives a restart"
        (async {
            let folder = temporaryFolder ()

            try
                let live, ended =
                    (task {
                        use store = openSqlite folder
                        let! w = start store ignore
                        let! live = w.SignIn "ann"
                        let! ended = w.SignIn "ann"
                        let! _ = w.Post("/logout", ended)
                        do! stop w
                        return live, ended
                    })
                        .GetAwaiter()
                        .GetResult()

                (task {
                    use store = openSqlite folder
                    let! w = start store ignore
                    let! a = w.Profile live
                    let! b = w.Get("/profile", ended)
                    let! write = w.Post("/cart/x", ended)
                    do! stop w
                    Expect.equal a 200 "the live one lives"
                    status 401 b "the ended one stays ended"
                    status 401 write "and takes no write"
                    noCookie write
                })
                    .GetAwaiter()
                    .GetResult()
            finally
                Directory.Delete(folder, true)
        })

/// Every story on a store of this kind.
let on kind =
    testList
        (string kind)
        (List.concat
            [ security kind
              renewal kind
              time kind
              failures kind
              wire kind
              combined kind ])

let all =
    testList
        "stories"
        [ for kind in [ Memory; Sqlite; Redis; Mongo; Postgres; Protected; Sealed ] do
              on kind
          testList "two nodes" nodes
          restart ]
