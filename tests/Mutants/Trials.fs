/// One bug at a time: its part of the library, built with it, is put beside the tests in the place of the right one, and the
/// tests are asked.
module Mutants.Trials

open System
open System.Collections.Concurrent
open System.Diagnostics
open System.IO
open System.Text.Json.Nodes
open Mutants.Listed
open Mutants.Compilers
open Mutants.Suites

type Verdict =
    | Killed of tests: string list * story: string list
    | Survived
    | Invalid of why: string

type Trial =
    {
        Mutant: Mutant
        Verdict: Verdict
        /// By whoever found it the last time: nobody else was asked.
        IsAgain: bool
        /// Its share of what went to its compiler.
        Building: float
        Seconds: float
    }

let seed = "1"

// A bug that makes a loop endless must not stop the run; the tests take seconds, and 300 hours of a fleet a minute or two.
let private patience = TimeSpan.FromMinutes 2L
// So long do the tests of the C# face take, two of them at once, where other work is on the machine.
let private patienceFor suite =
    match suite.Name with
    | "simulation"
    | "facade" -> 3.0 * patience
    | _ -> patience

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

/// What the bugs that had to be asked alone were asked alone for.
let private isSaid = Environment.GetEnvironmentVariable "SESSION_MUTANTS_SAY" = "1"

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

let private nothingRun = [ "(nothing was run)" ]

let private chosen (bug: int option) = bug |> Option.map (fun bug -> Together.setting, string bug) |> Option.toList

/// Whether all passed, the names of those that failed, and what was said. `bug`: the one that is chosen at start.
let private askWithin (patience: TimeSpan) suite (folder: string) (bug: int option) stage =
    let results = Path.Combine(folder, "results.json")
    File.Delete results
    let program = Path.Combine(folder, suite.Program + ".dll")
    let arguments = program :: stage @ [ "--seed"; seed; "--results"; results ]

    // A host reads appsettings.json where it is started, and the samples' settings lie beside the program.
    let elsewhere = Directory.CreateDirectory(Path.Combine(folder, "empty")).FullName

    match start arguments (settings @ chosen bug) elsewhere patience with
    | None, said -> [ "(it never ends)" ], said
    | Some code, said ->
        match code, read results with
        | _, Some results when askedIn results = 0 -> nothingRun, said
        | 0, Some _ -> [], said
        | 0, None -> nothingRun, said
        | _, results ->
            match results |> Option.map failedIn with
            | Some(_ :: _ as failed) -> failed, said
            | Some []
            | None -> [ "(it crashes)" ], said

let private ask suite = askWithin (patienceFor suite) suite

let private sound = ConcurrentDictionary<string, string>()

let private soundKey suite (stage: string list) = String.Join("\n", suite.Name :: stage)

/// What is said where tests fail without any bug, asked in this way; nothing, where they pass. Once for each way: one that
/// fails in any case finds nothing.
let private faultOf suite folder stage =
    let key = soundKey suite stage

    match sound.TryGetValue key with
    | true, said -> said
    | false, _ ->
        let said =
            match Spent.on $"tests without a bug: {suite.Name}" (fun () -> ask suite folder None stage) with
            | [], _ -> ""
            | failed, _ when failed = nothingRun -> "nothing is run"
            | failed, said -> $"""{String.Join("; ", List.truncate 3 failed)}\n{said}"""

        sound[key] <- said
        said

/// How the test that found a bug is asked again, alone.
let againOf suite (test: string) =
    if test.StartsWith '(' then
        None // It crashed or hung: no test says so.
    else
        let alone = [ "--only"; test ]

        match suite.Name with
        | "properties" -> Some("--quick" :: alone)
        | "data" -> Some(suite.Stages.Head @ alone)
        // "seed N: what does not hold".
        | "simulation" -> Some [ "--seeds"; "1"; "--from"; test.Substring("seed ".Length).Split(':')[0] ]
        | _ -> Some alone

/// What fails without any bug.
let private unsoundIn (suite: Suite) folder patience way =
    Spent.on $"tests without a bug: {suite.Name}" (fun () -> askWithin patience suite folder None way)
    |> fst

let private passes suite folder way = (unsoundIn suite folder (patienceFor suite) way).IsEmpty

