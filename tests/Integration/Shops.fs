/// The shop, as its own program, on each store that SHOP_STORE names: who is signed in stays so over a restart.
module Integration.Shops

open System
open System.Diagnostics
open System.IO
open System.Threading.Tasks
open Expecto
open Integration
open Integration.Http

let private program name =
    // Beside this one, of the same configuration.
    let here = AppContext.BaseDirectory.TrimEnd '/'
    Path.GetFullPath(Path.Combine(here, "..", "..", name, DirectoryInfo(here).Name, name + ".dll"))

/// Runs a sample with these variables and arguments until `body` is done.
let running
    (name: string)
    (variables: (string * string) list)
    (arguments: string list)
    (body: Uri -> Task<unit>)
    : Task<unit> =
    task {
        let port = RedisServer.freePort ()
        let address = Uri $"http://127.0.0.1:{port}"

        let info =
            ProcessStartInfo(
                "dotnet",
                program name :: "--urls" :: address.ToString() :: arguments,
                RedirectStandardOutput = true,
                RedirectStandardError = true
            )

        info.Environment["ASPNETCORE_ENVIRONMENT"] <- "Development"

        for name, value in variables do
            info.Environment[name] <- value

        use shop = nonNull (Process.Start info)
        let said = System.Collections.Concurrent.ConcurrentQueue<string | null>()
        shop.OutputDataReceived.Add(fun line -> said.Enqueue line.Data)
        shop.ErrorDataReceived.Add(fun line -> said.Enqueue line.Data)
        shop.BeginOutputReadLine()
        shop.BeginErrorReadLine()

        try
            use client = newClient ()
            let clock = Stopwatch.StartNew()
            let mutable isUp = false

            while not isUp do
                try
                    let! answer = send client address "GET" "/favicon.ico" []
                    isUp <- answer.Status < 500
                with :? Net.Http.HttpRequestException ->
                    if shop.HasExited || clock.Elapsed > TimeSpan.FromSeconds 60L then
                        failtestf "samples/%s does not start: %s" name (String.Join('\n', said))

                    do! Task.Delay 100

            do! body address
        finally
            if not shop.HasExited then
                shop.Kill()
                shop.WaitForExit()
    }

let private json (body: string) address verb path cookie =
    task {
        use client = new Net.Http.HttpClient(new Net.Http.SocketsHttpHandler(UseCookies = false))
        use request = new Net.Http.HttpRequestMessage(Net.Http.HttpMethod verb, Uri(address, (path: string)))

        if body <> "" then
            request.Content <- new Net.Http.StringContent(body, Text.Encoding.UTF8, "application/json")

        if cookie <> "" then
            request.Headers.TryAddWithoutValidation("Cookie", (cookie: string)) |> ignore

        use! response = client.SendAsync request
        let! text = response.Content.ReadAsStringAsync()

        let cookies =
            [ for header in response.Headers do
                  if header.Key = "Set-Cookie" then
                      for line in header.Value do
                          line.Split(';')[0] ]

        return int response.StatusCode, text, cookies
    }

let private shop store name survives (variables: unit -> (string * string) list * IDisposable) =
    testCaseTask name (fun () ->
        task {
            let given, place = variables ()
            use _ = place
            let content = World.temporaryFolder ()
            let variables = ("SHOP_STORE", store) :: given

            try
                let mutable ann, bob = "", ""

                let signIn address user =
                    task {
                        let! status, text, cookies = json $$"""{"user":"{{user}}"}""" address "POST" "/login" ""
                        Expect.equal status 200 text
                        return List.exactlyOne cookies
                    }

                do!
                    running "Shop" variables [ "--contentRoot"; content ] (fun address ->
                        task {
                            let! first = signIn address "ann"
                            let! second = signIn address "bob"
                            ann <- first
                            bob <- second
                            let! status, text, _ = json "" address "POST" "/cart/apple" ann
                            Expect.equal status 200 text
                            let! status, text, _ = json "" address "GET" "/profile" ann
                            Expect.equal status 200 text
                            Expect.stringContains text "apple" "her cart"
                            let! status, _, _ = json "" address "POST" "/logout" bob
                            Expect.equal status 200 "bob leaves"
                        })

                do!
                    running "Shop" variables [ "--contentRoot"; content ] (fun address ->
                        task {
                            let! status, text, _ = json "" address "GET" "/profile" ann
                            Expect.equal status (if survives then 200 else 401) "ann, after the shop was killed"

                            if survives then
                                Expect.stringContains text "apple" "and her cart"

                            let! status, _, _ = json "" address "GET" "/profile" bob
                            Expect.equal status 401 "bob stays out"
                        })
            finally
                Directory.Delete(content, true)
        })

let private nothing () =
    { new IDisposable with
        member _.Dispose() = () }

let all =
    testList
        "the shop"
        [ shop "memory" "a kill of the program: memory forgets everybody" false (fun () -> [], nothing ())
          shop "sqlite" "a kill of the program: SQLite has who is signed in, and who left stays out" true (fun () ->
              [], nothing ())
          shop "redis" "a kill of the program: Redis has who is signed in, and who left stays out" true (fun () ->
              let server = RedisServer.startOne []
              [ "SHOP_REDIS", server.Address ], server)
          shop
              "postgres"
              "a kill of the program: PostgreSQL has who is signed in, and who left stays out"
              true
              (fun () ->
                  let server = PostgresServer.startOne []
                  [ "SHOP_POSTGRES", server.Address ], server)
          shop "mongo" "a kill of the program: MongoDB has who is signed in, and who left stays out" true (fun () ->
              let server = new MongoServer.StandIn()
              [ "SHOP_MONGO", server.Address.Replace("/?", "/shop?") ], server) ]
