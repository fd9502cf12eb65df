/// The data changes its shape while sessions live: new nodes read old data, old nodes leave new data alone.
module Integration.Versions

open System
open System.Text.Json.Nodes
open Expecto
open Integration.App
open Integration.Http
open Integration.World
open Session.AspNetCore
open Session.CSharp
open Session.Engine

/// Version 2 of the cart: whoever was there before gets a present.
let private second (options: SessionOptions<Cart>) =
    options.DataVersion <- 2

    options.Upcasters[1] <-
        fun json ->
            (nonNull json["items"]).AsArray().Add(JsonValue.Create "present")
            json

let private third options =
    second options
    options.DataVersion <- 3

    options.Upcasters[2] <-
        fun json ->
            let items = JsonArray()

            for item in (nonNull json["items"]).AsArray() do
                items.Add(JsonValue.Create(string item + "!"))

            json["items"] <- items
            json

/// Writes what is no JSON.
type private Garbled() =
    interface ISessionSerializer<Cart> with
        member _.Serialize _ = "not { json"B
        member _.Deserialize _ = Cart.Empty

let private status expected (answer: Answer) what = Expect.equal answer.Status expected what

let all =
    testList
        "versions of the data"
        [ testCaseTask "a new node brings old data forward, step by step, and writes the new version" (fun () ->
              task {
                  let store = MemoryStore()
                  let! first = start store ignore
                  let! token = first.Begin "x"
                  do! stop first
                  let! third = start store third
                  let! cart = third.Cart token
                  Expect.equal cart "x!,present!" "read through both upcasters"
                  let! written = third.Post("/cart/y", token)
                  Expect.equal written.Body "x!,present!,y" "and written"
                  let! again = third.Cart token
                  Expect.equal again "x!,present!,y" "in the new version: not brought forward twice"
                  do! stop third
              })

          testCaseTask "an old node leaves newer data alone: 503, the cookie and the record stay" (fun () ->
              task {
                  let store = MemoryStore()
                  let! older = start store ignore
                  let! newer = start store second
                  let! token = older.Begin "x"
                  let! _ = newer.Post("/cart/y", token)
                  let! read = older.Get("/cart", token)
                  status 503 read "a read on the old node"
                  Expect.isEmpty read.SetCookies "no cookie"
                  let! write = older.Post("/cart/z", token)
                  status 503 write "a write on the old node"
                  Expect.isEmpty write.SetCookies "no other session in its place"
                  let! guarded = older.Get("/guarded", token)
                  status 503 guarded "a guarded endpoint"
                  let! cart = newer.Cart token
                  Expect.equal cart "x,present,y" "nothing is lost"
                  let! plain = older.Get("/plain", token)
                  status 200 plain "what needs no session is served"
                  do! stop older
                  do! stop newer
              })

          testCaseTask "an update that meets newer data on the way is a 503, and writes nothing" (fun () ->
              task {
                  let store = MemoryStore()
                  let! older = start store ignore
                  let! newer = start store second
                  let! token = older.Begin "x"
                  let slow = older.Post("/slow/z", token)
                  do! older.App.Gate.EnteredAsync 1
                  let! _ = newer.Post("/cart/y", token)
                  older.App.Gate.Open()
                  let! slow = slow
                  status 503 slow "the slow request of the old node"
                  let! cart = newer.Cart token
                  Expect.equal cart "x,present,y" "nothing is lost"
                  do! stop older
                  do! stop newer
              })

          testCaseTask "data that nobody can read starts fresh, with an event, and never a 500" (fun () ->
              task {
                  let store = MemoryStore()
                  let! broken = start store (fun options -> options.Serializer <- Garbled())
                  let! token = broken.Post "/cart/x"
                  let token = Http.token token
                  do! stop broken
                  let! w = start store ignore
                  let! read = w.Get("/cart", token)
                  status 200 read "answered"
                  Expect.equal (read.Body, read.Header "X-Origin") ("(none)", Some "Invalid") "without a session"
                  Expect.equal (w.Count "Unreadable") 1 "told"
                  let! write = w.Post("/cart/y", token)
                  status 200 write "a write begins another session"
                  Expect.notEqual (idOf (Http.token write)) (idOf token) "under another id"
                  let! found = (store :> ISessionStore).Load(idOf token, Threading.CancellationToken.None)
                  Expect.isNotNull found "the record stays"
                  let! out = w.Post("/logout", token)
                  status 200 out "its client can still log out"
                  Expect.equal (w.Count "Destroyed SignedOut") 1 "and that ends it"
                  do! stop w
              }) ]
