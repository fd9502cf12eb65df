/// Seeds the bugs of mutants.txt, one at a time, and asks the properties (and, for the guards of the renewal, the
/// exploration) to find each of them. A bug that nobody finds, that does not match its source exactly once or does not
/// compile fails the run; and so does an invariant that is nobody's only finder.
///     ./test mutants [--only TEXT]
module Mutants.Main

open System
open System.Collections.Concurrent
open System.Diagnostics
open System.IO
open System.Reflection
open System.Runtime.InteropServices
open System.Text.Json
open System.Text.Json.Nodes
open System.Threading
open System.Threading.Tasks
open System.Xml.Linq

type Mutant =
    {
        Name: string
        /// From src.
        File: string
        /// The invariants that it breaks, as its author thinks.
        Breaks: int list
        /// A guard of the renewal: the exploration has to tell a story against it.
        IsGuard: bool
        Old: string
        New: string
    }

type Verdict =
    | Killed of properties: string list * story: string list
    | Survived
    | Invalid of why: string

// ------------------------------------------------------------------------------------------------------ the list

let private root =
    let rec up (folder: string) =
        if File.Exists(Path.Combine(folder, "Session.slnx")) then
            folder
        else
            match Path.GetDirectoryName folder with
            | null -> failwith "not inside the repository"
            | parent -> up parent

    up AppContext.BaseDirectory

let private read () =
    let file = Path.Combine(root, "tests", "Mutants", "mutants.txt")
    let mutants = Collections.Generic.List<Mutant>()

    let after (line: string) = if line.Length > 2 then line.Substring 2 else ""

    for block in File.ReadAllText(file).Split("\nmutant ") |> Array.skip 1 do
        let lines = block.TrimEnd().Split '\n'

        let value (key: string) =
            lines
            |> Array.tryFind (fun line -> line.StartsWith(key + " "))
            |> Option.map (fun line -> line.Substring(key.Length).Trim())

        let part (sign: string) =
            lines |> Array.filter (fun line -> line.StartsWith sign) |> Array.map after |> String.concat "\n"

        mutants.Add
            { Name = lines[0].Trim()
              File = (value "file").Value
              Breaks =
                (defaultArg (value "breaks") "").Split([| ' '; ',' |], StringSplitOptions.RemoveEmptyEntries)
                |> Array.map int
                |> List.ofArray
              IsGuard = (value "guard").IsSome
              Old = part "-"
              New = part "+" }

    List.ofSeq mutants

// --------------------------------------------------------------------------------------------------- the compiler

let private runtime = RuntimeEnvironment.GetRuntimeDirectory()

// shared/Microsoft.NETCore.App/VERSION
let private dotnet = Path.GetFullPath(Path.Combine(runtime, "..", "..", ".."))

let private start (file: string) (arguments: seq<string>) (folder: string) (seconds: int) =
    let info =
        ProcessStartInfo(
            file,
            arguments,
            WorkingDirectory = folder,
            RedirectStandardOutput = true,
            RedirectStandardError = true
        )

    match Process.Start info with
    | null -> failwith $"{file} does not start"
    | started ->
        use started = started
        let out = started.StandardOutput.ReadToEndAsync()
        let err = started.StandardError.ReadToEndAsync()

        if started.WaitForExit(TimeSpan.FromSeconds(float seconds)) then
            Some started.ExitCode, out.Result + err.Result
        else
            started.Kill true
            None, "it took too long"

let private compiler =
    let _, version = start "dotnet" [ "--version" ] root 60
    Path.Combine(dotnet, "sdk", version.Trim(), "FSharp", "fsc.dll")

let private systemReferences =
    let aspNetCore =
        let versions = Path.Combine(dotnet, "shared", "Microsoft.AspNetCore.App")
        let same = Path.Combine(versions, DirectoryInfo(runtime).Name)
        if Directory.Exists same then same else Directory.GetDirectories versions |> Array.max

    let framework =
        [ "System*.dll"; "Microsoft*.dll"; "mscorlib.dll"; "netstandard.dll" ]
        |> List.collect (fun pattern -> Directory.GetFiles(runtime, pattern) |> List.ofArray)
        |> List.filter (fun file -> not (file.Contains "Native"))

    framework @ List.ofArray (Directory.GetFiles(aspNetCore, "*.dll"))

