/// dotnet new session-web, as somebody does it who has installed the templates: created, tested and run from packages.
module Integration.Templates

open System
open System.Collections.Generic
open System.IO
open System.Net
open System.Net.Http
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

/// With the cookie by hand: it is Secure, and the address is that of a developer's machine.
let visit (client: HttpClient) (address: Uri) (verb: HttpMethod) (path: string) (token: string) form =
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

        let next = sent |> List.tryLast |> Option.defaultValue token
        return answer.StatusCode, body, next
    }

let private story (client: HttpClient) (address: Uri) =
    task {
        let get path token = visit client address HttpMethod.Get path token []
        let! status, _, visitor = visit client address HttpMethod.Post "/cart/tea" "" []
        Expect.equal status HttpStatusCode.Redirect "the cart"
        let! _, cart, _ = get "/" visitor
        Expect.stringContains cart "<li>tea</li>" "of somebody who has not signed in"

        let form = [ "user", "ada"; "password", "tea" ]
        let! _, _, ada = visit client address HttpMethod.Post "/login" visitor form
        Expect.notEqual ada visitor "a new token"
        let! _, home, _ = get "/" ada
        Expect.stringContains home "ada" "signed in"
        Expect.stringContains home "<li>tea</li>" "with the cart"
        let! status, _, _ = get "/devices" ada
        Expect.equal status HttpStatusCode.OK "the devices"

        let! _ = visit client address HttpMethod.Post "/logout" ada []
        let! _, after, _ = get "/" ada
        Expect.isFalse (after.Contains "ada") "signed out"
    }

let private createdAndRun language store (settings: string list) =
    task {
        let work = World.temporaryFolder ()

        try
            let shop = create work language store
            File.WriteAllText(Path.Combine(shop, "NuGet.config"), Stranger.sources Packages.made.Value)
            let packages = "-p:RestorePackagesPath=" + Path.Combine(work, "restored")
            Stranger.dotnet shop [ "test"; "-v"; "q"; packages ]

            let port = RedisServer.freePort ()
            let address = Uri $"http://localhost:{port}"
            let folder = Path.Combine(shop, "Shop")
            let program = Path.Combine(folder, "bin", "Debug", "net10.0", "Shop.dll")
            let arguments = [ program; "--urls"; address.ToString(); "--contentRoot"; folder ] @ settings
            let running, said = Stranger.start "dotnet" arguments
            use running = running

            try
                use client = newClient ()
                do! Stranger.answers (running, said) address
                do! story client address
            finally
                running.Kill()
                running.WaitForExit()
        finally
            Directory.Delete(work, true)
    }

let all =
    testList
        "templates"
        [ testCaseTask "C#, SQLite: created, its tests pass, and a visitor fills a cart and signs in" (fun () ->
              createdAndRun "C#" "sqlite" [])

          testCaseTask "F#, Redis: created, its tests pass, and a visitor fills a cart and signs in" (fun () ->
              task {
                  use redis = RedisServer.startOne []
                  do! createdAndRun "F#" "redis" [ $"--ConnectionStrings:Sessions={redis.Address}" ]
              })

          testCase "each store, in both languages, has its own lines and no other's" (fun () ->
              let stores =
                  [ "sqlite", "UseSqlite(\"sessions.db\")", "Session.Stores.Sqlite"
                    "redis", "UseRedis(builder.Configuration.GetConnectionString(\"Sessions\")", "Session.Stores.Redis"
                    "postgres",
                    "UsePostgres(builder.Configuration.GetConnectionString(\"Sessions\")",
                    "Session.Stores.Postgres"
                    "memory", "UseMemory()", "" ]

              for language, program, project in
                  [ "C#", "Program.cs", "Shop.csproj"; "F#", "Program.fs", "Shop.fsproj" ] do
                  for store, call, package in stores do
                      let work = World.temporaryFolder ()

                      try
                          let shop = Path.Combine(create work language store, "Shop")
                          let text = File.ReadAllText(Path.Combine(shop, program))
                          let listed = File.ReadAllText(Path.Combine(shop, project))
                          Expect.stringContains text call $"{language}, {store}"

                          let named =
                              [ for _, _, package in stores do
                                    if package <> "" && listed.Contains package then
                                        package ]

                          Expect.equal named (if package = "" then [] else [ package ]) $"{language}, {store}"
                          Expect.isFalse (listed.Contains "#if") $"{language}, {store}: what is left of a condition"
                      finally
                          Directory.Delete(work, true))

          testCase "what they ask for has the version of the packages" (fun () ->
              let content = Repository.under [ "src"; "Session.Templates"; "content" ]

              for file in Directory.GetFiles(content, "*.*proj", SearchOption.AllDirectories) do
                  for line in File.ReadAllLines file do
                      if line.Contains "Include=\"Session." then
                          Expect.stringContains line $"Version=\"{Packages.version}\"" file) ]
