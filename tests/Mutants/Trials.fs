/// One bug at a time: its part of the library is built with it, put beside the tests in the place of the right one, and
/// the tests are asked.
module Mutants.Trials

open System
open System.Diagnostics
open System.IO
open System.Reflection
open System.Text.Json.Nodes
open System.Xml.Linq
open Mutants.Listed
open Mutants.Compilers

type Verdict =
    | Killed of tests: string list * story: string list
    | Survived
    | Invalid of why: string

type Trial = { Mutant: Mutant; Verdict: Verdict; Seconds: float }

let seed = "1"

/// Tests that were built, and how they are asked: in stages, of which a later one is asked about what survived.
type Suite =
    {
        Name: string
        Program: string
        Stages: string list list
        /// The parts of the library that it tests, each after what it is built on.
        Parts: string list
        /// The servers that it starts: a command, or a path with a wildcard.
        Needs: string list
    }

let private only (texts: string list) = texts |> List.map (fun text -> [ "--only"; text ])

let private lifecycle = [ "Session.Domain"; "Session.Engine"; "Session.AspNetCore" ]

let suites =
    [ { Name = "properties"
        Program = "Properties"
        // The exhaustive ones about migrations take most of the time, and few bugs need them.
        Stages = [ [ "--quick"; "--invariants" ]; [ "--quick" ] ]
        Parts = lifecycle
        Needs = [] }
      { Name = "facade"
        Program = "Facade"
        Stages = [ [ "--except"; "ContractTests" ] ]
        Parts = lifecycle @ [ "Session.CSharp" ]
        Needs = [] }
      { Name = "data"
        Program = "Data"
        // Fewer types: each bug is of a kind that stands in many of them.
        Stages = [ [ "--count"; "20" ] ]
        Parts = lifecycle @ [ "Session.CSharp" ]
        Needs = [] }
      // On the code that ships, in a simulated fleet: as many seeds as ./test simulation asks.
      { Name = "simulation"
        Program = "Simulation"
        Stages = [ [ "--seeds"; "300"; "--stop" ] ]
        Parts = lifecycle
        Needs = [] }
      { Name = "contract"
        Program = "Facade"
        Stages = [ [ "--only"; "ContractTests" ] ]
        Parts = [ "Session.Stores.Sqlite" ]
        Needs = [] }
      // On real servers: the contract in short first, then what the store promises besides.
      { Name = "sqlite"
        Program = "Integration"
        Stages = only [ "Sqlite file" ]
        Parts = [ "Session.Stores.Sqlite" ]
        Needs = [] }
      { Name = "redis"
        Program = "Integration"
        Stages =
          only
              [ "the contract / Redis,"
                "Redis / replicas"
                "Redis / late answers"
                "Redis / probes"
                "two applications on one Redis"
                "one Sentinel of three is not believed"
                "Cluster: an old primary" ]
        Parts = [ "Session.Stores.Redis" ]
        Needs = [ "redis-server"; "redis-sentinel" ] }
      { Name = "postgres"
        Program = "Integration"
        Stages =
          only
              [ "the contract / Postgres,"
                "Postgres / answers"
                "Postgres at start"
                "Postgres ends in a transaction" ]
        Parts = [ "Session.Stores.Postgres" ]
        Needs = [ "/usr/lib/postgresql/*/bin/initdb" ] }
      { Name = "cache"
        Program = "Integration"
        Stages =
          only
              [ "distributed cache / DistributedCache, seed"
                "distributed cache / keeps"
                "distributed cache / says" ]
        Parts = [ "Session.Stores.DistributedCache" ]
        Needs = [] } ]

/// Those of its servers that this machine does not have.
let missing suite =
    let isThere (needed: string) =
        match Path.GetDirectoryName needed with
        | null
        | "" ->
            (string (Environment.GetEnvironmentVariable "PATH")).Split Path.PathSeparator
            |> Array.exists (fun folder -> File.Exists(Path.Combine(folder, needed)))
        | _ ->
            let before, after = needed.Substring(0, needed.IndexOf '*'), needed.Substring(needed.IndexOf '*' + 2)

            Directory.Exists before
            && Directory.GetDirectories before
               |> Array.exists (fun folder -> File.Exists(Path.Combine(folder, after)))

    List.filter (isThere >> not) suite.Needs

