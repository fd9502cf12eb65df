/// Seeds the bugs of mutants.txt, one at a time, and asks the tests (and, for the guards of the renewal, the exploration)
/// to find each of them; whoever found it the last time is asked first, and, where the bug's own tests find nothing, all others
/// that know its part. A bug that nobody finds, that does not match its source exactly once or does not compile fails the run;
/// and, of all of them, so does an invariant that is nobody's only finder.
///     ./test mutants                        those of the files that this branch has changed, and new ones
///     ./test mutants --all                  all
///     ./test mutants --only TEXT[,TEXT]     those with such a text in their name or file
///     --afresh: all tests are asked about each; --own: those of a bug's own part, and nobody else where they find nothing;
///     --check: only whether each one matches its source
module Mutants.Main

open System
open System.Collections.Concurrent
open System.Diagnostics
open System.IO
open System.Threading
open System.Threading.Tasks
open Mutants.Listed
open Mutants.Compilers
open Mutants.Suites
open Mutants.Trials

let mutable private passed = 0
let mutable private failed = 0
let mutable private skipped = 0

let private pass () = Interlocked.Increment &passed |> ignore

let private fail (text: string) =
    Interlocked.Increment &failed |> ignore
    print (if text.StartsWith "FAILED" then text else "FAILED " + text)

let private copyFolder (source: string) (target: string) =
    for file in Directory.GetFiles(source, "*", SearchOption.AllDirectories) do
        let copy = Path.Combine(target, Path.GetRelativePath(source, file))
        Directory.CreateDirectory(nonNull (Path.GetDirectoryName copy)) |> ignore
        File.Copy(file, copy, true)

/// A copy of the tests with the library built as it will be with each bug. `made`: the parts that other tests have already.
let private prepare (work: string) (made: ConcurrentDictionary<string, Lazy<Result<string, string>>>) suite =
    let clean = Path.Combine(work, suite.Name)
    Spent.on "copying the tests" (fun () -> copyFolder (outputOf suite) clean)

    for part in suite.Parts do
        let target = Path.Combine(clean, part + ".dll")

        let make (part: string) =
            lazy
                (match build suite part clean target id with
                 | true, _ -> Ok target
                 | false, said -> Error said)

        match made.GetOrAdd(part, make).Value with
        | Ok built when built = target -> ()
        | Ok built -> File.Copy(built, target, true)
        | Error said -> fail $"{part} does not compile:\n{said}"

    clean

// More make an assembly that is slow to start, and fewer that are left at the end to those who are done.
let private atOnce = 16

/// The bugs, numbered, in portions of which each is compiled at once: the large ones first, so that all end together.
let private batches (mutants: Mutant list) =
    mutants
    |> List.mapi (fun i mutant -> i + 1, mutant)
    |> List.groupBy (fun (_, mutant) -> suiteOf mutant, partOf mutant)
    |> List.collect (fun ((suite, _), own) -> own |> List.chunkBySize atOnce |> List.map (fun batch -> suite, batch))
    |> List.sortByDescending (snd >> List.length)

/// What its own tests do not find, all others are asked that know its part, before anybody says that nobody finds it.
let private askOthers (folderOf: Suite -> string) first number (trial: Trial, said: string) =
    let mutant = trial.Mutant

    let ask (trial: Trial, said) suite =
        match trial.Verdict with
        | Killed _
        | Invalid _ -> trial, said
        | Survived ->
            let folder = folderOf suite
            let _, _, built = assemble suite folder (fun _ -> None) [ number, mutant ] |> List.exactlyOne
            let next, said = tryOut suite folder None mutant built

            if next.Verdict.IsKilled then
                print $"{mutant.Name}: not {first.Name}, but {suite.Name} finds it: say `tests {suite.Name}`"

            { next with Seconds = trial.Seconds + next.Seconds }, said

    List.fold ask (trial, said) (othersThan first mutant)

