/// dotnet new session-web, as somebody does it who has installed the templates: created, tested and run from packages.
module Integration.Templates

open System
open System.Collections.Generic
open System.Diagnostics
open System.IO
open System.Net
open System.Net.Http
open System.Text.RegularExpressions
open Expecto
open Integration.Http

let private installed =
    lazy
        (let hive = World.temporaryFolder ()
         AppDomain.CurrentDomain.ProcessExit.Add(fun _ -> Directory.Delete(hive, true))
         let package = Path.Combine(Packages.made.Value, $"Session.Templates.{Packages.version}.nupkg")
         Stranger.dotnet hive [ "new"; "install"; package; "--debug:custom-hive"; hive ]
         hive)

let private create (work: string) language store =
    Stranger.dotnet
        work
        [ "new"
          "session-web"
          "-lang"
          language
          "--store"
          store
          "-o"
          "Shop"
          "--no-update-check"
          "--debug:custom-hive"
          installed.Value ]

    Path.Combine(work, "Shop")

/// What an address answers; the token is the one that was sent, if it hands over no other.
type private Page =
    { Status: HttpStatusCode
      Body: string
      Token: string
      LeadsTo: string }

/// With the cookie by hand: it is Secure, and the address is that of a developer's machine.
let private ask (client: HttpClient) (address: Uri) (verb: HttpMethod) (path: string) (token: string) form =
    task {
        use request = new HttpRequestMessage(verb, Uri(address, path))

        if token <> "" then
            request.Headers.Add("Cookie", $"__Host-sid={token}")

        if not (List.isEmpty form) then
            request.Content <-
                new FormUrlEncodedContent(
                    form |> List.map (fun (name: string, value: string) -> KeyValuePair(name, value))
                )

        use! answer = client.SendAsync request
        let! body = answer.Content.ReadAsStringAsync()

        let name = "__Host-sid="

        let sent =
            [ for KeyValue(header, lines) in answer.Headers do
                  if header = "Set-Cookie" then
                      for line in lines do
                          if line.StartsWith name then
                              line.Substring(name.Length).Split(';')[0] ]

        return
            { Status = answer.StatusCode
              Body = body
              Token = sent |> List.tryLast |> Option.defaultValue token
              LeadsTo =
                match answer.Headers.Location with
                | null -> ""
                | location -> location.OriginalString }
    }

let visit client address verb path token form =
    task {
        let! page = ask client address verb path token form
        return page.Status, page.Body, page.Token
    }

let private wrong = "The name or the password is wrong."

let private story (client: HttpClient) (address: Uri) _ =
    task {
        let get path token = ask client address HttpMethod.Get path token []
        let post path token form = ask client address HttpMethod.Post path token form
        let form = [ "user", "ada"; "password", "tea" ]
        let! cart = post "/cart/tea" "" []
        Expect.equal cart.Status HttpStatusCode.Redirect "the cart"
        let visitor = cart.Token
        let! cart = get "/" visitor
        Expect.stringContains cart.Body "<li>tea</li>" "of somebody who has not signed in"

        let! sent = get "/devices" visitor
        let login = "/login?ReturnUrl=%2Fdevices"
        Expect.equal (sent.Status, sent.LeadsTo) (HttpStatusCode.Redirect, login) "sent to the login page"
        let! page = get login visitor
        Expect.equal page.Status HttpStatusCode.OK "the login page"
        Expect.isFalse (page.Body.Contains wrong) "which has nothing to say yet"

        for user, password in [ "ada", "coffee"; "", "tea" ] do
            let! refused = post login visitor [ "user", user; "password", password ]
            Expect.equal (refused.Status, refused.Token) (HttpStatusCode.BadRequest, visitor) "nobody has signed in"
            Expect.stringContains refused.Body wrong "and it is said"

        let! signedIn = post login visitor form
        let ada = signedIn.Token
        Expect.notEqual ada visitor "a new token"

        Expect.equal
            (signedIn.Status, signedIn.LeadsTo)
            (HttpStatusCode.Redirect, "/devices")
            "back where she wanted to go"

        let! home = get "/" ada
        Expect.stringContains home.Body "ada" "signed in"
        Expect.stringContains home.Body "<li>tea</li>" "with the cart"
        let! devices = get "/devices" ada
        Expect.equal devices.Status HttpStatusCode.OK "the devices"

        for elsewhere in [ "https://evil.example/"; "//evil.example"; "/\\evil.example" ] do
            let! away = post $"/login?ReturnUrl={Uri.EscapeDataString elsewhere}" "" form
            Expect.equal (away.Status, away.LeadsTo) (HttpStatusCode.Redirect, "/") $"not to {elsewhere}"

        let! _ = post "/logout" ada []
        let! after = get "/" ada
        Expect.isFalse (after.Body.Contains "ada") "signed out"
        let! sent = get "/devices" ada

        Expect.equal
            (sent.Status, sent.LeadsTo)
            (HttpStatusCode.Redirect, login)
            "whose session has ended signs in again"

        let! secure = send client address "GET" "/" [ "Host", "shop.example.com"; "X-Forwarded-Proto", "https" ]
        Expect.isNone (secure.Header "Strict-Transport-Security") "a developer's machine is not bound to HTTPS"
    }

