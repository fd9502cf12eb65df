/// Guards in Giraffe's words, as far as the programs of docs/FSHARP.md do not go.
module FSharpFace.Handlers

open System
open Expecto
open Giraffe
open System.Threading.Tasks
open Microsoft.AspNetCore.Builder
open Microsoft.AspNetCore.Http
open Microsoft.Extensions.DependencyInjection
open FSharpFace.Programs
open FSharpFace.Site
open Session.AspNetCore
open Session.Engine

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
          }

          // Nobody knows then whether there is a session: that is no reason to send anybody to a login page.
          testTask "while the store is down guards answer 503, whatever they would do without a session" {
              let passes: HttpHandler = setStatusCode 401
              let guarded: HttpHandler = text "in"
              let missing (context: HttpContext) : Task = context.Response.WriteAsync "sign in"
              let inside (context: HttpContext) : Task = context.Response.WriteAsync "in"
              let day = TimeSpan.FromDays 1
              let mutable isDown = false

              let store =
                  { new ForwardingStore(MemoryStore()) with
                      override it.Load(id, cancel) =
                          if isDown then raise (IO.IOException "down") else it.Inner.Load(id, cancel) }

              let add (services: IServiceCollection) =
                  services
                      .AddSession<Cart>(fun it -> { plain it with ContinueWithoutStore = true })
                      .UseStore(fun _ -> store)
                  |> ignore

              let plainGuards: (string * (HttpContext -> Task)) list =
                  [ "/e/session", SessionEndpoint.requireSession<Cart> inside
                    "/e/session-or", SessionEndpoint.requireSessionOr<Cart> missing inside
                    "/e/sign-in", SessionEndpoint.requireSignIn<Cart> inside
                    "/e/sign-in-or", SessionEndpoint.requireSignInOr<Cart> missing inside
                    "/e/within", SessionEndpoint.requireSignInWithin<Cart> day inside
                    "/e/within-or", SessionEndpoint.requireSignInWithinOr<Cart> day missing inside
                    "/e/data", SessionEndpoint.withSession<Cart>(fun _ -> inside)
                    "/e/data-or", SessionEndpoint.withSessionOr<Cart> missing (fun _ -> inside)
                    "/e/subject-or", SessionEndpoint.withSubjectOr<Cart> missing (fun _ -> inside)
                    "/e/subject", SessionEndpoint.withSubject<Cart>(fun _ -> inside) ]

              let app =
                  choose
                      [ POST >=> routef "/sign-in/%s" GiraffeProgram.signIn
                        route "/h/session" >=> SessionHandler.requireSession<Cart> passes >=> guarded
                        route "/h/sign-in" >=> SessionHandler.requireSignIn<Cart> passes >=> guarded
                        route "/h/within" >=> SessionHandler.requireSignInWithin<Cart> day passes >=> guarded
                        route "/h/data" >=> SessionHandler.withSession<Cart>(fun _ -> guarded)
                        route "/h/subject" >=> SessionHandler.withSubject<Cart>(fun _ -> guarded)
                        text "another route" ]

              let map (web: WebApplication) =
                  web.UseSession<Cart>() |> ignore

                  for path, handler in plainGuards do
                      web.MapGet(path, RequestDelegate handler) |> ignore

                  web.UseRouting().UseEndpoints(ignore) |> ignore
                  web.UseGiraffe app

              do!
                  serving add map (fun _ browser ->
                      task {
                          let! _ = browser.Send("POST", "/sign-in/ada")

                          let handlers = [ "/h/session"; "/h/sign-in"; "/h/within"; "/h/data"; "/h/subject" ]

                          for path in List.map fst plainGuards @ handlers do
                              let! up = browser.Send("GET", path)
                              Expect.equal (up.Status, up.Body) (200, "in") path
                              isDown <- true
                              let! down = browser.Send("GET", path)
                              Expect.equal down.Status 503 $"{path}, down"
                              isDown <- false
                      })
          } ]
