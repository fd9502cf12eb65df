/// Where the evidence of an invariant is: its tests, what the exploration requires, the seeded bugs; read from their files.
module Docs.Evidence

open System
open System.IO
open System.Text.RegularExpressions

let private between (text: string) (first: string) (last: string) =
    match text.IndexOf first with
    | -1 -> failwithf "“%s” is not there." first
    | start ->
        match text.IndexOf(last, start) with
        | -1 -> failwithf "“%s” is not there." last
        | finish -> start, finish

// ------------------------------------------------------------------------------------------------------ properties

type Test =
    {
        File: string
        Line: int
        Name: string
        /// A predicate on one step: the exploration requires it of every decision, too.
        IsOfSteps: bool
    }

/// The tests whose names begin with the invariant's number and name.
let tests (number: int) (name: string) : Test list =
    [ for folder in [ "tests/Properties"; "tests/Integration" ] do
          for path in Directory.GetFiles(Source.path folder, "*.fs") |> Array.sort do
              let file = $"{folder}/{Path.GetFileName path}"
              let text = File.ReadAllText path

              let ofSteps =
                  if file = "tests/Properties/Invariants.fs" then
                      between text "let invariants:" "let private ofHistories"
                  else
                      0, 0

              for found in Regex.Matches(text, "\"(" + Regex.Escape $"{number} {name}: " + "[^\"]+)\"") do
                  { File = file
                    Line = 1 + (text.Substring(0, found.Index) |> Seq.filter ((=) '\n') |> Seq.length)
                    Name = found.Groups[1].Value
                    IsOfSteps = fst ofSteps <= found.Index && found.Index < snd ofSteps } ]
    |> List.distinctBy _.Name
    |> function
        | [] -> failwithf "No test is named \"%d %s: …\"." number name
        | tests -> tests

// ----------------------------------------------------------------------------------------------------- exploration

let private worlds = lazy (File.ReadAllText(Source.path "tests/Properties/Worlds.fs"))

/// What the exploration requires besides the properties of steps, of every world and every write: told as what is found
/// where it does not hold.
let exploration (number: int) : string list =
    let opening =
        let start, finish = between worlds.Value "let invariant =" "raise (Broken(invariant"
        let choice = worlds.Value.Substring(start, finish - start)

        [ for found in Regex.Matches(choice, "(?:->|then|else) (\\d+)") do
              int found.Groups[1].Value ]

    [ if List.contains number opening then
          "token n opens the session, or does not open it, against what the naive world knows of it"
      for found in Regex.Matches(worlds.Value, $"(?:require\\s+{number}|Broken\\({number},)\\s+\\$?\"([^\"]+)\"") do
          Regex.Replace(found.Groups[1].Value, "\\{[^}]*\\}", "…") ]
    |> List.distinct

// ----------------------------------------------------------------------------------------------------- seeded bugs

type Mutant =
    { Name: string
      File: string
      Breaks: int list
      IsGuard: bool
      Old: string
      New: string }

let private allMutants =
    lazy
        [ for block in File.ReadAllText(Source.path "tests/Mutants/mutants.txt").Split "\nmutant " |> Array.skip 1 do
              let lines = block.TrimEnd().Split '\n'

              let value (key: string) =
                  lines
                  |> Array.tryFind (fun line -> line.StartsWith(key + " "))
                  |> Option.map (fun line -> line.Substring(key.Length).Trim())

              let part (sign: string) =
                  lines
                  |> Array.filter (fun line -> line.StartsWith sign)
                  |> Array.map (fun line -> if line.Length > 2 then line.Substring 2 else "")
                  |> String.concat "\n"

              { Name = lines[0].Trim()
                File = "src/" + (value "file").Value
                Breaks =
                  (defaultArg (value "breaks") "").Split([| ' '; ',' |], StringSplitOptions.RemoveEmptyEntries)
                  |> Array.map int
                  |> List.ofArray
                IsGuard = (value "guard").IsSome
                Old = part "-"
                New = part "+" } ]

/// Those that break none of the invariants, but something that another test promises.
let otherMutants () : Mutant list = allMutants.Value |> List.filter _.Breaks.IsEmpty

/// The seeded bugs whose author says that they break it. That there is one, `./test mutants` sees to.
let mutants (number: int) : Mutant list =
    allMutants.Value |> List.filter (fun mutant -> List.contains number mutant.Breaks)