/// `learn`: of each as soon as it is found, since a run may be stopped.
let private tryAll isOwn (finderOf: Mutant -> string option) (learn: Trial -> unit) (mutants: Mutant list) =
    let work = Directory.CreateTempSubdirectory("session-mutants-").FullName

    let clear () =
        try
            Directory.Delete(work, true)
        with :? IOException ->
            ()

    // A run that is stopped leaves nothing behind either.
    AppDomain.CurrentDomain.ProcessExit.Add(fun _ -> clear ())

    try
        // `./test` installs the servers; where it may not, it says so, and loudly.
        let away, mutants =
            mutants
            |> List.partition (fun mutant ->
                match suiteOf mutant |> Option.map missing |> Option.defaultValue [] with
                | [] -> false
                | needed ->
                    print $"""SKIPPED {mutant.Name}: there is no {String.Join(", ", needed)}"""
                    true)

        skipped <- away.Length
        let needed = mutants |> List.choose suiteOf |> List.distinct
        // One more than there are cores: a bug that is built waits for others that are.
        let workers = max 1 (min 4 (Environment.ProcessorCount + 1))

        let clean = ConcurrentDictionary<string, Lazy<string>>()
        let parts = ConcurrentDictionary<string, Lazy<Result<string, string>>>()
        let cleanOf suite = clean.GetOrAdd(suite.Name, fun _ -> lazy (prepare work parts suite)).Value

        let make suite =
            let finders = mutants |> List.filter (suiteOf >> (=) (Some suite)) |> List.choose finderOf
            let folder = cleanOf suite

            if failed = 0 then
                soundTogether suite folder finders

        Parallel.ForEach(needed, ParallelOptions(MaxDegreeOfParallelism = workers), make) |> ignore

        if failed > 0 then
            []
        else
            let queue = ConcurrentQueue(batches mutants)
            let trials = ConcurrentBag<int * Trial>()

            let ended number (trial: Trial) said =
                trials.Add(number, trial)
                learn trial
                let line = Report.line trial said

                match trial.Verdict with
                | Killed _ ->
                    pass ()
                    print line
                | Survived
                | Invalid _ -> fail line

            let worker (number: int) =
                let folders = Collections.Generic.Dictionary<string, string>()

                let folderOf suite =
                    match folders.TryGetValue suite.Name with
                    | true, folder -> folder
                    | false, _ ->
                        let folder = Path.Combine(work, $"{suite.Name}-{number}")
                        Spent.on "copying the tests" (fun () -> copyFolder (cleanOf suite) folder)
                        folders[suite.Name] <- folder
                        folder

                let mutable next = Unchecked.defaultof<Suite option * (int * Mutant) list>

                while queue.TryDequeue &next do
                    match next with
                    | Some suite, batch ->
                        let folder = folderOf suite

                        for number, mutant, built in assemble suite folder finderOf batch do
                            let asked = tryOut suite folder (finderOf mutant) mutant built
                            (if isOwn then asked else askOthers folderOf suite number asked) ||> ended number
                    | None, batch ->
                        for number, mutant in batch do
                            let trial =
                                { Mutant = mutant
                                  Verdict = Invalid $"no tests are asked about src/{mutant.File}"
                                  IsAgain = false
                                  Building = 0.0
                                  Seconds = 0.0 }

                            ended number trial ""

            [| for number in 1..workers ->
                   Task.Factory.StartNew((fun () -> worker number), TaskCreationOptions.LongRunning) |]
            |> Task.WaitAll

            trials |> List.ofSeq |> List.sortBy fst |> List.map snd
    finally
        clear ()

let private check (mutant: Mutant) =
    match Listed.seed mutant, suiteOf mutant with
    | Error why, _ -> fail $"{mutant.Name}: {why}"
    | Ok _, None -> fail $"{mutant.Name}: no tests are asked about src/{mutant.File}"
    | Ok _, Some _ -> pass ()