/// The ways of asking again that pass without any bug: all of them in one start, which takes longer than the tests.
let private passingTogether suite folder (ways: string list list) =
    // Ways differ in the text after this, and in nothing else.
    let textOf way = List.tryFindIndex ((=) "--only") way |> Option.map (fun at -> way[at + 1])
    let texts = ways |> List.choose textOf

    match ways with
    | first :: _ :: _ when texts.Length = ways.Length ->
        let before = List.takeWhile ((<>) "--only") first
        // Those of a store come one after another, and each starts its servers.
        let patience = patienceFor suite + min (TimeSpan.FromMinutes 8L) (float texts.Length * TimeSpan.FromSeconds 5L)
        let together = List.collect (fun text -> [ "--only"; text ]) texts
        let failed = unsoundIn suite folder patience (before @ together)

        if isSaid && not failed.IsEmpty then
            print $"""without a bug fail: {String.Join("; ", failed)}"""

        // A row of a theory is asked with its theory.
        let isAbout (text: string) (name: string) = name.Contains(text.Split('(')[0])

        // What has crashed or never ended says of none of them that it passes.
        if failed |> List.exists _.StartsWith('(') then
            []
        else
            List.zip ways texts
            |> List.filter (fun (_, text) -> not (List.exists (isAbout text) failed))
            |> List.map fst
    | _ -> ways |> List.filter (passes suite folder)

/// Asks the tests that are to find something without any bug. One that fails is asked by itself before it is believed.
let soundTogether suite folder (finders: string list) =
    for way in finders |> List.choose (againOf suite) |> List.distinct |> passingTogether suite folder do
        sound[soundKey suite way] <- ""

/// What the exploration tells against a guard that is missing.
let private storyOf suite (folder: string) bug scope =
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

    Spent.on "exploration" (fun () -> start arguments (chosen bug) folder (2.0 * patience)) |> ignore

    match read results with
    | None -> []
    | Some results ->
        [ for scope in (nonNull results["scopes"]).AsArray() do
              match scope with
              | null -> ()
              | scope -> yield! texts scope["story"] ]

/// The library of a part, with a bug in it or as it is.
type private Place(folder: string, part: string, mutated: string) =
    let library = Path.Combine(folder, part + ".dll")
    let clean = library + ".clean"
    do File.Copy(library, clean, true)
    member _.Put(isMutated: bool) = File.Copy((if isMutated then mutated else clean), library, true)

    interface IDisposable with
        member _.Dispose() = File.Move(clean, library, true)

// As many of the tests that failed are asked again: a bug that many find is found by one of the first.
let private mostAgain = 3

/// Whether what failed fails once more with the same bug: a test that fails now and then has found nothing.
let private isFoundAgain suite folder bug (way: string list) (failed: string list) =
    let fails way =
        Spent.on $"whether it is found again: {suite.Name}" (fun () -> ask suite folder bug way)
        |> fst
        |> List.isEmpty
        |> not

    match failed |> List.choose (againOf suite) |> List.truncate mostAgain with
    // It crashed or never ended, which no test by itself says.
    | [] -> true
    | alone -> List.exists fails alone || fails way

/// Whether what failed passes with the same library while none of its bugs is chosen: else it has found the choices.
let private isOfTheBug suite folder (failed: string list) =
    match failed |> List.choose (againOf suite) |> List.truncate mostAgain with
    // It crashed or never ended, which no test by itself says.
    | [] -> true
    | alone -> List.exists (passes suite folder) alone

/// The first way of asking that finds something: whoever found it the last time, and then all.
let private findIn
    suite
    folder
    (place: Place)
    bug
    (ways: (bool * string list) list)
    : Result<bool * string list * string, string> =
    let rec find ways =
        match ways with
        | [] -> Ok(false, [], "")
        | (isAgain, way) :: rest ->
            place.Put false

            match faultOf suite folder way with
            // A test that is gone, or that cannot be asked alone.
            | said when said <> "" && isAgain -> find rest
            | "" ->
                place.Put true

                let what = if isAgain then "who found it the last time" else "all tests"

                match Spent.on $"{what}: {suite.Name}" (fun () -> ask suite folder bug way) with
                | [], said when rest.IsEmpty -> Ok(false, [], said)
                | [], _ -> find rest
                // A test that is gone.
                | failed, _ when failed = nothingRun && isAgain -> find rest
                | failed, said when isAgain || isFoundAgain suite folder bug way failed -> Ok(isAgain, failed, said)
                | failed, said ->
                    print $"""{String.Join("; ", List.truncate 3 failed)}: failed once, and not again"""
                    if rest.IsEmpty then Ok(false, [], said) else find rest
            | said -> Error said

    find ways

