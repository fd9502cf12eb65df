/// Endpoints that need a session, in pipelines that are right and in pipelines that are not; what is said at start.
module Integration.Guards

open System
open System.Threading.Tasks
open Expecto
open Microsoft.AspNetCore.Builder
open Microsoft.AspNetCore.Http
open Microsoft.Extensions.DependencyInjection
open Microsoft.Extensions.Options
open Integration.App
open Integration.Http
open Session.CSharp
open Session.Engine

let private addTo (configure: SessionOptions<Cart> -> unit) (store: ISessionStore) (services: IServiceCollection) =
    let options (o: SessionOptions<Cart>) =
        o.Cookie.Name <- "sid"
        o.Cookie.SecurePolicy <- CookieSecurePolicy.SameAsRequest
        configure o

    SessionServiceCollectionExtensions.AddSession<Cart>(services, Action<_> options).UseStore(fun _ -> store)
    |> ignore

let private add = addTo ignore (MemoryStore())
let private useSession (app: IApplicationBuilder) = SessionApplicationBuilderExtensions.UseSession<Cart> app |> ignore

let private withinAs (environment: string) services (pipeline: WebApplication -> unit) body =
    task {
        let! app = GuardApp.StartAsync(Action<_> services, Action<_> pipeline, environment)
        use client = newClient ()

        let ask verb path (token: string option) =
            send client app.Address verb path [ for token in Option.toList token -> "Cookie", "sid=" + token ]

        try
            do! body app ask
        finally
            app.DisposeAsync().AsTask().GetAwaiter().GetResult()
    }

let private within
    services
    pipeline
    (body: GuardApp -> (string -> string -> string option -> Task<Answer>) -> Task<unit>)
    =
    withinAs "Production" services pipeline body

/// A token of a session that lives in this store, whatever the guarded application's pipeline looks like.
let private tokenOf (store: ISessionStore) path =
    task {
        let mutable found = ""

        do!
            within (addTo ignore store) useSession (fun _ ask ->
                task {
                    let! begun = ask "POST" path None
                    found <- token begun
                    let! _ = ask "GET" "/minimal" (Some found)
                    ()
                })

        return found
    }

let private every = [ yield! GuardApp.Guarded; yield! GuardApp.SignedIn ]

/// None of them runs, with a session or without, and the log says what to change.
let private failsClosed paths (call: string) (services: ISessionStore -> IServiceCollection -> unit) pipeline =
    task {
        let store = MemoryStore()
        let! signedIn = tokenOf store "/login"

        do!
            within (services store) pipeline (fun app ask ->
                task {
                    for path in paths do
                        for token in [ None; Some signedIn ] do
                            let! answer = ask "GET" path token
                            Expect.equal answer.Status 500 $"{path}: {answer.Body}"

                    let! openAnswer = ask "GET" "/open" None
                    Expect.equal openAnswer.Status 200 "others are as before"
                    Expect.equal (List.ofSeq app.Ran) [ "/open" ] "nothing guarded ran"
                    let log = String.concat "\n" app.Log
                    Expect.stringContains log call "the log says which line to add"
                    Expect.stringContains log "after app.UseRouting()" "and where"
                    Expect.stringContains log "/minimal" "and for which endpoint"
                })
    }

let private start services environment =
    task {
        let mutable log = []

        do!
            withinAs environment services useSession (fun app _ ->
                task {
                    log <- List.ofSeq app.Log
                    return ()
                })

        return log
    }

/// A store that does not compare and swap, or says so.
type private Weak(inner: ISessionStore) =
    inherit ForwardingStore(inner)

    override _.Prepare _ = ValueTask.FromResult(StoreReport("weak:" + Guid.NewGuid().ToString "N", false, true, [||]))