/// Those of what this branch has changed, and those that nobody has found yet.
let private changed (finders: Map<string, Finders.Finder>) (mutants: Mutant list) =
    match Changed.files () with
    | None ->
        print "Nothing is known of what was here before this change (no git, or a clone of one commit): all of them."
        mutants
    | Some files ->
        let isChanged (mutant: Mutant) = files.Contains("src/" + mutant.File) || not (finders.ContainsKey mutant.Name)

        let chosen = List.filter isChanged mutants
        print $"{chosen.Length} of {mutants.Length} seeded bugs are in files of this change, or new; --all: all of them"
        chosen

[<EntryPoint>]
let main args =
    let clock = Stopwatch.StartNew()
    let has (flag: string) = Array.contains flag args
    let all, known = read (), Finders.read ()

    let mutants =
        match Array.tryFindIndex ((=) "--only") args with
        | Some i when i + 1 < args.Length ->
            let texts = args[i + 1].Split ','
            all |> List.filter (fun mutant -> texts |> Array.exists $"{mutant.Name} {mutant.File}".Contains)
        | _ when has "--all" || has "--check" -> all
        | _ ->
            // That each still matches its source costs nothing.
            List.iter check all
            changed known all

    if mutants.IsEmpty && has "--only" then
        fail "FAILED no seeded bug has such a name or file"
    elif has "--check" then
        List.iter check mutants
    elif failed = 0 then
        let names = all |> List.map (fun (mutant: Mutant) -> mutant.Name)
        let solo = Finders.solo names known

        let finderOf (mutant: Mutant) =
            if has "--afresh" || solo.Contains mutant.Name then None else known.TryFind mutant.Name |> Option.map _.Test

        let finders = ref known
        let turn = obj ()

        let learn trial =
            lock turn (fun () ->
                finders.Value <- Report.learn finders.Value trial
                Finders.write names finders.Value)

        let trials = tryAll (has "--own") finderOf learn mutants
        Report.table trials |> List.iter print

        if mutants.Length = all.Length then
            // Whoever was to find something alone may have got company: then another one is asked for.
            let rec alone tried trials =
                let missing =
                    [ for invariant, names in Report.onlyFinders trials do
                          if names.IsEmpty then
                              invariant ]

                // First who was found by it alone before, and then any that is to break it.
                let another invariant =
                    let left = mutants |> List.filter (fun mutant -> not (Set.contains mutant.Name tried))

                    let wasAlone (mutant: Mutant) =
                        (finders.Value.TryFind mutant.Name |> Option.bind _.Alone) = Some invariant

                    List.tryFind wasAlone left
                    |> Option.orElse (List.tryFind (fun mutant -> List.contains invariant mutant.Breaks) left)

                match missing |> List.choose another |> List.distinct with
                | [] -> trials
                | chosen ->
                    let tried = chosen |> List.fold (fun tried it -> Set.add it.Name tried) tried
                    let isNew trial = not (List.exists (fun (it: Mutant) -> it.Name = trial.Mutant.Name) chosen)
                    alone tried (List.filter isNew trials @ tryAll (has "--own") (fun _ -> None) learn chosen)

            // Nobody is asked any more once something has failed, and nothing follows from that.
            let isAsked = failed = 0
            let trials = if isAsked then alone solo trials else trials

            for invariant, names in Report.onlyFinders trials do
                match names with
                | [] when not isAsked -> print $"whether invariant {invariant} alone finds a bug was not asked"
                | [] -> fail $"no bug is found by invariant {invariant} alone"
                | names ->
                    pass ()
                    print $"""only invariant {invariant} finds {String.Join(", ", names)}"""

            Report.write trials clock.Elapsed.TotalSeconds

        print ""
        Spent.table () |> List.iter print

    print $"\nseed {seed}, {mutants.Length} mutants, {clock.Elapsed.TotalSeconds:F0} s"
    print ($"{passed} passed, {failed} failed" + (if skipped > 0 then $", {skipped} skipped" else ""))
    if failed = 0 then 0 else 1
