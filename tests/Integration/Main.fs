/// Runs every test, and ends with the sum alone on a line.
module Integration.Main

open System
open Expecto
open Expecto.Impl

[<EntryPoint>]
let main args =
    // Not Expecto's: it colours and pads what goes through the console.
    use out = new IO.StreamWriter(Console.OpenStandardOutput(), AutoFlush = true)
    let started = Diagnostics.Stopwatch.StartNew()

    let tests =
        testSequenced (
            testList
                "integration"
                [ Stories.all
                  Guards.all
                  Contract.all
                  ContractKit.all
                  Live.all
                  LiveFleet.all
                  SignalsSqlite.all
                  SignalsMongo.all
                  SignalsCluster.all
                  Sqlite.all
                  SqliteGone.all
                  Redis.all
                  RedisSentinel.all
                  RedisCluster.all
                  RedisPartition.all
                  RedisPartition.lateAnswers
                  RedisRedirects.all
                  RedisReplicas.all
                  RedisProbes.all
                  RedisKilled.all
                  RedisRuns.all
                  Health.all
                  SignIn.all
                  Mongo.all
                  PostgresStart.all
                  Postgres.all
                  PostgresEnds.all
                  PostgresCrashes.all
                  DistributedCache.all
                  StoreOptions.all
                  Places.all
                  Moving.all
                  BackChannel.all
                  BackChannelMoves.all
                  AtRest.all
                  Tickets.all
                  Shops.all
                  Samples.all
                  Circuits.all
                  LibraryPages.all
                  Config.all
                  Versions.all
                  Surface.all
                  Caches.tests
                  Browser.all
                  CrossSites.all
                  Packages.all
                  Stranger.all
                  Templates.all
                  QuickStarts.all
                  Published.all
                  FSharpData.all
                  BuiltIn.all
                  Compatibility.all ]
        )

    let argument name =
        match Array.tryFindIndex ((=) name) args with
        | Some i when i + 1 < args.Length -> Some args[i + 1]
        | _ -> None

    let wanted =
        match [ for before, text in Array.pairwise args -> before, text ] |> List.filter (fst >> (=) "--only") with
        | [] -> tests
        | texts ->
            let isWanted (name: string list) =
                let whole = String.concat " / " name
                texts |> List.exists (fun (_, text) -> whole.Contains(text, StringComparison.OrdinalIgnoreCase))

            Test.filter " / " isWanted tests

    let results =
        evalTests { ExpectoConfig.defaultConfig with colour = Logging.Colour0 } wanted
        |> Async.RunSynchronously

    Contract.clean ()

    if not (Array.contains "--only" args) then
        Audit.write "integration.json" Contract.ours results

    argument "--results" |> Option.iter (Audit.briefly results)

    let mutable passed, failed, skipped = 0, 0, 0

    let show (text: string) =
        text.Split '\n'
        |> Array.filter (fun line -> not (line.Contains "FSharp.Core" || line.Contains "--- End of stack"))
        |> Array.truncate 14
        |> String.concat "\n"

    for test, summary in results do
        match summary.result with
        | TestResult.Passed -> passed <- passed + 1
        | TestResult.Ignored why ->
            skipped <- skipped + 1
            fprintfn out "SKIPPED %s: %s" (String.concat " / " test.name) why
        | TestResult.Failed why ->
            failed <- failed + 1
            fprintfn out "FAILED %s\n%s" (String.concat " / " test.name) (show why)
        | TestResult.Error error ->
            failed <- failed + 1
            fprintfn out "FAILED %s\n%s" (String.concat " / " test.name) (show (string error))

    if results.IsEmpty then
        failed <- 1
        fprintfn out "FAILED no test has such a name"

    fprintfn out "%d ms" started.ElapsedMilliseconds
    fprintfn out "%d passed, %d failed%s" passed failed (if skipped > 0 then $", {skipped} skipped" else "")
    if failed = 0 then 0 else 1
