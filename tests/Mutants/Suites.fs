/// The tests that are asked, which parts of the library each of them is about, and how a part is built for them.
module Mutants.Suites

open System
open System.IO
open System.Reflection
open System.Xml.Linq
open Mutants.Listed
open Mutants.Compilers

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
        /// Its program asks about several bugs of one assembly in one process (`--bugs`).
        AsksSeveral: bool
    }

let private only (texts: string list) = texts |> List.map (fun text -> [ "--only"; text ])

let private lifecycle = [ "Session.Domain"; "Session.Engine"; "Session.AspNetCore" ]

let suites =
    [ { Name = "properties"
        Program = "Properties"
        // The exhaustive ones about migrations take most of the time, and few bugs need them.
        Stages = [ [ "--quick"; "--invariants" ]; [ "--quick" ] ]
        Parts = lifecycle
        Needs = []
        AsksSeveral = true }
      { Name = "facade"
        Program = "Facade"
        Stages = [ [ "--except"; "ContractTests"; "--stop" ] ]
        Parts = lifecycle @ [ "Session.CSharp"; "Session.OpenIdConnect" ]
        Needs = []
        AsksSeveral = true }
      { Name = "data"
        Program = "Data"
        // Fewer types: each bug is of a kind that stands in many of them.
        Stages = [ [ "--count"; "20" ] ]
        Parts = lifecycle @ [ "Session.CSharp" ]
        Needs = []
        AsksSeveral = false }
      // On the code that ships, in a simulated fleet: as many seeds as ./test simulation asks.
      { Name = "simulation"
        Program = "Simulation"
        Stages = [ [ "--seeds"; "300"; "--stop" ] ]
        Parts = lifecycle
        Needs = []
        AsksSeveral = false }
      // The F# face, by the programs of its users.
      { Name = "fsharp"
        Program = "FSharpFace"
        Stages = [ [] ]
        Parts = lifecycle
        Needs = []
        AsksSeveral = false }
      { Name = "contract"
        Program = "Facade"
        Stages = [ [ "--only"; "ContractTests" ] ]
        Parts = [ "Session.Stores.Sqlite" ]
        Needs = []
        AsksSeveral = false }
      // The package for tests of applications.
      { Name = "testing"
        Program = "Facade"
        Stages = [ [ "--only"; "TestingTests"; "--only"; "TestingGuide"; "--stop" ] ]
        Parts = [ "Session.Testing" ]
        Needs = []
        AsksSeveral = false }
      { Name = "analyzers"
        Program = "Analyzers"
        Stages = [ [ "--stop" ] ]
        Parts = [ "Session.Analyzers" ]
        Needs = []
        AsksSeveral = false }
      // The contract kit itself: right stores pass, and what is wrong is seen in wrong ones.
      { Name = "kit"
        Program = "Integration"
        Stages =
          only
              [ "the contract / Memory"
                "the contract / Sqlite"
                "the contract / sees"
                "the contract / a violation"
                "the contract / an exception"
                "the contract kit" ]
        Parts = [ "Session.Stores.Testing" ]
        Needs = []
        AsksSeveral = false }
      // On real servers: the contract in short first, then what the store promises besides.
      { Name = "sqlite"
        Program = "Integration"
        Stages =
          only [ "Sqlite file"; "SQLite: sessions, tickets" ]
          @ [ List.concat (
                  only
                      [ "SQLite: a notice waits"
                        "SQLite: a listener"
                        "SQLite: what one node says"
                        "SQLite: notices that went before"
                        "SQLite: where nobody listens" ]
              ) ]
        Parts = [ "Session.Stores.Sqlite" ]
        Needs = []
        AsksSeveral = false }
      { Name = "redis"
        Program = "Integration"
        Stages =
          only
              [ "the contract / Redis,"
                "Redis / replicas"
                "the contract holds where a replica is waited for"
                "Redis / late answers"
                "Redis / probes"
                "Redis / contents"
                "Redis / entries"
                "Redis / notices"
                "Redis: sessions, tickets"
                "Redis / sweepers / where an entry"
                "JanitorMargin of Redis"
                "two applications on one Redis"
                "one Sentinel of three is not believed"
                "name by an IPv6 address"
                "half of the Sentinels are not believed"
                "when another one was named already"
                "after a failure nothing is asked of a primary"
                "Redis / disposal"
                "values that nobody means are refused"
                "Cluster: an old primary"
                "Cluster: while a slot moves"
                "Cluster: two of four primaries"
                "Cluster: five hundred sessions" ]
        Parts = [ "Session.Stores.Redis" ]
        Needs = [ "redis-server"; "redis-sentinel" ]
        AsksSeveral = false }
      { Name = "postgres"
        Program = "Integration"
        Stages =
          only
              [ "the contract / Postgres,"
                "the contract / Postgres:"
                "Postgres / answers"
                "Postgres at start"
                "Postgres ends in a transaction"
                "PostgreSQL: sessions, tickets"
                "connections that lead to a standby"
                "option PostgresStoreOptions.PrepareStatements"
                // Last: what hears nothing is found out after a while.
                "Postgres / notices" ]
        Parts = [ "Session.Stores.Postgres" ]
        Needs = [ "/usr/lib/postgresql/*/bin/initdb" ]
        AsksSeveral = false }
      // On the stand-in, or on the server of SESSION_MONGO.
      { Name = "mongo"
        Program = "Integration"
        Stages =
          only
              [ "the contract / Mongo"
                "integration / MongoDB"
                "JanitorMargin of MongoDB"
                "MongoDB: sessions, tickets"
                "MongoDB (the stand-in): a stream"
                "MongoDB (the stand-in): of two that begin" ]
        Parts = [ "Session.Stores.Mongo" ]
        Needs = []
        AsksSeveral = false }
      { Name = "cache"
        Program = "Integration"
        Stages =
          only
              [ "distributed cache / DistributedCache, seed"
                "distributed cache / keeps"
                "distributed cache / says"
                "JanitorMargin of a cache" ]
        Parts = [ "Session.Stores.DistributedCache" ]
        Needs = []
        AsksSeveral = false } ]

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

