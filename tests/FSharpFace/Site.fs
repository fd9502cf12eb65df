/// A server on the loopback, and a browser that has one cookie.
module FSharpFace.Site

open System
open System.Collections.Generic
open System.Net.Http
open System.Threading
open System.Threading.Tasks
open Microsoft.AspNetCore.Builder
open Microsoft.AspNetCore.Hosting
open Microsoft.AspNetCore.Http
open Microsoft.Extensions.DependencyInjection
open Microsoft.Extensions.Logging
open Session.AspNetCore
open Session.Engine

/// For HTTP on the loopback.
let plain settings =
    { settings with
        CookieName = Some "sid"
        SecurePolicy = CookieSecurePolicy.None }

type Answer = { Status: int; Body: string; Headers: (string * string) list }

/// Sends its cookie with each request and keeps what comes back, as a browser does.
type Browser(address: Uri) =
    let client =
        new HttpClient(new SocketsHttpHandler(UseCookies = false, AllowAutoRedirect = false), BaseAddress = address)

    member val Cookie = "" with get, set
    member _.Address = address

    member browser.Send
        (verb: string, path: string, ?cancel: CancellationToken, ?form: (string * string) list, ?json: string)
        =
        task {
            use request = new HttpRequestMessage(HttpMethod verb, path)

            if browser.Cookie <> "" then
                request.Headers.Add("Cookie", browser.Cookie)

            match form with
            | None -> ()
            | Some fields ->
                request.Content <- new FormUrlEncodedContent(fields |> List.map (fun (k, v) -> KeyValuePair(k, v)))

            match json with
            | None -> ()
            | Some text -> request.Content <- new StringContent(text, Text.Encoding.UTF8, "application/json")

            use! response = client.SendAsync(request, defaultArg cancel CancellationToken.None)
            let! body = response.Content.ReadAsStringAsync()

            let headers =
                [ for header in response.Headers do
                      for value in header.Value do
                          header.Key, value
                  for header in response.Content.Headers do
                      for value in header.Value do
                          header.Key, value ]

            for name, value in headers do
                if name = "Set-Cookie" then
                    browser.Cookie <- value.Split(';')[0]

            return { Status = int response.StatusCode; Body = body; Headers = headers }
        }

/// Runs these endpoints with these services until `body` is done.
let serving
    (add: IServiceCollection -> unit)
    (map: WebApplication -> unit)
    (body: IServiceProvider -> Browser -> Task<unit>)
    =
    task {
        let builder = WebApplication.CreateSlimBuilder()
        builder.Logging.ClearProviders() |> ignore
        builder.WebHost.UseUrls "http://127.0.0.1:0" |> ignore
        add builder.Services
        use app = builder.Build()
        map app
        do! app.StartAsync()

        try
            do! body app.Services (Browser(Uri(Seq.head app.Urls)))
        finally
            app.StopAsync().GetAwaiter().GetResult()
    }

/// A server that does in its handler what the test says, on the store given.
type Bench<'T>(store: ISessionStore, add: (SessionSettings -> SessionSettings) -> IServiceCollection -> SessionBuilder)
    =
    let mutable work: HttpContext -> Task = fun _ -> Task.CompletedTask

    member _.Run(body: IServiceProvider -> Browser -> Task<unit>) : Task<unit> =
        serving
            (fun services -> (add plain services).UseStore(fun _ -> store) |> ignore)
            (fun app ->
                app.UseSession<'T>() |> ignore
                app.Run(fun context -> work context))
            body

    /// What this is to a request of the browser.
    member _.Do(browser: Browser, operation: HttpContext -> Task<'a>, ?path: string) : Task<'a> =
        task {
            let result = TaskCompletionSource<'a>()

            work <-
                fun context ->
                    task {
                        try
                            let! answer = operation context
                            result.SetResult answer
                        with error ->
                            result.SetException error
                    }

            let! _ = browser.Send("POST", defaultArg path "/")
            return! result.Task
        }

    /// The same, the client hanging up while the handler is at work: what the operation is to the request that goes on alone.
    member _.DoAlone(browser: Browser, operation: HttpContext -> Task<'a>) : Task<'a> =
        task {
            let result = TaskCompletionSource<'a>()
            use hangUp = new CancellationTokenSource()
            let here = TaskCompletionSource()

            work <-
                fun context ->
                    task {
                        try
                            let gone = TaskCompletionSource()
                            use _ = context.RequestAborted.Register(fun () -> gone.TrySetResult() |> ignore)
                            here.SetResult()
                            do! gone.Task
                            let! answer = operation context
                            result.SetResult answer
                        with error ->
                            result.SetException error
                    }

            let sending = browser.Send("POST", "/", hangUp.Token)
            do! here.Task
            hangUp.Cancel()

            try
                let! _ = sending
                ()
            with :? OperationCanceledException ->
                ()

            return! result.Task.WaitAsync(TimeSpan.FromSeconds 30L)
        }

let benchOf<'T> () = Bench<'T>(MemoryStore(), (fun settings services -> services.AddSession<'T>(settings)))

let ok result =
    match result with
    | Ok value -> value
    | Error error -> failwith $"it failed: {error}"