/// On a server, as it came: the password that everybody knows lets nobody in, and the log says what to do.
let private refusal (client: HttpClient) (address: Uri) (said: string seq) =
    task {
        let post path token form = ask client address HttpMethod.Post path token form
        let! cart = post "/cart/tea" "" []

        for user in [ "ada"; "admin" ] do
            let! refused = post "/login" cart.Token [ "user", user; "password", "tea" ]
            Expect.equal (refused.Status, refused.Token) (HttpStatusCode.BadRequest, cart.Token) "nobody has signed in"
            Expect.stringContains refused.Body wrong "and it is said"
            let! sent = ask client address HttpMethod.Get "/devices" cart.Token []
            Expect.equal sent.LeadsTo "/login?ReturnUrl=%2Fdevices" "nor is anybody then"

        let isTold () =
            said
            |> Seq.exists (fun line -> line.Contains("Nobody can sign in yet") && line.Contains("your own check"))

        // The log comes a little later than the answer.
        let clock = Stopwatch.StartNew()

        while not (isTold ()) && clock.Elapsed < TimeSpan.FromSeconds 10L do
            do! Threading.Tasks.Task.Delay 50

        Expect.isTrue (isTold ()) "the log says what to do"

        let! secure = send client address "GET" "/" [ "Host", "shop.example.com"; "X-Forwarded-Proto", "https" ]
        Expect.isSome (secure.Header "Strict-Transport-Security") "browsers come by HTTPS from then on"
    }

/// A program, until `body` is done with it.
let private running (arguments: string list) (settings: string list) body =
    task {
        let port = RedisServer.freePort ()
        let address = Uri $"http://localhost:{port}"

        // What a proxy that ends TLS says of a request is believed.
        let settings = [ "--urls"; address.ToString(); "--ForwardedHeaders_Enabled=true" ] @ settings
        let running, said = Stranger.start "dotnet" (arguments @ settings)
        use running = running

        try
            use client = newClient ()
            do! Stranger.answers (running, said) address
            do! body client address said
        finally
            // And what it has started.
            running.Kill true
            running.WaitForExit()
    }

/// Without a connection string it does not start on a server, and says what to set.
let private doesNotStart (program: string) (folder: string) =
    let arguments = [ program; "--contentRoot"; folder; "--environment"; "Production" ]

    let running, said =
        Stranger.start "dotnet" (arguments @ [ "--urls"; $"http://localhost:{RedisServer.freePort ()}" ])

    use running = running

    if not (running.WaitForExit 60_000) then
        running.Kill()
        failtest "it runs, with a store that nobody has named"

    // What it said has been read to the end then.
    running.WaitForExit()
    Expect.notEqual running.ExitCode 0 "it has stopped"

    Expect.stringContains
        (String.Join('\n', said))
        "Set ConnectionStrings:Sessions (in the environment: ConnectionStrings__Sessions)"
        "and says why"

/// Created, with packages of its own; and the property that a build of it needs for that.
let private createIn work language store =
    let shop = create work language store
    File.WriteAllText(Path.Combine(shop, "NuGet.config"), Stranger.sources Packages.made.Value)
    // Not among the packages of whoever runs this: they may hold another build of the same version.
    shop, "-p:RestorePackagesPath=" + Path.Combine(work, "restored")

let private createdAndRun language store (settings: string list) =
    task {
        let work = World.temporaryFolder ()

        try
            let shop, packages = createIn work language store
            Stranger.dotnet shop [ "test"; "-v"; "q"; packages ]
            let project = Path.Combine(shop, "Shop")
            // What the tests have built, whatever CONFIGURATION says around this.
            do! running [ "run"; "--project"; project; "-c"; "Debug"; "--no-build"; "--" ] settings story

            let published = Path.Combine(work, "published")
            Stranger.dotnet shop [ "publish"; "Shop"; "-v"; "q"; packages; "-o"; published ]
            let program = Path.Combine(published, "Shop.dll")
            let production = [ "--contentRoot"; published; "--environment"; "Production" ]
            do! running [ program ] (production @ settings) refusal

            if not (List.isEmpty settings) then
                doesNotStart program published
        finally
            Directory.Delete(work, true)
    }

