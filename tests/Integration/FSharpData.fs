/// An F# application: records with unions, options, lists and maps as data, and the three F# web frameworks, whose
/// handler types are abbreviations, declared here.
module Integration.FSharpData

open System
open System.Threading.Tasks
open Expecto
open Microsoft.AspNetCore.Builder
open Microsoft.AspNetCore.Hosting
open Microsoft.AspNetCore.Http
open Microsoft.Extensions.Logging
open Integration.Http
open Integration.World
open Session.AspNetCore

type Payment =
    | Cash
    | Card of number: string * year: int
    | Split of Payment list

type Visit =
    { Items: string list
      Payment: Payment
      Note: string option
      Counts: Map<string, int>
      Nested: Map<string, Payment option list> }

let private empty =
    { Items = []
      Payment = Cash
      Note = None
      Counts = Map.empty
      Nested = Map.empty }

let private full =
    { Items = [ "a"; "b" ]
      Payment = Split [ Cash; Card("4711", 2030); Split [] ]
      Note = Some "ünïcode \"quoted\""
      Counts = Map.ofList [ "a", 1; "b", 2 ]
      Nested = Map.ofList [ "x", [ Some Cash; None; Some(Card("", 0)) ] ] }

// The frameworks' own definitions.
module private GiraffeLike =
    type HttpFuncResult = Task<HttpContext option>
    type HttpFunc = HttpContext -> HttpFuncResult
    type HttpHandler = HttpFunc -> HttpFunc

    let compose (first: HttpHandler) (second: HttpHandler) : HttpHandler = fun next -> first (second next)
    let (>=>) = compose

    let text (body: string) : HttpHandler =
        fun next context ->
            task {
                do! context.Response.WriteAsync body
                return! next context
            }

    let setStatusCode (code: int) : HttpHandler =
        fun next context ->
            context.Response.StatusCode <- code
            next context

    let run (handler: HttpHandler) : RequestDelegate =
        RequestDelegate(fun context ->
            task {
                match! handler (fun context -> Task.FromResult(Some context)) context with
                | Some _ -> ()
                | None -> context.Response.StatusCode <- 404
            })

type private FalcoHandler = HttpContext -> Task
type private OxpeckerEndpoint = HttpContext -> Task
type private OxpeckerMiddleware = OxpeckerEndpoint -> HttpContext -> Task

let private write (context: HttpContext) (body: string) : Task = context.Response.WriteAsync body

let private delegated (handler: HttpContext -> Task) = RequestDelegate handler

let private answer (context: HttpContext) (result: Result<Visit, SessionError>) : Task =
    match result with
    | Ok visit -> write context (string visit.Items.Length)
    | Error error ->
        let struct (status, sentence) = SessionFailure.describe error
        context.Response.StatusCode <- status
        write context sentence

open GiraffeLike

let private map (app: WebApplication) =
    let needsOne: HttpHandler = SessionHandler.requireSession<Visit>(setStatusCode 401 >=> text "sign in")
    let greet: HttpHandler = SessionHandler.withSession<Visit>(fun visit -> text $"giraffe {visit.Items.Length}")

    let falco: FalcoHandler =
        SessionEndpoint.withSession<Visit>(fun visit context -> write context $"falco {visit.Items.Length}")

    let oxpecker: OxpeckerMiddleware = SessionEndpoint.requireSession<Visit>
    let secret: OxpeckerEndpoint = fun context -> write context "oxpecker"

    app.MapGet("/giraffe", run (needsOne >=> greet)) |> ignore
    app.MapGet("/giraffe-skipped", run greet) |> ignore
    app.MapGet("/falco", delegated falco) |> ignore
    app.MapGet("/oxpecker", delegated (oxpecker secret)) |> ignore
    app.MapGet("/signed-in", delegated (SessionEndpoint.requireSignIn<Visit> secret)) |> ignore

    app.MapGet(
        "/giraffe-signed-in",
        run (SessionHandler.requireSignIn<Visit>(setStatusCode 401 >=> text "sign in") >=> greet)
    )
    |> ignore

    app.MapPost(
        "/fill",
        delegated (fun context ->
            task {
                let! result = Session.update<Visit> (fun _ -> full) context
                do! answer context result
            })
    )
    |> ignore

    app.MapPost(
        "/add",
        delegated (fun context ->
            task {
                let! result =
                    context
                    |> Session.update<Visit>(fun visit ->
                        let visit = defaultArg visit empty
                        { visit with Items = "more" :: visit.Items })

                do! answer context result
            })
    )
    |> ignore

    app.MapGet(
        "/same",
        delegated (fun context ->
            task {
                match! Session.tryGet<Visit> context with
                | Some visit -> do! write context (if visit = full then "equal" else sprintf "%A" visit)
                | None -> do! write context "(none)"
            })
    )
    |> ignore

    app.MapPost(
        "/login",
        delegated (fun context ->
            task {
                let! visit = Session.tryGet<Visit> context
                let! result = Session.signIn "ann" (defaultArg visit empty) context
                do! answer context result
            })
    )
    |> ignore

    app.MapGet(
        "/who",
        delegated (fun context ->
            task {
                let! subject = Session.subject<Visit> context
                let! id = Session.tryId<Visit> context
                let! at = Session.authenticatedAt<Visit> context

                context.Response.Headers["X-Signed-In"] <-
                    Microsoft.Extensions.Primitives.StringValues(string at.IsSome)

                do! write context (defaultArg subject "nobody" + " " + defaultArg id "-")
            })
    )
    |> ignore

    app.MapPost(
        "/elevate",
        delegated (fun context ->
            task {
                match! Session.regenerate<Visit> context with
                | Ok() -> do! write context "elevated"
                | Error _ -> context.Response.StatusCode <- 401
            })
    )
    |> ignore

    app.MapPost(
        "/logout",
        delegated (fun context ->
            task {
                match! Session.destroy<Visit> context with
                | Ok() -> ()
                | Error _ -> context.Response.StatusCode <- 503
            })
    )
    |> ignore

