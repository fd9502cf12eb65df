/// Who found each bug the last time, finders.txt: asked first, since whoever found a bug finds it again, in a small part of
/// the time that all tests need. What is written there proves nothing: a test is asked each time, and where it does not find
/// its bug any more, all the others are.
module Mutants.Finders

open System
open System.IO

type Finder =
    {
        Test: string
        /// The invariant whose properties found it, and no other invariant's.
        Alone: int option
    }

let private file = Repository.under [ "tests"; "Mutants"; "finders.txt" ]

let private heading =
    "# Written by ./test mutants: each bug, the invariant that alone finds it, and the test that is asked first."

let read () : Map<string, Finder> =
    if not (File.Exists file) then
        Map.empty
    else
        Map
            [ for line in File.ReadAllLines file do
                  match line.Split '\t' with
                  | [| bug; alone; test |] -> bug, { Test = test; Alone = if alone = "" then None else Some(int alone) }
                  | _ -> () ]

/// In the order of the list; of bugs that are gone nothing is left.
let write (bugs: string list) (finders: Map<string, Finder>) =
    let lines =
        [ heading
          for bug in bugs do
              match finders.TryFind bug with
              | Some finder ->
                  let alone = finder.Alone |> Option.map string |> Option.defaultValue ""
                  $"{bug}\t{alone}\t{finder.Test}"
              | None -> () ]

    let text = String.Join("\n", lines) + "\n"

    if not (File.Exists file) || File.ReadAllText file <> text then
        File.WriteAllText(file, text)

/// For each invariant the first bug that it alone finds. All are asked about that one, so that it is seen again.
let solo (bugs: string list) (finders: Map<string, Finder>) : Set<string> =
    bugs
    |> List.choose (fun bug -> finders.TryFind bug |> Option.bind _.Alone |> Option.map (fun n -> n, bug))
    |> List.distinctBy fst
    |> List.map snd
    |> Set
