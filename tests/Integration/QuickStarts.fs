/// The quick starts, typed as they stand there into an empty folder: each command, the program, a stop and a start, and Redis.
module Integration.QuickStarts

open System
open System.Collections.Concurrent
open System.Diagnostics
open System.IO
open System.Net
open System.Net.Http
open System.Text.RegularExpressions
open Expecto
open Integration.Http

/// What is indented by four, one line after the other.
let private commandsIn (guide: string) =
    [ for block in Regex.Matches(guide, @"(?m)(?:^    \S.*\n)+") do
          [ for line in block.Value.Split('\n', StringSplitOptions.RemoveEmptyEntries) do
                line.Trim() ] ]

let private codeIn (guide: string) language =
    [ for block in Regex.Matches(guide, $"(?s)```{language}\n(.*?)```") do
          block.Groups[1].Value ]

/// A shell in a folder, which packages come to from ours and go to a folder of their own.
let private shell (work: string) (folder: string) (line: string) =
    let info =
        ProcessStartInfo(
            "bash",
            [ "-ec"; line ],
            WorkingDirectory = folder,
            RedirectStandardOutput = true,
            RedirectStandardError = true
        )

    for name, value in
        [ "NUGET_PACKAGES", Path.Combine(work, "restored")
          "DOTNET_CLI_USE_MSBUILD_SERVER", "0"
          "MSBUILDDISABLENODEREUSE", "1"
          "DOTNET_GENERATE_ASPNET_CERTIFICATE", "false"
          "DOTNET_NOLOGO", "1" ] do
        info.Environment[name] <- value

    // Settings of whoever runs these tests, which a build would take for its own.
    for name in [ "CONFIGURATION"; "ASPNETCORE_URLS"; "ASPNETCORE_ENVIRONMENT" ] do
        info.Environment.Remove name |> ignore

    let said = ConcurrentQueue<string>()
    let started = nonNull (Process.Start info)
    started.OutputDataReceived.Add(fun line -> Option.iter said.Enqueue (Option.ofObj line.Data))
    started.ErrorDataReceived.Add(fun line -> Option.iter said.Enqueue (Option.ofObj line.Data))
    started.BeginOutputReadLine()
    started.BeginErrorReadLine()
    started, said

let private typed work folder (lines: string list) =
    let all = String.Join('\n', lines)
    let started, said = shell work folder all
    use started = started
    started.WaitForExit()
    let told = String.Join('\n', said)
    Expect.equal started.ExitCode 0 $"{all}\n{told}"

/// `dotnet run`, until `body` is done with the address that it prints.
let private whileItRuns work folder (body: Uri -> Threading.Tasks.Task<'a>) =
    task {
        let started, said = shell work folder "dotnet run"
        use started = started

        try
            let clock = Stopwatch.StartNew()

            let address () =
                let told = Regex.Match(String.Join('\n', said), @"Now listening on: (http://\S+)")
                if told.Success then Some(Uri told.Groups[1].Value) else None

            while (address ()).IsNone do
                if started.HasExited || clock.Elapsed > TimeSpan.FromMinutes 3L then
                    let told = String.Join('\n', said)
                    failtestf "it does not start: %s" told

                do! Threading.Tasks.Task.Delay 50

            return! body (address ()).Value
        finally
            // And what it has started.
            started.Kill true
            started.WaitForExit()
    }

let private signIn (client: HttpClient) (address: Uri) =
    task {
        let get path token = Templates.visit client address HttpMethod.Get path token []
        let post path token form = Templates.visit client address HttpMethod.Post path token form
        let! status, _, nobody = get "/" ""
        Expect.equal (status, nobody) (HttpStatusCode.Redirect, "") "sent to the login page"
        let! status, page, _ = get "/login" ""
        Expect.equal status HttpStatusCode.OK "the login page"
        Expect.stringContains page "Password" "which asks"
        let! _, _, nobody = post "/login" "" [ "user", "ada"; "password", "coffee" ]
        Expect.equal nobody "" "another password"
        let! _, _, ada = post "/login" "" [ "user", "ada"; "password", "tea" ]
        let! _ = post "/click" ada []
        let! _, home, ada = get "/" ada
        Expect.stringContains home "ada, 1 clicks" "signed in"
        return ada
    }

let private guided (guide: string) language (packages: string list) =
    testCaseTask
        $"{guide}, typed into an empty folder: signed in, still so after a restart, signed out, and on Redis"
        (fun () ->
            task {
                let work = World.temporaryFolder ()

                try
                    let text = File.ReadAllText(Repository.under [ "docs"; guide ])
                    let commands = commandsIn text
                    // As a folder of packages is named to NuGet by somebody who has no feed.
                    File.WriteAllText(Path.Combine(work, "NuGet.config"), Stranger.sources Packages.made.Value)

                    Expect.equal
                        (commands |> List.head |> List.last)
                        $"dotnet add package {List.last packages}"
                        "what is added"

                    let clock = Stopwatch.StartNew()
                    typed work work commands.Head
                    let shop = Path.Combine(work, "Shop")
                    let file = if language = "fsharp" then "Program.fs" else "Program.cs"
                    let program = Path.Combine(shop, file)
                    Expect.stringContains text $"`{file}`, all of it" "where the code goes"
                    File.WriteAllText(program, (codeIn text language).Head)
                    Expect.contains commands [ "dotnet run" ] "how it is started"
                    use client = newClient ()
                    let! ada = whileItRuns work shop (signIn client)
                    printfn "%s: signed in %.0f s after the first command" guide clock.Elapsed.TotalSeconds

                    do!
                        whileItRuns work shop (fun address ->
                            task {
                                let get path = Templates.visit client address HttpMethod.Get path ada []
                                let! _, home, _ = get "/"
                                Expect.stringContains home "ada, 1 clicks" "after a restart"
                                let! _ = Templates.visit client address HttpMethod.Post "/logout" ada []
                                let! status, _, _ = get "/"
                                Expect.equal status HttpStatusCode.Redirect "a copy of the cookie is worth nothing"
                            })

                    use redis = RedisServer.startOne []
                    let more = commands |> List.find (List.exists _.Contains("Redis"))

                    Expect.exists
                        more
                        _.StartsWith("redis-server ")
                        "how Redis is started, which it is here, on another port"

                    typed work shop (more |> List.filter (fun line -> not (line.StartsWith "redis-server ")))

                    let line =
                        Regex
                            .Match(text, "\.UseRedis\(\"localhost:6379\"\)")
                            .Value.Replace("localhost:6379", redis.Address)

                    let before = File.ReadAllText program
                    let after = before.Replace(".UseSqlite(\"sessions.db\")", line)
                    Expect.notEqual after before "one line is another"
                    File.WriteAllText(program, after)
                    let! _ = whileItRuns work shop (signIn client)
                    printfn "%s: on Redis %.0f s after the first command" guide clock.Elapsed.TotalSeconds
                finally
                    Directory.Delete(work, true)
            })

let all =
    testList
        "quick starts"
        [ guided "QUICK-START.md" "csharp" [ "Session.CSharp"; "Session.Stores.Sqlite" ]
          guided "QUICK-START-FSHARP.md" "fsharp" [ "Session.AspNetCore"; "Session.Stores.Sqlite" ] ]