/// The library with a bug in it, or why there is none and what the compiler said.
type Built =
    {
        Library: Result<string, string * string>
        /// Its number, where it is one of several that the library has.
        Bug: int option
        /// The tests that were seen to fail with it as it was put together.
        Found: string list
        Seconds: float
    }

let private sourceOf (mutant: Mutant) = Path.GetFullPath(Path.Combine(root, "src", mutant.File))

/// Builds the part of these bugs aside, with other texts in the place of some of its files, and with a file that comes before all.
let private buildAside suite (folder: string) part (texts: (string * string) list) (before: (string * string) option) =
    let aside = Directory.CreateTempSubdirectory("seeded-").FullName

    let target =
        Path.Combine(
            Directory.CreateDirectory(Path.Combine(folder, "seeded", Path.GetRandomFileName())).FullName,
            part + ".dll"
        )

    try
        let written (i: int) (source: string) (text: string) =
            let file =
                Path.Combine(
                    Directory.CreateDirectory(Path.Combine(aside, string i)).FullName,
                    nonNull (Path.GetFileName source)
                )

            File.WriteAllText(file, text)
            file

        let files = Map [ for i, (source, text) in List.indexed texts -> source, written i source text ]
        let first = before |> Option.map (fun it -> it ||> written texts.Length) |> Option.toList
        let change (file: string) = files.TryFind(Path.GetFullPath file) |> Option.defaultValue file
        let isBuilt, said = build suite part folder target (fun sources -> first @ List.map change sources)
        if isBuilt then Ok target else Error said
    finally
        Directory.Delete(aside, true)

let private alone suite folder (mutant: Mutant) : Built =
    let clock = Stopwatch.StartNew()

    let library =
        match Listed.seed mutant with
        | Error why -> Error(why, "")
        | Ok text ->
            buildAside suite folder (partOf mutant) [ sourceOf mutant, text ] None
            |> Result.mapError (fun said -> "it does not compile", said)

    { Library = library
      Bug = None
      Found = []
      Seconds = clock.Elapsed.TotalSeconds }

/// Asks about each of these bugs whoever found it the last time, all in one process, which begins and ends with these tests
/// without a bug. Without those whose tests do not pass then; none at all, where the process ends otherwise.
let private askSeveral suite (folder: string) (bugs: (int * string) list) : Map<int, string list> option =
    let file, results = Path.Combine(folder, "bugs.txt"), Path.Combine(folder, "bugs.json")
    File.WriteAllLines(file, bugs |> List.map (fun (bug, test) -> $"{bug}\t{test}"))
    File.Delete results

    let arguments =
        [ Path.Combine(folder, suite.Program + ".dll")
          "--bugs"
          file
          "--results"
          results
          "--seed"
          seed ]

    let elsewhere = Directory.CreateDirectory(Path.Combine(folder, "empty")).FullName

    let code, said =
        Spent.on $"who found several the last time: {suite.Name}" (fun () ->
            start arguments settings elsewhere (patienceFor suite))

    let found = read results

    if isSaid && (found.IsNone || said.Contains "fails without a bug") then
        print $"not all in one process: {code}\n{said}"

    found |> Option.map (fun found -> Map [ for it in found.AsObject() -> int it.Key, texts it.Value ])

