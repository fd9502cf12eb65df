/// The results as JSON, for the audit page.
module Integration.Audit

open System
open System.ComponentModel
open System.Diagnostics
open System.IO
open System.Runtime.InteropServices
open System.Text.Json
open System.Text.Json.Nodes
open Expecto.Impl

let private versionOf (command: string) =
    try
        match
            Process.Start(
                ProcessStartInfo(command, "--version", RedirectStandardOutput = true, RedirectStandardError = true)
            )
        with
        | null -> "not there"
        | started ->
            use started = started
            let said = started.StandardOutput.ReadToEnd().Trim()
            started.WaitForExit()
            said.Split('\n')[0]
    with :? Win32Exception ->
        "not there"

let private contractOf (contract: Session.Stores.Testing.StoreContract) results =
    let own =
        results
        |> List.filter (fun (test: Expecto.FlatTest, _) ->
            List.contains $"{contract.Name}, seed {contract.Options.Seed}" test.name)

    let failed = own |> List.filter (fun (_, summary: TestSummary) -> not summary.result.isPassed)

    // A sentence with its one example, a divergence from the model, a history or a race that no order explains.
    let kindOf (name: string) =
        match name with
        | "random commands answer as the model does" -> "divergences"
        | "parallel clients see one order"
        | "three sweepers share what is overdue"
        | "who was signed in before a listing is in it" -> "violations"
        | _ when name.StartsWith "through the engine: " -> "violations"
        | _ -> "sentences"

    let failuresOf kind = failed |> List.filter (fun (test, _) -> kindOf (List.last test.name) = kind) |> List.length
    let it = JsonObject()
    it["store"] <- JsonValue.Create contract.Name
    it["seed"] <- JsonValue.Create contract.Options.Seed
    it["commands"] <- JsonValue.Create contract.Commands
    it["histories"] <- JsonValue.Create contract.Histories
    it["passed"] <- JsonValue.Create(own.Length - failed.Length)
    it["failed"] <- JsonValue.Create failed.Length

    for kind in [ "sentences"; "divergences"; "violations" ] do
        it[kind] <- JsonValue.Create(failuresOf kind)

    it

let private sqlite () =
    use connection = new Microsoft.Data.Sqlite.SqliteConnection "Data Source=:memory:"
    connection.Open()
    connection.ServerVersion

let write (name: string) contracts (results: (Expecto.FlatTest * TestSummary) list) =
    let tests = JsonArray()

    for test, summary in results do
        let it = JsonObject()
        it["name"] <- JsonValue.Create(String.concat " / " test.name)
        it["passed"] <- JsonValue.Create summary.result.isPassed
        it["skipped"] <- JsonValue.Create summary.result.isIgnored
        it["seconds"] <- JsonValue.Create(Math.Round(summary.duration.TotalSeconds, 3))

        match summary.result with
        | TestResult.Failed why -> it["why"] <- JsonValue.Create why
        | TestResult.Error error -> it["why"] <- JsonValue.Create(string error)
        | TestResult.Ignored why -> it["why"] <- JsonValue.Create why
        | TestResult.Passed -> ()

        tests.Add it

    let servers = JsonObject()
    servers[".NET"] <- JsonValue.Create RuntimeInformation.FrameworkDescription

    for command in [ "redis-server"; "redis-sentinel"; "chromium" ] do
        servers[command] <- JsonValue.Create(versionOf command)

    servers["SQLite"] <- JsonValue.Create(sqlite ())
    servers["PostgreSQL"] <- JsonValue.Create(PostgresServer.version ())
    servers["MongoDB"] <- JsonValue.Create MongoServer.name
    let all = JsonObject()
    all["tests"] <- tests
    all["contracts"] <- JsonArray [| for contract in contracts -> contractOf contract results :> JsonNode |]
    all["servers"] <- servers

    let folder =
        match Environment.GetEnvironmentVariable "SESSION_RESULTS" with
        | null
        | "" -> Path.Combine("artifacts", "results")
        | folder -> folder

    Directory.CreateDirectory folder |> ignore
    File.WriteAllText(Path.Combine(folder, name), all.ToJsonString(JsonSerializerOptions(WriteIndented = true)) + "\n")

/// Only how each test ended, in the form of the other parts: what the seeded bugs are found by.
let briefly (results: (Expecto.FlatTest * TestSummary) list) (file: string) =
    let each (test: Expecto.FlatTest, summary: TestSummary) : JsonNode =
        let it = JsonObject()
        it["name"] <- JsonValue.Create(String.concat " / " test.name)
        it["passed"] <- JsonValue.Create summary.result.isPassed
        it["skipped"] <- JsonValue.Create summary.result.isIgnored
        it

    let all = JsonObject()
    all["properties"] <- JsonArray(List.map each results |> Array.ofList)
    File.WriteAllText(file, all.ToJsonString())