let private within (body: (string -> string -> string option -> Task<Answer>) -> CountingStore -> Task<unit>) =
    withStore Sqlite (fun inner ->
        task {
            let store = CountingStore inner
            let builder = WebApplication.CreateSlimBuilder()
            builder.Logging.ClearProviders() |> ignore
            builder.WebHost.UseUrls "http://127.0.0.1:0" |> ignore

            builder.Services
                .AddSession<Visit>(fun settings ->
                    { settings with
                        CookieName = Some "sid"
                        SecurePolicy = CookieSecurePolicy.SameAsRequest })
                .UseStore(fun _ -> store)
            |> ignore

            use app = builder.Build()
            app.UseSession<Visit>() |> ignore
            map app
            do! app.StartAsync()
            use client = newClient ()
            let address = Uri(Seq.head app.Urls)

            let ask verb path token =
                send client address verb path [ for token in Option.toList token -> "Cookie", "sid=" + token ]

            try
                do! body ask store
            finally
                app.StopAsync().GetAwaiter().GetResult()
        })

let private story name body = testCaseAsync name (async { do! within body |> Async.AwaitTask })

let all =
    testList
        "F#"
        [ story "unions, options, lists and maps come back equal" (fun ask _ ->
              task {
                  let! first = ask "POST" "/fill" None
                  Expect.equal (first.Status, first.Body) (200, "2") first.Body
                  let token = Some(token first)
                  let! same = ask "GET" "/same" token
                  Expect.equal same.Body "equal" "the data"
                  let! _ = ask "POST" "/add" token
                  let! after = ask "POST" "/add" token
                  Expect.equal after.Body "4" "changed twice"
              })

          story "sign-in, elevation, logout" (fun ask _ ->
              task {
                  let! first = ask "POST" "/add" None
                  let planted = Some(token first)

                  for path in [ "/signed-in"; "/giraffe-signed-in" ] do
                      let! anonymous = ask "GET" path planted
                      Expect.equal anonymous.Status 401 path

                  let! login = ask "POST" "/login" planted
                  let own = token login
                  let! who = ask "GET" "/who" (Some own)
                  Expect.equal who.Body ("ann " + idOf own) "ann"
                  Expect.equal (who.Header "X-Signed-In") (Some "True") "and since when"

                  for path in [ "/signed-in"; "/giraffe-signed-in" ] do
                      let! signedIn = ask "GET" path (Some own)
                      Expect.equal signedIn.Status 200 path

                  let! who = ask "GET" "/who" planted
                  Expect.equal who.Body "nobody -" "the old token"
                  let! elevated = ask "POST" "/elevate" (Some own)
                  let next = Some(token elevated)
                  let! dead = ask "POST" "/elevate" (Some own)
                  Expect.equal (dead.Status, dead.SetCookies) (401, []) "dead at once"
                  let! out = ask "POST" "/logout" next
                  Expect.equal (out.Status, out.SetCookies.Length) (200, 1) "out"
                  let! again = ask "POST" "/add" next
                  Expect.equal (again.Status, again.SetCookies) (401, []) "over"
                  let! nothing = ask "POST" "/logout" None
                  Expect.equal (nothing.Status, nothing.SetCookies) (200, []) "nothing to do"
              })

          story "Giraffe, Falco and Oxpecker" (fun ask store ->
              task {
                  let! giraffe = ask "GET" "/giraffe" None
                  Expect.equal (giraffe.Status, giraffe.Body) (401, "sign in") "Giraffe without"
                  let! skipped = ask "GET" "/giraffe-skipped" None
                  Expect.equal skipped.Status 404 "Giraffe skips"
                  let! falco = ask "GET" "/falco" None
                  Expect.equal falco.Status 401 "Falco without"
                  let! oxpecker = ask "GET" "/oxpecker" None
                  Expect.equal oxpecker.Status 401 "Oxpecker without"
                  let! first = ask "POST" "/fill" None
                  let token = Some(token first)
                  let! _ = ask "GET" "/same" token
                  store.Reset()
                  let! giraffe = ask "GET" "/giraffe" token
                  Expect.equal giraffe.Body "giraffe 2" "Giraffe with"
                  Expect.equal store.Counts [ "Load", 1 ] "two handlers, one load"
                  let! falco = ask "GET" "/falco" token
                  Expect.equal falco.Body "falco 2" "Falco with"
                  let! oxpecker = ask "GET" "/oxpecker" token
                  Expect.equal oxpecker.Body "oxpecker" "Oxpecker with"
              })

          story "the store down is a 503" (fun ask store ->
              task {
                  let! first = ask "POST" "/fill" None
                  let token = Some(token first)
                  store.FailAll()

                  for verb, path in
                      [ "GET", "/giraffe"
                        "GET", "/falco"
                        "GET", "/oxpecker"
                        "GET", "/who"
                        "POST", "/add"
                        "POST", "/logout" ] do
                      let! answer = ask verb path token
                      Expect.equal (answer.Status, answer.SetCookies) (503, []) path
              }) ]