/// One assembly for as many of these bugs of one part as go together, and one for each of the others. `finderOf`: the test that
/// found a bug the last time; it has to pass with that assembly while no bug is chosen.
let assemble
    suite
    (folder: string)
    (finderOf: Mutant -> string option)
    (mutants: (int * Mutant) list)
    : (int * Mutant * Built) list =
    let clock = Stopwatch.StartNew()
    let sources = mutants |> List.map (snd >> sourceOf) |> List.distinct
    let before = Map [ for source in sources -> source, File.ReadAllText source ]

    let choices =
        [ for number, mutant in mutants do
              let source = sourceOf mutant

              match Listed.seed mutant with
              | Ok mutated ->
                  match Together.choiceOf source number before[source] mutated with
                  | Some choice -> source, choice
                  | None -> ()
              | Error _ -> () ]

    /// Without those that the compiler does not take in this form.
    let rec together (choices: (string * Together.Choice) list) =
        let texts =
            [ for source, own in choices |> List.groupBy fst do
                  source, Together.write before[source] (List.map snd own) ]

        let inside = texts |> List.map (snd >> Together.chosenIn) |> Set.unionMany

        match choices with
        | []
        | [ _ ] -> None
        | _ ->
            let chooser = Together.chooserFor (fst choices.Head)

            match buildAside suite folder (partOf (snd mutants.Head)) texts (Some chooser) with
            | Ok library -> Some(library, inside)
            | Error said ->
                let blamed =
                    texts
                    |> List.map (fun (source, text) -> Together.blamed (nonNull (Path.GetFileName source)) text said)
                    |> Set.unionMany

                if isSaid then
                    print $"not together: {blamed}\n{said}"

                if blamed.IsEmpty then
                    None
                else
                    together (choices |> List.filter (fun (_, it) -> not (blamed.Contains it.Bug)))

    /// Those whose tests pass with this assembly while no bug is chosen.
    let soundOf (inside: Set<int>) =
        let ways =
            [ for number, mutant in mutants do
                  match finderOf mutant |> Option.bind (againOf suite) with
                  | Some way when inside.Contains number -> number, way
                  | _ -> () ]

        let passing = ways |> List.map snd |> List.distinct |> passingTogether suite folder
        let unsound = ways |> List.filter (fun (_, way) -> not (List.contains way passing)) |> List.map fst
        inside - Set.ofList unsound

    let ask (library, inside: Set<int>) =
        use place = new Place(folder, partOf (snd mutants.Head), library)
        place.Put true

        let known =
            [ for number, mutant in mutants do
                  match finderOf mutant with
                  // The story against a guard that is missing is told by the exploration.
                  | Some test when inside.Contains number && mutant.Guard.IsNone && not (test.StartsWith '(') ->
                      number, test
                  | _ -> () ]

        let several = if suite.AsksSeveral && not known.IsEmpty then askSeveral suite folder known else None

        let found = defaultArg several Map.empty
        let told = found |> Map.toSeq |> Seq.map fst |> Set.ofSeq
        library, told + soundOf (inside - told), found

    let made = together choices |> Option.map ask
    let seconds = clock.Elapsed.TotalSeconds

    [ for number, mutant in mutants do
          number,
          mutant,
          match made with
          | Some(library, inside, found) when inside.Contains number ->
              { Library = Ok library
                Bug = Some number
                Found = found.TryFind number |> Option.defaultValue []
                Seconds = seconds / float inside.Count }
          | _ -> alone suite folder mutant ]

/// What the tests say about it, and whether whoever found it the last time says so. None: what they have found is there while
/// none of the bugs of this library is chosen, too.
let private judge suite (folder: string) (finder: string option) (mutant: Mutant) (bug: int option) (library: string) =
    use place = new Place(folder, partOf mutant, library)

    let ways =
        [ match Option.bind (againOf suite) finder with
          | Some way -> true, way
          | None -> ()
          for stage in suite.Stages do
              false, stage ]

    match findIn suite folder place bug ways with
    | Error said -> Some(false, Invalid "the tests fail without any bug", said)
    | Ok(wasAgain, failed, said) ->
        place.Put true

        if bug.IsSome && not wasAgain && not (isOfTheBug suite folder failed) then
            None
        else
            let story = mutant.Guard |> Option.map (storyOf suite folder bug)

            let verdict =
                match failed, story with
                | [], Some(_ :: _ as told) -> Killed([], told)
                | [], _ -> Survived
                // Found by the runtime, and not by a test.
                | _ when said.Contains "MissingMethodException" || said.Contains "TypeLoadException" ->
                    Invalid "it changes the names or types that its callers were built with"
                | _, Some [] -> Invalid "the exploration has no story against it"
                | failed, story -> Killed(failed, Option.defaultValue [] story)

            Some(wasAgain, verdict, said)

/// In a folder that holds the tests and the library without a bug, and does so again afterwards. `finder`: the test that is
/// asked before all others.
let rec tryOut suite (folder: string) (finder: string option) (mutant: Mutant) (built: Built) : Trial * string =
    let clock = Stopwatch.StartNew()

    let trial isAgain verdict : Trial =
        { Mutant = mutant
          Verdict = verdict
          IsAgain = isAgain
          Building = built.Seconds
          Seconds = built.Seconds + clock.Elapsed.TotalSeconds }

    match built.Library with
    | Error(why, said) -> trial false (Invalid why), said
    | Ok _ when not built.Found.IsEmpty -> trial true (Killed(built.Found, [])), ""
    | Ok library ->
        match judge suite folder finder mutant built.Bug library with
        | Some(isAgain, verdict, said) -> trial isAgain verdict, said
        | None -> tryOut suite folder finder mutant (alone suite folder mutant)
