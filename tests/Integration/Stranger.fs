/// What somebody does who has read the README and nothing else: a fresh project, the packages, and the ten lines pasted.
module Integration.Stranger

open System
open System.Diagnostics
open System.IO
open Expecto
open Integration.Http

let private saidBy (folder: string) (arguments: string list) : string =
    let info =
        ProcessStartInfo(
            "dotnet",
            arguments,
            WorkingDirectory = folder,
            RedirectStandardOutput = true,
            RedirectStandardError = true
        )

    info.Environment["DOTNET_CLI_USE_MSBUILD_SERVER"] <- "0"
    info.Environment["MSBUILDDISABLENODEREUSE"] <- "1"
    // A setting of whoever runs these tests, which a build would take for its own.
    info.Environment.Remove "CONFIGURATION" |> ignore
    use started = nonNull (Process.Start info)
    let said = started.StandardOutput.ReadToEndAsync()
    let failed = started.StandardError.ReadToEndAsync()
    started.WaitForExit()

    if started.ExitCode <> 0 then
        failtestf
            "dotnet %s ended with %d\n%s\n%s"
            (String.Join(' ', arguments))
            started.ExitCode
            said.Result
            failed.Result

    said.Result

let dotnet folder arguments = saidBy folder arguments |> ignore

/// A program that was built, and what it says.
let start program arguments =
    let said = Collections.Concurrent.ConcurrentQueue<string>()
    RedisServer.launchHeard said.Enqueue program arguments, said

/// Until it answers, or has ended.
let answers (running: Process, said: string seq) (address: Uri) =
    task {
        use client = newClient ()
        let clock = Stopwatch.StartNew()
        let mutable isUp = false

        while not isUp do
            try
                let! _ = send client address "GET" "/cart" []
                isUp <- true
            with :? Net.Http.HttpRequestException ->
                if running.HasExited || clock.Elapsed > TimeSpan.FromSeconds 60L then
                    failtestf "it does not start: %s" (String.Join('\n', said))

                do! Threading.Tasks.Task.Delay 100
    }

let private snippet (language: string) =
    let readme = File.ReadAllText(Repository.under [ "README.md" ])
    let from = readme.IndexOf("```" + language) + 3 + language.Length
    readme.Substring(from, readme.IndexOf("```", from) - from)

/// From folders only: ours, and the one that this repository is built from.
let sources packages =
    let feed = Repository.under [ "feed" ]

    $"""<configuration>
  <packageSources>
    <clear />
    <add key="packages" value="{packages}" />
    <add key="feed" value="{feed}" />
  </packageSources>
</configuration>"""

/// The packages, made of what was built, and a fresh web project that runs these lines from them until `body` is done.
let private pasted
    language
    (file: string)
    (packages: string list)
    (body: Net.Http.HttpClient -> Uri -> Threading.Tasks.Task<unit>)
    =
    task {
        let work = World.temporaryFolder ()
        let shop = Path.Combine(work, "shop")
        Directory.CreateDirectory shop |> ignore

        dotnet
            shop
            [ "new"
              "web"
              "-lang"
              (if language = "fsharp" then "F#" else "C#")
              "--no-restore" ]

        File.WriteAllText(Path.Combine(shop, "NuGet.config"), sources Packages.made.Value)
        File.WriteAllText(Path.Combine(shop, file), snippet language)

        for package in packages do
            dotnet shop [ "add"; "package"; package; "--version"; Packages.version; "--no-restore" ]

        // Not among the packages of whoever runs this: they may hold another build of the same version.
        dotnet
            shop
            [ "build"
              "-v"
              "q"
              "-p:RestorePackagesPath=" + Path.Combine(work, "restored")
              "-o"
              "out" ]

        // FSharp.Core's texts in other languages stay behind.
        let texts =
            Directory.GetFiles(Path.Combine(shop, "out"), "FSharp.Core.resources.dll", SearchOption.AllDirectories)

        Expect.isEmpty texts "languages that nobody asked for"

        let port = RedisServer.freePort ()
        let address = Uri $"http://localhost:{port}"
        let program = Path.Combine(shop, "out", "shop.dll")
        let running, said = start "dotnet" [ program; "--urls"; address.ToString(); "--contentRoot"; shop ]
        use running = running

        try
            use client = newClient ()
            do! answers (running, said) address
            do! body client address
        finally
            running.Kill()
            running.WaitForExit()
            Directory.Delete(work, true)
    }

let all =
    testList
        "stranger"
        [ testCaseTask "the README's lines, pasted into a fresh web project, run from packages" (fun () ->
              pasted "csharp" "Program.cs" [ "Session.CSharp"; "Session.Stores.Sqlite" ] (fun client address ->
                  task {
                      let! nobody = send client address "GET" "/me" []
                      Expect.equal nobody.Status 401 "nobody"
                      let! added = send client address "POST" "/cart/tea" []
                      Expect.equal (added.Status, added.Body) (200, """{"items":["tea"]}""") "the cart"
                      let cookie = $"__Host-sid={token added}"
                      let! cart = send client address "GET" "/cart" [ "Cookie", cookie ]
                      Expect.equal cart.Body """{"items":["tea"]}""" "it is kept"
                  }))

          testCaseTask "the README's lines of F#, pasted into a fresh web project, run from packages" (fun () ->
              pasted "fsharp" "Program.fs" [ "Session.AspNetCore"; "Session.Stores.Sqlite" ] (fun client address ->
                  task {
                      let! nobody = send client address "GET" "/me" []
                      Expect.equal nobody.Status 401 "nobody"
                      let! added = send client address "POST" "/cart/tea" []
                      Expect.equal (added.Status, added.Body) (200, """{"items":["tea"]}""") "the cart"
                      let cookie = $"__Host-sid={token added}"
                      let! signedIn = send client address "POST" "/login/ada" [ "Cookie", cookie ]
                      let! me = send client address "GET" "/me" [ "Cookie", $"__Host-sid={token signedIn}" ]
                      Expect.equal (me.Status, me.Body) (200, "ada") "signed in"
                  }))

          testCase "the script of the pure core plays its day in F# Interactive" (fun () ->
              let said = saidBy (Repository.under []) [ "fsi"; Repository.under [ "docs"; "lifecycle.fsx" ] ]

              for words in
                  [ "09:02  signs in"
                    "09:03  whoever planted the first token    Active, refused: Outdated"
                    "09:20  the response was lost: the old one Regenerated -> Regenerated"
                    "Destroyed (Replayed)"
                    "refused: Over (Replayed)" ] do
                  Expect.stringContains said words "the day") ]
