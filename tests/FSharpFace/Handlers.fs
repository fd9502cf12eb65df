/// Guards in Giraffe's words, as far as the programs of docs/FSHARP.md do not go.
module FSharpFace.Handlers

open System
open Expecto
open Giraffe
open Microsoft.AspNetCore.Builder
open Microsoft.Extensions.DependencyInjection
open FSharpFace.Programs
open FSharpFace.Site
open Session.AspNetCore

let all =
    testList
        "handlers"
        [ // `setStatusCode 401` by itself calls the next handler: that must not be the guarded one.
          testTask "Giraffe's guards end the pipeline, whatever their first handler does" {
              let passes: HttpHandler = setStatusCode 401
              let guarded: HttpHandler = text "in"
              let noTime = TimeSpan.FromTicks 1L

              let app =
                  choose
                      [ POST >=> routef "/sign-in/%s" GiraffeProgram.signIn
                        route "/session" >=> SessionHandler.requireSession<Cart> passes >=> guarded
                        route "/signed-in" >=> SessionHandler.requireSignIn<Cart> passes >=> guarded
                        route "/just-now" >=> SessionHandler.requireSignInWithin<Cart> noTime passes >=> guarded
                        route "/today"
                        >=> SessionHandler.requireSignInWithin<Cart> (TimeSpan.FromDays 1) passes
                        >=> guarded ]

              let add (services: IServiceCollection) = services.AddSession<Cart>(plain).UseMemory() |> ignore

              let map (web: WebApplication) =
                  web.UseSession<Cart>() |> ignore
                  web.UseGiraffe app

              do!
                  serving add map (fun _ browser ->
                      task {
                          for path in [ "/session"; "/signed-in"; "/just-now"; "/today" ] do
                              let! nobody = browser.Send("GET", path)
                              Expect.equal (nobody.Status, nobody.Body) (401, "") path

                          let! _ = browser.Send("POST", "/sign-in/ada")

                          for path, expected in
                              [ "/session", (200, "in")
                                "/signed-in", (200, "in")
                                "/just-now", (401, "")
                                "/today", (200, "in") ] do
                              let! ada = browser.Send("GET", path)
                              Expect.equal (ada.Status, ada.Body) expected path
                      })
          } ]