let private folderOf (part: string) =
    let src = Path.Combine(root, "src")

    if part = "Session.Domain" then src else Path.Combine(src, part.Replace("Stores.", "Stores/"))

/// The part of the folder that the file is in, or of the one around it.
let private partOf (mutant: Mutant) =
    match Path.GetDirectoryName mutant.File with
    | null
    | "" -> "Session.Domain"
    | folder ->
        let folder = folder.Replace('/', '.')

        suites
        |> List.collect _.Parts
        |> List.tryFind (fun part -> (folder + ".").StartsWith(part + ".", StringComparison.Ordinal))
        |> Option.defaultValue folder

let suiteOf (mutant: Mutant) =
    let isData = mutant.File.StartsWith("Session.AspNetCore/Json/", StringComparison.Ordinal)
    let wanted = if isData then Some(defaultArg mutant.Tests "data") else mutant.Tests

    let fits suite = List.contains (partOf mutant) suite.Parts && (wanted.IsNone || wanted = Some suite.Name)

    List.tryFind fits suites

let outputOf suite = Path.Combine(root, "artifacts", "bin", suite.Program, "release")

type private Language =
    | FSharp of project: string
    | CSharp

let private languageOf part =
    let project = Path.Combine(folderOf part, part + ".fsproj")
    if File.Exists project then FSharp project else CSharp

/// The files of a kind that a project lists, in order.
let private listed (kind: string) (project: string) =
    let folder = nonNull (Path.GetDirectoryName project)
    let named = XName.Get

    [ for item in XDocument.Load(project).Descendants(named kind) do
          match item.Attribute(named "Include") with
          | null -> ()
          | included -> Path.Combine(folder, included.Value.Replace("$(DomainSource)", "Session.Domain.fs")) ]

let private listedIn = listed "Compile"

let private projectOf (part: string) = Path.Combine(folderOf part, part + ".csproj")

/// The source files of a C# part, with those that it shares with others, and what the build has written for it.
let private foundFor (part: string) =
    let generated = Path.Combine(root, "artifacts", "obj", part, "release")

    List.ofArray (Directory.GetFiles(folderOf part, "*.cs"))
    @ listedIn (projectOf part)
    @ List.ofArray (Directory.GetFiles(generated, "*.cs"))

/// Builds a part into a folder, `change` applied to its list of sources.
let build suite part (folder: string) (change: string -> string) =
    let before = List.takeWhile ((<>) part) suite.Parts
    let after = part :: List.skip (before.Length + 1) suite.Parts

    let references =
        Directory.GetFiles(folder, "*.dll")
        |> List.ofArray
        |> List.filter (fun file ->
            let name = nonNull (Path.GetFileNameWithoutExtension file)
            name <> suite.Program && not (List.contains name after))

    let target = Path.Combine(folder, part + ".dll")

    match languageOf part with
    | FSharp project ->
        let version = AssemblyName.GetAssemblyName(Path.Combine(outputOf suite, part + ".dll")).Version |> nonNull
        compileFSharp (listedIn project |> List.map change) references version target
    | CSharp ->
        let sources, resources = foundFor part |> List.map change, listed "EmbeddedResource" (projectOf part)
        compileCSharpWith [] sources resources references target

// A bug that makes a loop endless must not stop the run; the tests take seconds, and 300 hours of a fleet a minute or two.
let private patience = TimeSpan.FromMinutes 2L
let private patienceFor suite = if suite.Name = "simulation" then 3.0 * patience else patience

// The tests run once: what the runtime would learn for a long life costs more than it gives.
let private settings =
    [ "DOTNET_TieredPGO", "0"
      "DOTNET_gcConcurrent", "0"
      "DOTNET_NOLOGO", "1"
      // For tests that look at its files: they run in a copy elsewhere.
      "SESSION_REPOSITORY", root
      // The contract kit, where a test does not say by itself how long it is to be.
      "SESSION_CONTRACT_SEED", seed
      "SESSION_CONTRACT_COMMANDS", "300"
      "SESSION_CONTRACT_HISTORIES", "5" ]