/// The source files of a project, in order.
let private sourcesOf (project: string) =
    let folder = nonNull (Path.GetDirectoryName project)
    let named = XName.Get

    [ for item in XDocument.Load(project).Descendants(named "Compile") do
          match item.Attribute(named "Include") with
          | null -> ()
          | included -> Path.Combine(folder, included.Value.Replace("$(DomainSource)", "Session.Domain.fs")) ]

/// What the properties were built to; its parts of the library are replaced.
let private output = Path.Combine(root, "artifacts", "bin", "Properties", "release")

let private projects =
    [ "Session.Domain", Path.Combine(root, "src", "Session.Domain.fsproj")
      "Session.Engine", Path.Combine(root, "src", "Session.Engine", "Session.Engine.fsproj")
      "Session.AspNetCore", Path.Combine(root, "src", "Session.AspNetCore", "Session.AspNetCore.fsproj") ]

/// Without optimisation across assemblies: a part that was changed has to be called, not its copy in its caller (the properties are built in the same way).
let private compile (name: string) (sources: string list) (folder: string) (target: string) =
    let version = (AssemblyName.GetAssemblyName(Path.Combine(output, name + ".dll"))).Version
    let info = target + ".version.fs"

    File.WriteAllText(
        info,
        $"namespace Mutants.Version\n[<assembly: System.Reflection.AssemblyVersion(\"{version}\")>]\ndo ()\n"
    )

    let references =
        Directory.GetFiles(folder, "*.dll")
        |> List.ofArray
        |> List.filter (fun file ->
            let other = nonNull (Path.GetFileNameWithoutExtension file)
            let order n = projects |> List.tryFindIndex (fun (project, _) -> project = n)

            match order other, order name with
            | Some other, Some own -> other < own
            | Some _, None -> false
            | None, _ -> other <> "Properties")

    let last = List.last sources
    let before = List.take (sources.Length - 1) sources

    start
        "dotnet"
        [ compiler
          "--nologo"
          "--noframework"
          "--targetprofile:netcore"
          "--target:library"
          "--optimize+"
          "--crossoptimize-"
          "--checknulls+"
          "--nocopyfsharpcore"
          "--deterministic+"
          "--debug-"
          "--warnaserror:25"
          "--nowarn:3370,3520"
          for reference in references @ systemReferences |> List.distinctBy (fun file -> FileInfo(file).Name) do
              "-r:" + reference
          "-o:" + target
          yield! before
          info
          last ]
        root
        120

// -------------------------------------------------------------------------------------------------------- the run

let private times (text: string) (part: string) =
    let mutable count, at = 0, text.IndexOf(part, StringComparison.Ordinal)

    while at >= 0 do
        count <- count + 1
        at <- text.IndexOf(part, at + 1, StringComparison.Ordinal)

    count

let private copyFolder (source: string) (target: string) =
    for file in Directory.GetFiles(source, "*", SearchOption.AllDirectories) do
        let copy = Path.Combine(target, Path.GetRelativePath(source, file))
        Directory.CreateDirectory(nonNull (Path.GetDirectoryName copy)) |> ignore
        File.Copy(file, copy, true)

let private failedIn (results: string) =
    match JsonNode.Parse(File.ReadAllText results) with
    | null -> []
    | json ->
        [ for property in (nonNull json["properties"]).AsArray() do
              match property with
              | null -> ()
              | property ->
                  if
                      not (
                          (nonNull property["passed"]).GetValue<bool>()
                          || (nonNull property["skipped"]).GetValue<bool>()
                      )
                  then
                      (nonNull property["name"]).GetValue<string>() ]

let private storyIn (results: string) =
    match JsonNode.Parse(File.ReadAllText results) with
    | null -> []
    | json ->
        [ for scope in (nonNull json["scopes"]).AsArray() do
              match scope with
              | null -> ()
              | scope ->
                  match scope["story"] with
                  | null -> ()
                  | story ->
                      for line in story.AsArray() do
                          (nonNull line).GetValue<string>() ]

let private seed = "1"

