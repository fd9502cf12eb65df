/// Several seeded bugs of one assembly, each asked of one test, in one process: its start takes longer than the tests. First
/// and last all these tests pass without a bug, or nothing that was seen between counts; only first, where one of them never ends.
module Properties.SeededBugs

open System
open System.Collections.Generic
open System.IO
open System.Reflection
open System.Text.Json
open System.Threading.Tasks
open Expecto.Impl

/// A bug may make a loop endless: it and those behind it are asked otherwise.
let private patience = TimeSpan.FromSeconds 60L

/// In the assembly that has the bugs, which may not be loaded yet: then it reads the setting.
let private choose (bug: string) =
    Environment.SetEnvironmentVariable("SESSION_SEEDED_BUG", bug)

    for assembly in AppDomain.CurrentDomain.GetAssemblies() do
        match assembly.GetType "SeededBug" with
        | null -> ()
        | chooser ->
            match chooser.GetMethod("read", BindingFlags.Static ||| BindingFlags.NonPublic ||| BindingFlags.Public) with
            | null -> ()
            | read -> read.Invoke(null, null) |> ignore

/// The tests that fail with this bug, or None where they do not end or nothing is run.
let private failed (run: string list -> (Expecto.FlatTest * TestSummary) list) (bug: string) (tests: string list) =
    choose bug
    let ran = Task.Run<(Expecto.FlatTest * TestSummary) list>(fun () -> run tests)

    if not (ran.Wait(patience * float tests.Length)) || ran.Result.IsEmpty then
        None
    else
        Some
            [ for test, summary in ran.Result do
                  if summary.result.isFailed then
                      List.last test.name ]

/// `run`: the tests with such a text in their name. Lines of the file: a bug's number and a test, with a tab between.
let ask run (file: string) (results: string) =
    let bugs =
        [ for line in File.ReadAllLines file do
              let it = line.Split '\t'
              it[0], it[1] ]

    let passAll () = failed run "0" (bugs |> List.map snd |> List.distinct) = Some []
    let found = Dictionary<string, string list>()

    let rec each bugs =
        match bugs with
        | [] -> passAll ()
        | (bug, test) :: rest ->
            match failed run bug [ test ] with
            | None -> true
            | Some names ->
                found[bug] <- names
                each rest

    let isSound = passAll () && each bugs

    if isSound then
        File.WriteAllText(results, JsonSerializer.Serialize found)

    // What a bug has left behind may keep the process.
    exit (if isSound then 0 else 1)