let private guards =
    [ testCaseTask
          "where the middleware is right, a guarded endpoint is a 401 without a session and runs with one"
          (fun () ->
              within add useSession (fun app ask ->
                  task {
                      for path in every do
                          let! answer = ask "GET" path None
                          Expect.equal answer.Status 401 path

                      Expect.isEmpty app.Ran "none ran"
                      let! login = ask "POST" "/login" None
                      let signedIn = Some(token login)

                      for path in every do
                          let! answer = ask "GET" path signedIn
                          Expect.equal (answer.Status, answer.Body) (200, path) path
                  }))

      testCaseTask "RequireSession lets an anonymous session in, RequireSignIn does not" (fun () ->
          within add useSession (fun app ask ->
              task {
                  let! begun = ask "POST" "/begin" None
                  let anonymous = Some(token begun)

                  for path in GuardApp.Guarded do
                      let! answer = ask "GET" path anonymous
                      Expect.equal answer.Status 200 path

                  for path in GuardApp.SignedIn do
                      let! answer = ask "GET" path anonymous
                      Expect.equal answer.Status 401 path
                      Expect.isFalse (Seq.contains path app.Ran) path
              }))

      testCaseTask "without the middleware no guarded endpoint runs" (fun () ->
          failsClosed every "app.UseSession<Cart>()" (addTo ignore) ignore)

      testCaseTask "with the middleware before UseRouting no guarded endpoint runs" (fun () ->
          failsClosed every "app.UseSession<Cart>()" (addTo ignore) (fun app ->
              useSession app
              app.UseRouting() |> ignore))

      testCaseTask "with the middleware in another branch no guarded endpoint runs" (fun () ->
          failsClosed every "app.UseSession<Cart>()" (addTo ignore) (fun app ->
              app.UseWhen((fun context -> context.Request.Path = PathString "/elsewhere"), useSession) |> ignore))

      testCaseTask "without AddSession conventions and controllers are closed as well" (fun () ->
          failsClosed
              (every |> List.filter (fun path -> not (path.Contains "lambda" || path = "/metadata")))
              "app.UseSession<Cart>()"
              (fun _ _ -> ())
              ignore) ]

let private refusal configure store =
    task {
        let mutable sentence = ""

        try
            let! _ = start (addTo configure store) "Production"
            ()
        with :? OptionsValidationException as refused ->
            sentence <- refused.Message

        return sentence
    }

let private starts =
    [ testCaseTask "a store that does not compare and swap is warned of, and keeps no limit" (fun () ->
          task {
              let! log = start (addTo ignore (Weak(MemoryStore()))) "Production"
              let isWarning (line: string) = line.StartsWith "Warning" && line.Contains "does not compare and swap"
              Expect.equal (log |> List.filter isWarning |> List.length) 1 "a sentence at start"
              let! quiet = start add "Production"
              Expect.isFalse (List.exists isWarning quiet) "and none for a store that does"
              let! sentence = refusal (fun o -> o.MaxSessionsPerSubject <- Nullable 3) (Weak(MemoryStore()))
              Expect.stringContains sentence "MaxSessionsPerSubject" "the limit is refused"
              Expect.stringContains sentence "compares and swaps" "and why"
          })

      testCaseTask "a cookie that is not always Secure is warned of, but in Development" (fun () ->
          task {
              let isWarning (line: string) = line.StartsWith "Warning" && line.Contains "Cookie.SecurePolicy"
              let! log = start add "Production"
              Expect.equal (log |> List.filter isWarning |> List.length) 1 "in Production"
              let! development = start add "Development"
              Expect.isFalse (List.exists isWarning development) "in Development"

              let always (o: SessionOptions<Cart>) = o.Cookie.SecurePolicy <- CookieSecurePolicy.Always
              let! secure = start (addTo always (MemoryStore())) "Production"
              Expect.isFalse (List.exists isWarning secure) "always Secure"
          })

      testCaseTask "the default Set-Cookie, byte by byte" (fun () ->
          let plain (services: IServiceCollection) =
              SessionServiceCollectionExtensions.AddSession<Cart>(services).UseMemory() |> ignore

          within plain useSession (fun _ ask ->
              task {
                  let! login = ask "POST" "/login" None
                  let line = List.exactlyOne login.SetCookies
                  let token = (parseSetCookie line).Value
                  Expect.equal token.Length 66 "id.secret"

                  Expect.equal
                      line
                      $"__Host-sid={token}; path=/; secure; samesite=lax; httponly"
                      "as RFC 6265bis wants it"
              })) ]

let all = testList "guards" (guards @ starts)