let private read (file: string) =
    if File.Exists file then Option.ofObj (JsonNode.Parse(File.ReadAllText file)) else None

/// How much a program was asked; the simulation writes down its seeds, and only the invariants that do not hold.
let private askedIn (results: JsonNode) =
    let seeds =
        match results["seeds"] with
        | null -> 0
        | seeds -> seeds.GetValue<int>()

    seeds + (nonNull results["properties"]).AsArray().Count

let private texts (node: JsonNode | null) : string list =
    match node with
    | null -> []
    | node ->
        [ for it in node.AsArray() do
              (nonNull it).GetValue<string>() ]

let private failedIn (results: JsonNode) =
    [ for it in (nonNull results["properties"]).AsArray() do
          let it = nonNull it
          let is (key: string) = (nonNull it[key]).GetValue<bool>()

          if not (is "passed" || is "skipped") then
              (nonNull it["name"]).GetValue<string>() ]

/// Whether all passed, the names of those that failed, and what was said.
let private ask suite (folder: string) stage =
    let results = Path.Combine(folder, "results.json")
    File.Delete results
    let program = Path.Combine(folder, suite.Program + ".dll")
    let arguments = program :: stage @ [ "--seed"; seed; "--results"; results ]

    match start arguments settings folder (patienceFor suite) with
    | Some 0, said ->
        match read results |> Option.map askedIn with
        | Some count when count > 0 -> [], said
        | _ -> [ "(nothing was run)" ], said
    | None, said -> [ "(it never ends)" ], said
    | Some _, said ->
        match read results |> Option.map failedIn with
        | Some(_ :: _ as failed) -> failed, said
        | Some []
        | None -> [ "(it crashes)" ], said

/// The first stage that finds something.
let rec askAll suite folder stages =
    match stages with
    | [] -> [], ""
    | stage :: rest ->
        match ask suite folder stage with
        | [], said when rest.IsEmpty -> [], said
        | [], _ -> askAll suite folder rest
        | found -> found

/// What the exploration tells against a guard that is missing.
let private storyOf suite (folder: string) scope =
    let results = Path.Combine(folder, "exploration.json")
    File.Delete results

    let arguments =
        [ Path.Combine(folder, suite.Program + ".dll")
          "explore"
          "--scope"
          scope
          "--limit"
          "400000"
          "--results"
          results ]

    start arguments [] folder (2.0 * patience) |> ignore

    match read results with
    | None -> []
    | Some results ->
        [ for scope in (nonNull results["scopes"]).AsArray() do
              match scope with
              | null -> ()
              | scope -> yield! texts scope["story"] ]

/// In a folder that holds the tests and the library without a bug, and does so again afterwards.
let tryOut suite (folder: string) (mutant: Mutant) : Trial * string =
    let clock = Stopwatch.StartNew()

    let verdict, said =
        match Listed.seed mutant with
        | Error why -> Invalid why, ""
        | Ok text ->
            let part = partOf mutant
            let library = Path.Combine(folder, part + ".dll")
            let kept = library + ".kept"
            let source = Path.GetFullPath(Path.Combine(root, "src", mutant.File))
            let mutated = Path.Combine(folder, nonNull (Path.GetFileName source))
            File.WriteAllText(mutated, text)
            File.Move(library, kept, true)

            try
                let change file = if Path.GetFullPath file = source then mutated else file

                match build suite part folder change with
                | false, said -> Invalid "it does not compile", said
                | true, _ ->
                    let failed, said = askAll suite folder suite.Stages

                    let story = mutant.Guard |> Option.map (storyOf suite folder)

                    match failed, story with
                    | [], Some(_ :: _ as told) -> Killed([], told), said
                    | [], _ -> Survived, said
                    // Found by the runtime, and not by a test.
                    | _ when said.Contains "MissingMethodException" || said.Contains "TypeLoadException" ->
                        Invalid "it changes the names or types that its callers were built with", said
                    | _, Some [] -> Invalid "the exploration has no story against it", said
                    | failed, story -> Killed(failed, Option.defaultValue [] story), said
            finally
                File.Move(kept, library, true)
                File.Delete mutated

    { Mutant = mutant
      Verdict = verdict
      Seconds = clock.Elapsed.TotalSeconds },
    said
