/// What somebody does who has read the README and nothing else: a fresh project, the packages, and the ten lines pasted.
module Integration.Stranger

open System
open System.Diagnostics
open System.IO
open Expecto
open Integration.Http

let private configuration = DirectoryInfo(AppContext.BaseDirectory.TrimEnd '/').Name

let private dotnet (folder: string) (arguments: string list) =
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

let private snippet () =
    let readme = File.ReadAllText(Repository.under [ "README.md" ])
    let from = readme.IndexOf "```csharp" + "```csharp".Length
    readme.Substring(from, readme.IndexOf("```", from) - from)

/// From folders only: ours, and the one that this repository is built from.
let private sources packages =
    let feed = Repository.under [ "feed" ]

    $"""<configuration>
  <packageSources>
    <clear />
    <add key="packages" value="{packages}" />
    <add key="feed" value="{feed}" />
  </packageSources>
</configuration>"""

let all =
    testList
        "stranger"
        [ testCaseTask "the README's lines, pasted into a fresh web project, run from packages" (fun () ->
              task {
                  let work = World.temporaryFolder ()
                  let packages, shop = Path.Combine(work, "packages"), Path.Combine(work, "shop")
                  Directory.CreateDirectory shop |> ignore

                  for project in
                      [ "Session.Domain.fsproj"
                        "Session.Engine"
                        "Session.AspNetCore"
                        "Session.CSharp"
                        "Session.Stores/Sqlite" ] do
                      let path = Repository.under [ "src"; project ]

                      dotnet
                          (Repository.under [])
                          [ "pack"; path; "-c"; configuration; "--no-build"; "-o"; packages; "-v"; "q" ]

                  dotnet shop [ "new"; "web"; "--no-restore" ]
                  File.WriteAllText(Path.Combine(shop, "NuGet.config"), sources packages)
                  File.WriteAllText(Path.Combine(shop, "Program.cs"), snippet ())

                  for package in [ "Session.CSharp"; "Session.Stores.Sqlite" ] do
                      dotnet shop [ "add"; "package"; package; "--version"; "0.1.0"; "--no-restore" ]

                  // Not among the packages of whoever runs this: they may hold another build of the same version.
                  dotnet
                      shop
                      [ "build"
                        "-v"
                        "q"
                        "-p:RestorePackagesPath=" + Path.Combine(work, "restored")
                        "-o"
                        "out" ]

                  let port = RedisServer.freePort ()
                  let address = Uri $"http://localhost:{port}"
                  let program = Path.Combine(shop, "out", "shop.dll")

                  use running =
                      RedisServer.launch "dotnet" [ program; "--urls"; address.ToString(); "--contentRoot"; shop ]

                  try
                      use client = newClient ()
                      let clock = Stopwatch.StartNew()
                      let mutable isUp = false

                      while not isUp do
                          try
                              let! _ = send client address "GET" "/cart" []
                              isUp <- true
                          with :? Net.Http.HttpRequestException ->
                              if running.HasExited || clock.Elapsed > TimeSpan.FromSeconds 60L then
                                  failtest "it does not start"

                              do! Threading.Tasks.Task.Delay 100

                      let! nobody = send client address "GET" "/me" []
                      Expect.equal nobody.Status 401 "nobody"
                      let! added = send client address "POST" "/cart/tea" []
                      Expect.equal (added.Status, added.Body) (200, """{"items":["tea"]}""") "the cart"
                      let cookie = $"__Host-sid={token added}"
                      let! cart = send client address "GET" "/cart" [ "Cookie", cookie ]
                      Expect.equal cart.Body """{"items":["tea"]}""" "it is kept"
                  finally
                      running.Kill()
                      running.WaitForExit()
                      Directory.Delete(work, true)
              }) ]
