/// The programs of docs/FSHARP.md, one for each framework, over HTTP.
module FSharpFace.Frameworks

open System
open Expecto
open Falco
open Giraffe
open Microsoft.AspNetCore.Builder
open Microsoft.AspNetCore.Hosting.Server
open Microsoft.AspNetCore.Hosting.Server.Features
open Microsoft.Extensions.DependencyInjection
open Microsoft.Extensions.Hosting
open Oxpecker
open FSharpFace.Programs
open FSharpFace.Site
open Session.AspNetCore
open Session.Engine

let private storyOf me withoutSession (browser: Browser) =
    task {
        let! nothing = browser.Send("GET", "/cart")
        Expect.equal (nothing.Status, nothing.Body) withoutSession "no cart"
        let! nobody = browser.Send("GET", me)
        Expect.equal nobody.Status 401 "nobody"
        let! tea = browser.Send("POST", "/cart/tea")
        Expect.equal (tea.Status, tea.Body) (200, """{"items":["tea"]}""") "begun"
        let! milk = browser.Send("POST", "/cart/milk")
        Expect.equal (milk.Status, milk.Body) (200, """{"items":["milk","tea"]}""") "one more"
        let! cart = browser.Send("GET", "/cart")
        Expect.equal cart.Body """{"items":["milk","tea"]}""" "read"
        let! anonymous = browser.Send("GET", me)
        Expect.equal anonymous.Status 401 "a session is no sign-in"
        let before = browser.Cookie
        let! long = browser.Send("POST", "/sign-in/" + String.replicate 1025 "x")
        Expect.equal long.Status 500 "no session can be of this subject"
        Expect.stringContains long.Body "1 to 1,024 bytes" "it says why"
        let! signedIn = browser.Send("POST", "/sign-in/ada")
        Expect.equal (signedIn.Status, signedIn.Body) (200, """{"items":["milk","tea"]}""") "signed in"
        Expect.notEqual browser.Cookie before "a new token"
        let! ada = browser.Send("GET", me)
        Expect.equal (ada.Status, ada.Body) (200, "ada") "ada"
        let own = browser.Cookie
        let! out = browser.Send("POST", "/sign-out")
        Expect.equal (out.Status, out.Body) (200, "Bye.") "out"
        browser.Cookie <- own
        let! over = browser.Send("GET", me)
        Expect.equal over.Status 401 "over"
        let! late = browser.Send("POST", "/cart/sugar")
        Expect.equal late.Status 401 "and a late request begins nothing"
    }

let private story withoutSession browser = storyOf "/me" withoutSession browser

let private program name withoutSession map =
    testTask name {
        let add (services: IServiceCollection) =
            services.AddRouting().AddSession<Cart>(plain).UseStore(fun _ -> MemoryStore() :> ISessionStore)
            |> ignore

        do! serving add map (fun _ browser -> story withoutSession browser)
    }

let all =
    testList
        "frameworks"
        [ program "Giraffe" (404, "") (fun app ->
              app.UseSession<Cart>() |> ignore
              app.UseGiraffe GiraffeProgram.webApp)

          program "Falco" (200, """{"items":[]}""") (fun app ->
              app.UseRouting().UseSession<Cart>() |> ignore
              app.UseFalco FalcoProgram.endpoints |> ignore)

          program "Oxpecker" (200, """{"items":[]}""") (fun app ->
              app.UseRouting().UseSession<Cart>() |> ignore
              app.UseOxpecker OxpeckerProgram.endpoints |> ignore)

          testTask "Saturn" {
              let host = (SaturnProgram.app plain "http://127.0.0.1:0").Build()
              do! host.StartAsync()

              try
                  let address =
                      (nonNull (host.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()))
                          .Addresses
                      |> Seq.head

                  do! storyOf "/account/me" (404, "") (Browser(Uri address))
              finally
                  host.StopAsync().GetAwaiter().GetResult()
                  host.Dispose()
          }

          testTask "Fable.Remoting" {
              let add (services: IServiceCollection) = services.AddSession<Cart>(plain).UseMemory() |> ignore

              let map (app: WebApplication) =
                  app.UseSession<Cart>() |> ignore
                  app.UseGiraffe RemotingProgram.webApp

              do!
                  serving add map (fun _ browser ->
                      task {
                          let call name argument =
                              task {
                                  let! answer = browser.Send("POST", "/api/CartApi/" + name, json = $"[{argument}]")

                                  Expect.equal answer.Status 200 name
                                  return answer.Body
                              }

                          let! nothing = call "items" ""
                          Expect.equal nothing "[]" "no cart"
                          Expect.equal browser.Cookie "" "and none begun"
                          let! tea = call "add" "\"tea\""
                          Expect.equal tea """{"Ok":["tea"]}""" "begun"
                          let! nobody = call "me" ""
                          Expect.equal nobody """{"Error":"Sign in first."}""" "anonymous"
                          let before = browser.Cookie
                          let! ada = call "signIn" "\"ada\""
                          Expect.equal ada """{"Ok":"ada"}""" "signed in"
                          Expect.notEqual browser.Cookie before "a new token"
                          let! me = call "me" ""
                          Expect.equal me """{"Ok":"ada"}""" "ada"
                          let own = browser.Cookie
                          let! out = call "signOut" ""
                          Expect.equal out """{"Ok":null}""" "out"
                          browser.Cookie <- own
                          let! late = call "add" "\"sugar\""
                          Expect.stringStarts late """{"Error":""" "a late call is told so, and begins nothing"
                      })
          } ]
