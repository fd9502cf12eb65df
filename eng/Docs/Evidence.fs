/// What the exploration and the seeded bugs have to say of an invariant, read from their own files.
module Docs.Evidence

open System
open System.IO
open System.Text.RegularExpressions

let private worlds = lazy (File.ReadAllText(Source.path "tests/Properties/Worlds.fs"))

let private mutantsFile = lazy (File.ReadAllText(Source.path "tests/Mutants/mutants.txt"))

/// What the exploration requires in every state and step that it comes to.
let exploration (invariant: int) : string list =
    [ for found in Regex.Matches(worlds.Value, $"require {invariant}\\s+\\$?\"([^\"]+)\"") do
          found.Groups[1].Value ]
    |> List.distinct
    |> function
        | [] -> []
        | stories ->
            let stories = stories |> List.map (fun story -> $"“{story}”") |> String.concat ", "
            [ $"- exploration: in no state, or it tells the story: {stories} (`Worlds.fs`; `./test exploration`)" ]

/// The seeded bugs whose author says that they break it.
let mutants (invariant: int) : string list =
    let breaking =
        [ for block in mutantsFile.Value.Split "\nmutant " |> Array.skip 1 do
              let lines = block.Split '\n'

              let breaks =
                  lines
                  |> Array.tryFind (fun line -> line.StartsWith "breaks ")
                  |> Option.map (fun line ->
                      line.Substring(7).Split([| ' '; ',' |], StringSplitOptions.RemoveEmptyEntries))
                  |> Option.defaultValue [||]

              if Array.contains (string invariant) breaks then
                  lines[0].Trim() ]

    match breaking with
    | [] -> failwithf "No seeded bug breaks invariant %d." invariant
    | names ->
        let names = names |> List.map (fun name -> $"`{name}`") |> String.concat ", "
        [ $"- seeded bugs that have to be found (`tests/Mutants/mutants.txt`; `./test mutants`): {names}" ]
