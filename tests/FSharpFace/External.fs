/// A sign-in that comes from an identity provider.
module FSharpFace.External

open System.Threading
open Expecto
open FSharpFace.Programs
open FSharpFace.Site
open Session.AspNetCore
open Session.Engine

let private tea = { Items = [ "tea" ] }

let all =
    testList
        "external"
        [ testTask "signInExternal signs in, and leaves what a logout at the provider finds" {
              let store = MemoryStore()
              let bench = Bench<Cart>(store, (fun settings services -> services.AddSession<Cart> settings))

              do!
                  bench.Run(fun _ browser ->
                      task {
                          let external = ExternalSession("https://id.example.com", "its session")
                          let! signedIn = bench.Do(browser, Session.signInExternal external "ada" tea)
                          Expect.equal signedIn (Ok tea) "signed in"
                          let! subject = bench.Do(browser, Session.subject<Cart>)
                          Expect.equal subject (Some "ada") "as ada"
                          let port = store :> ISessionStore
                          let! page = port.Enumerate(null, 10, CancellationToken.None)

                          Expect.equal
                              page.Records.Count
                              3
                              "the session, and a link for its session there and one for its user"
                      })
          } ]
