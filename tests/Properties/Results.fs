/// The results as JSON, for the audit page and for the seeded bugs.
module Properties.Results

open System
open System.Collections.Generic
open System.IO
open System.Text.Json
open System.Text.Json.Nodes
open Expecto.Impl
open Properties.Histories

/// Where ./test collects what its parts have to say.
let fileOf (name: string) =
    match Environment.GetEnvironmentVariable "SESSION_RESULTS" with
    | null
    | "" -> Path.Combine("artifacts", "results", name)
    | folder -> Path.Combine(folder, name)

let save (file: string) (json: JsonNode) =
    match Path.GetDirectoryName file with
    | null
    | "" -> ()
    | folder -> Directory.CreateDirectory folder |> ignore

    File.WriteAllText(file, json.ToJsonString(JsonSerializerOptions(WriteIndented = true)) + "\n")

/// The number that a name begins with, if it is that of an invariant.
let invariantOf (name: string) =
    match name.IndexOf ' ' with
    | -1 -> None
    | space ->
        match Int32.TryParse(name.Substring(0, space)) with
        | true, n when n >= 1 && n <= 18 && name.Contains ':' -> Some n
        | _ -> None

let write (file: string) (seed: int) (results: (Expecto.FlatTest * TestSummary) list) =
    let properties = JsonArray()

    for test, summary in results do
        let name = List.last test.name
        let it = JsonObject()
        it["name"] <- JsonValue.Create name

        match invariantOf name with
        | Some n -> it["invariant"] <- JsonValue.Create n
        | None -> ()

        it["passed"] <- JsonValue.Create summary.result.isPassed
        it["skipped"] <- JsonValue.Create summary.result.isIgnored

        match summary.result with
        | TestResult.Failed why -> it["why"] <- JsonValue.Create why
        | TestResult.Error error -> it["why"] <- JsonValue.Create(string error)
        | TestResult.Ignored why -> it["why"] <- JsonValue.Create why
        | TestResult.Passed -> ()

        it["cases"] <- JsonValue.Create(EngineInvariants.casesOf name)
        it["seconds"] <- JsonValue.Create(Math.Round(summary.duration.TotalSeconds, 3))
        properties.Add it

    let coverage = JsonObject()

    for cell in cells |> List.append (List.ofSeq met.Keys) |> List.distinct |> List.sort do
        coverage[cell] <- JsonValue.Create(met.GetValueOrDefault(cell, 0))

    let all = JsonObject()
    all["seed"] <- JsonValue.Create seed
    all["properties"] <- properties
    all["coverage"] <- coverage
    save file all
