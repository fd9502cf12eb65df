/// Seeds the bugs of mutants.txt, one at a time, and asks the tests (and, for the guards of the renewal, the exploration)
/// to find each of them. A bug that nobody finds, that does not match its source exactly once or does not compile fails
/// the run; and so does an invariant that is nobody's only finder.
///     ./test mutants [--only TEXT[,TEXT]] [--check]      --check: only whether each one matches its source
module Mutants.Main

open System
open System.Collections.Concurrent
open System.Diagnostics
open System.IO
open System.Threading
open System.Threading.Tasks
open Mutants.Listed
open Mutants.Compilers
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

/// A copy of the tests with the library built as it will be with each bug, which has to pass.
let private prepare (work: string) suite =
    let clean = Path.Combine(work, suite.Name)
    copyFolder (outputOf suite) clean

    for part in suite.Parts do
        match build suite part clean id with
        | true, _ -> ()
        | false, said -> fail $"{part} does not compile:\n{said}"

    for stage in suite.Stages do
        match askAll suite clean [ stage ] with
        | [], _ -> ()
        | _, said -> fail $"the tests fail without any bug:\n{said}"

    clean

let private tryAll (mutants: Mutant list) =
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
        let clean = Map.ofList [ for suite in needed -> suite.Name, prepare work suite ]

        if failed > 0 then
            []
        else
            let queue = ConcurrentQueue<int * Mutant>(List.indexed mutants)
            let trials = ConcurrentBag<int * Trial>()

            let worker (number: int) =
                let folders =
                    [ for suite in needed do
                          let folder = Path.Combine(work, $"{suite.Name}-{number}")
                          copyFolder clean[suite.Name] folder
                          suite, folder ]

                let mutable next = Unchecked.defaultof<int * Mutant>

                while queue.TryDequeue &next do
                    let index, mutant = next

                    let trial, said =
                        match suiteOf mutant with
                        | Some suite -> tryOut suite (snd (List.find (fst >> (=) suite) folders)) mutant
                        | None ->
                            let why = $"no tests are asked about src/{mutant.File}"
                            { Mutant = mutant; Verdict = Invalid why; Seconds = 0.0 }, ""

                    trials.Add(index, trial)
                    let line = Report.line trial said

                    match trial.Verdict with
                    | Killed _ ->
                        pass ()
                        print line
                    | Survived
                    | Invalid _ -> fail line

            let workers = max 1 (min 4 Environment.ProcessorCount)

            [| for number in 1..workers ->
                   Task.Factory.StartNew((fun () -> worker number), TaskCreationOptions.LongRunning) |]
            |> Task.WaitAll

            trials |> List.ofSeq |> List.sortBy fst |> List.map snd
    finally
        clear ()

[<EntryPoint>]
let main args =
    let clock = Stopwatch.StartNew()

    let wanted =
        match Array.tryFindIndex ((=) "--only") args with
        | Some i when i + 1 < args.Length -> Some args[i + 1]
        | _ -> None

    let texts = (defaultArg wanted "").Split ','

    let mutants = read () |> List.filter (fun mutant -> texts |> Array.exists $"{mutant.Name} {mutant.File}".Contains)

    if Array.contains "--check" args then
        for mutant in mutants do
            match Listed.seed mutant, suiteOf mutant with
            | Error why, _ -> fail $"{mutant.Name}: {why}"
            | Ok _, None -> fail $"{mutant.Name}: no tests are asked about src/{mutant.File}"
            | Ok _, Some _ -> pass ()
    else
        let trials = tryAll mutants
        Report.table trials |> List.iter print

        if wanted.IsNone then
            for invariant, names in Report.onlyFinders trials do
                match names with
                | [] -> fail $"no bug is found by invariant {invariant} alone"
                | names ->
                    pass ()
                    print $"""only invariant {invariant} finds {String.Join(", ", names)}"""

            Report.write trials clock.Elapsed.TotalSeconds

    print $"\nseed {seed}, {mutants.Length} mutants, {clock.Elapsed.TotalSeconds:F0} s"
    print ($"{passed} passed, {failed} failed" + (if skipped > 0 then $", {skipped} skipped" else ""))
    if failed = 0 then 0 else 1