let private tryOut (folder: string) (mutant: Mutant) =
    let project, projectFile =
        match Path.GetDirectoryName mutant.File with
        | null
        | "" -> projects[0]
        | folder -> projects |> List.find (fun (name, _) -> name = folder)

    let file = Path.Combine(root, "src", mutant.File)
    let text = File.ReadAllText file

    match times text mutant.Old with
    | 1 ->
        let part = Path.Combine(folder, project + ".dll")
        let kept = part + ".kept"
        let mutated = Path.Combine(folder, nonNull (Path.GetFileName file))
        File.WriteAllText(mutated, text.Replace(mutant.Old, mutant.New, StringComparison.Ordinal))
        File.Move(part, kept, true)

        try
            let sources =
                sourcesOf projectFile
                |> List.map (fun source -> if Path.GetFullPath source = Path.GetFullPath file then mutated else source)

            match compile project sources folder part with
            | Some 0, _ ->
                let results = Path.Combine(folder, "results.json")
                File.Delete results

                let program = Path.Combine(folder, "Properties.dll")
                let code, said = start "dotnet" [ program; "--quick"; "--seed"; seed; "--results"; results ] folder 90

                let failed =
                    if File.Exists results then failedIn results
                    elif code.IsNone then [ "(it never ends)" ]
                    else [ "(it crashes)" ]

                let story =
                    if not mutant.IsGuard then
                        []
                    else
                        File.Delete results

                        [ "tokens"; "rights" ]
                        |> List.tryPick (fun scope ->
                            let arguments =
                                [ program
                                  "explore"
                                  "--scope"
                                  scope
                                  "--limit"
                                  "400000"
                                  "--results"
                                  results ]

                            start "dotnet" arguments folder 120 |> ignore

                            match (if File.Exists results then storyIn results else []) with
                            | [] -> None
                            | story -> Some story)
                        |> Option.defaultValue []

                if code = Some 0 && failed.IsEmpty then Survived, said
                elif mutant.IsGuard && story.IsEmpty then Invalid "the exploration has no story against it", said
                else Killed(failed, story), said
            | _, said -> Invalid "it does not compile", said
        finally
            File.Move(kept, part, true)
            File.Delete mutated
    | n -> Invalid $"its text is there {n} times", ""

let private invariantOf (name: string) =
    match Int32.TryParse((name + " ").Substring(0, (name + " ").IndexOf ' ')) with
    | true, n when name.Contains ':' -> Some n
    | _ -> None

let private jsonOf (verdicts: (Mutant * Verdict) list) (only: (int * string list) list) =
    let strings (values: seq<string>) =
        let array = JsonArray()
        values |> Seq.iter (fun value -> array.Add(JsonValue.Create value))
        array

    let mutants = JsonArray()

    for mutant, verdict in verdicts do
        let it = JsonObject()
        it["name"] <- JsonValue.Create mutant.Name
        it["file"] <- JsonValue.Create("src/" + mutant.File)
        it["old"] <- JsonValue.Create mutant.Old
        it["new"] <- JsonValue.Create mutant.New
        it["breaks"] <- JsonArray(mutant.Breaks |> List.map (fun n -> JsonValue.Create n :> JsonNode) |> Array.ofList)
        it["guard"] <- JsonValue.Create mutant.IsGuard

        match verdict with
        | Killed(properties, story) ->
            it["verdict"] <- JsonValue.Create "killed"

            it["invariants"] <-
                JsonArray(
                    properties
                    |> List.choose invariantOf
                    |> List.distinct
                    |> List.sort
                    |> List.map (fun n -> JsonValue.Create n :> JsonNode)
                    |> Array.ofList
                )

            it["properties"] <- strings properties
            it["story"] <- strings story
        | Survived -> it["verdict"] <- JsonValue.Create "survived"
        | Invalid why ->
            it["verdict"] <- JsonValue.Create "invalid"
            it["why"] <- JsonValue.Create why

        mutants.Add it

    let alone = JsonObject()

    for invariant, names in only do
        alone[string invariant] <- strings names

    let all = JsonObject()
    all["mutants"] <- mutants
    all["onlyFinder"] <- alone
    all