let all =
    testList
        "templates"
        [ testCaseTask
              "C#, SQLite: created, its tests pass, a visitor fills a cart and signs in; published, nobody does by a password that everybody knows"
              (fun () -> createdAndRun "C#" "sqlite" [])

          testCaseTask
              "F#, Redis: created, its tests pass, a visitor fills a cart and signs in; published, nobody does by a password that everybody knows, and it does not start without a connection string"
              (fun () ->
                  task {
                      use redis = RedisServer.startOne []
                      do! createdAndRun "F#" "redis" [ $"--ConnectionStrings:Sessions={redis.Address}" ]
                  })

          testCase
              "C#, PostgreSQL: without a connection string it does not start on a server, and says what to set"
              (fun () ->
                  let work = World.temporaryFolder ()

                  try
                      let shop, packages = createIn work "C#" "postgres"
                      let built = Path.Combine(work, "built")
                      Stranger.dotnet shop [ "build"; "Shop"; "-v"; "q"; packages; "-o"; built ]
                      doesNotStart (Path.Combine(built, "Shop.dll")) built
                  finally
                      Directory.Delete(work, true))

          testCase "their README's first steps are those of these tests" (fun () ->
              let readme = File.ReadAllLines(Repository.under [ "src"; "Session.Templates"; "README.md" ])

              Expect.equal
                  [ for line in readme do
                        if line.StartsWith "    " then
                            line.Trim() ]
                  [ "dotnet new install Session.Templates"
                    "dotnet new session-web -o Shop"
                    "cd Shop"
                    "dotnet test"
                    "dotnet run --project Shop" ]
                  "the commands, in the folders that they work in")

          testCase "each store, in both languages, has its own lines and no other's" (fun () ->
              let stores =
                  [ "sqlite", "UseSqlite(\"sessions.db\")", "Session.Stores.Sqlite", "sessions.db", ""
                    "redis", "UseRedis(connection)", "Session.Stores.Redis", "In Redis.", "localhost:6379"
                    "postgres",
                    "UsePostgres(connection)",
                    "Session.Stores.Postgres",
                    "In PostgreSQL.",
                    "Host=localhost;Database=sessions"
                    "memory", "UseMemory()", "", "In this process", "" ]

              for language, program, project in
                  [ "C#", "Program.cs", "Shop.csproj"; "F#", "Program.fs", "Shop.fsproj" ] do
                  for store, call, package, place, address in stores do
                      let work = World.temporaryFolder ()

                      try
                          let readme = File.ReadAllText(Path.Combine(create work language store, "README.md"))
                          let shop = Path.Combine(work, "Shop", "Shop")
                          let text = File.ReadAllText(Path.Combine(shop, program))
                          let listed = File.ReadAllText(Path.Combine(shop, project))
                          Expect.stringContains text call $"{language}, {store}"

                          let named =
                              [ for _, _, package, _, _ in stores do
                                    if package <> "" && listed.Contains package then
                                        package ]

                          Expect.equal named (if package = "" then [] else [ package ]) $"{language}, {store}"

                          let isConnected =
                              text.Contains "GetConnectionString \"Sessions\""
                              || text.Contains "GetConnectionString(\"Sessions\")"

                          Expect.equal
                              isConnected
                              (address <> "")
                              $"{language}, {store}: a connection string where there is one"

                          let development = Path.Combine(shop, "appsettings.Development.json")

                          if address = "" then
                              Expect.isFalse (File.Exists development) $"{language}, {store}"
                          else
                              Expect.stringContains (File.ReadAllText development) $"\"Sessions\": \"{address}\"" store

                          for _, _, _, elsewhere, _ in stores do
                              Expect.equal
                                  (readme.Contains elsewhere)
                                  (elsewhere = place)
                                  $"{language}, {store}: {elsewhere}"

                          for file in [ text; listed; readme ] do
                              Expect.isFalse
                                  (Regex.IsMatch(file, "#(if|endif)"))
                                  $"{language}, {store}: what is left of a condition"
                      finally
                          Directory.Delete(work, true))

          testCase "what they ask for has the version of the packages" (fun () ->
              let content = Repository.under [ "src"; "Session.Templates"; "content" ]

              for file in Directory.GetFiles(content, "*.*proj", SearchOption.AllDirectories) do
                  for line in File.ReadAllLines file do
                      if line.Contains "Include=\"Session." then
                          Expect.stringContains line $"Version=\"{Packages.version}\"" file) ]