/// One of the stores that a file beside them is compiled into.
let private storeWith (mutant: Mutant) =
    let isAsked suite = mutant.Tests.IsNone || mutant.Tests = Some suite.Name
    let file = Path.GetFullPath(Path.Combine(root, "src", mutant.File))

    let hasIt (part: string) =
        part.StartsWith("Session.Stores.", StringComparison.Ordinal)
        && List.exists (fun source -> Path.GetFullPath source = file) (listedIn (projectOf part))

    suites |> List.filter isAsked |> List.collect _.Parts |> List.tryFind hasIt

/// The part of the folder that the file is in, or of the one around it.
let partOf (mutant: Mutant) =
    match Path.GetDirectoryName mutant.File with
    | null
    | "" -> "Session.Domain"
    | "Session.Stores" -> storeWith mutant |> Option.defaultValue "Session.Stores"
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

/// Who else knows the part of a bug that these tests do not find.
let othersThan suite (mutant: Mutant) =
    suites
    |> List.filter (fun other ->
        other.Name <> suite.Name
        && List.contains (partOf mutant) other.Parts
        && List.isEmpty (missing other))

/// The source files of a C# part, with those that it shares with others, and what the build has written for it.
let private foundFor (part: string) =
    let generated = Path.Combine(root, "artifacts", "obj", part, "release")

    List.ofArray (Directory.GetFiles(folderOf part, "*.cs", IO.SearchOption.AllDirectories))
    @ listedIn (projectOf part)
    @ List.ofArray (Directory.GetFiles(generated, "*.cs"))

/// Builds a part for the tests in a folder, `change` applied to its list of sources.
let build suite part (folder: string) (target: string) (change: string list -> string list) =
    let before = List.takeWhile ((<>) part) suite.Parts
    let after = part :: List.skip (before.Length + 1) suite.Parts

    let references =
        Directory.GetFiles(folder, "*.dll")
        |> List.ofArray
        |> List.filter (fun file ->
            let name = nonNull (Path.GetFileNameWithoutExtension file)
            name <> suite.Program && not (List.contains name after))

    match languageOf part with
    | FSharp project ->
        let version = AssemblyName.GetAssemblyName(Path.Combine(outputOf suite, part + ".dll")).Version |> nonNull
        compileFSharp (listedIn project |> change) references version target
    | CSharp ->
        let sources, resources = foundFor part |> change, listed "EmbeddedResource" (projectOf part)
        compileCSharpWith [] sources resources references target