[<EntryPoint>]
let main args =
    let clock = Stopwatch.StartNew()

    let wanted =
        match Array.tryFindIndex ((=) "--only") args with
        | Some i when i + 1 < args.Length -> Some args[i + 1]
        | _ -> None

    let mutants = read () |> List.filter (fun mutant -> (mutant.Name + mutant.File).Contains(defaultArg wanted ""))

    let work = Directory.CreateTempSubdirectory("session-mutants-").FullName
    let mutable failures = 0
    let mutable passed = 0

    let fail (text: string) =
        failures <- failures + 1
        printfn "FAILED %s" text

    try
        let clean = Path.Combine(work, "0")
        copyFolder output clean

        for name, project in projects do
            let target = Path.Combine(clean, name + ".dll")

            match compile name (sourcesOf project) clean target with
            | Some 0, _ -> ()
            | _, said -> fail $"{name} does not compile:\n{said}"

        // Without a bug nobody may complain.
        let code, said =
            start
                "dotnet"
                [ Path.Combine(clean, "Properties.dll")
                  "--quick"
                  "--seed"
                  seed
                  "--results"
                  Path.Combine(clean, "results.json") ]
                clean
                120

        if code <> Some 0 then
            fail $"the properties fail without any bug:\n{said}"

        let verdicts = ConcurrentDictionary<string, Verdict>()

        if failures = 0 then
            let workers = max 1 (min 4 Environment.ProcessorCount)

            let folders =
                [ for i in 1..workers do
                      let folder = Path.Combine(work, string i)
                      copyFolder clean folder
                      folder ]

            let queue = ConcurrentQueue<Mutant> mutants

            folders
            |> List.map (fun folder ->
                Task.Factory.StartNew(
                    (fun () ->
                        let mutable mutant = Unchecked.defaultof<Mutant>

                        while queue.TryDequeue &mutant do
                            let verdict, said = tryOut folder mutant
                            verdicts[mutant.Name] <- verdict

                            lock queue (fun () ->
                                match verdict with
                                | Killed(properties, story) ->
                                    passed <- passed + 1

                                    let numbers = properties |> List.choose invariantOf |> List.distinct |> List.sort

                                    printfn
                                        "killed   %-44s by %s%s"
                                        mutant.Name
                                        (match numbers with
                                         | [] -> String.concat "; " (List.truncate 2 properties)
                                         | numbers -> numbers |> List.map string |> String.concat " ")
                                        (if story.IsEmpty then "" else ", and a story of the exploration")
                                | Survived -> fail $"{mutant.Name} survived"
                                | Invalid why ->
                                    fail $"{mutant.Name}: {why}\n{said.Substring(0, min 1500 said.Length)}")),
                    TaskCreationOptions.LongRunning
                ))
            |> Array.ofList
            |> Task.WaitAll

        let ordered =
            mutants
            |> List.choose (fun mutant ->
                match verdicts.TryGetValue mutant.Name with
                | true, verdict -> Some(mutant, verdict)
                | _ -> None)

        // For each invariant the bugs that break it and no other, as far as anybody found.
        let only =
            [ for n in 1..16 do
                  n,
                  [ for mutant, verdict in ordered do
                        match verdict with
                        | Killed(properties, _) when properties |> List.choose invariantOf |> List.distinct = [ n ] ->
                            mutant.Name
                        | _ -> () ] ]

        printfn ""
        printfn "%-46s%s" "invariant" ([ 1..16 ] |> List.map (sprintf "%3d") |> String.concat "")

        for mutant, verdict in ordered do
            match verdict with
            | Killed(properties, _) ->
                let numbers = properties |> List.choose invariantOf |> Set.ofList

                printfn
                    "%-46s%s%s"
                    mutant.Name
                    ([ 1..16 ] |> List.map (fun n -> if numbers.Contains n then "  x" else "  .") |> String.concat "")
                    (if properties |> List.exists (fun name -> (invariantOf name).IsNone) then "  and others" else "")
            | _ -> ()

        printfn ""

        if wanted.IsNone then
            for n, names in only do
                match names with
                | [] -> fail $"no bug is found by invariant {n} alone"
                | names ->
                    passed <- passed + 1
                    printfn "only invariant %d finds %s" n (String.concat ", " names)

            let folder =
                match Environment.GetEnvironmentVariable "SESSION_RESULTS" with
                | null
                | "" -> Path.Combine(root, "artifacts", "results")
                | folder -> Path.Combine(root, folder)

            Directory.CreateDirectory folder |> ignore

            File.WriteAllText(
                Path.Combine(folder, "mutants.json"),
                (jsonOf ordered only).ToJsonString(JsonSerializerOptions(WriteIndented = true)) + "\n"
            )
    finally
        Directory.Delete(work, true)

    printfn "\n%d mutants, %.0f s" mutants.Length clock.Elapsed.TotalSeconds
    printfn "%d passed, %d failed" passed failures
    if failures = 0 then 0 else 1
