/// Many bugs in one assembly, of which the environment chooses one when the tests start: a part of the library takes seconds
/// to compile, and the tests' program as long to start, as often as there are bugs in it. A bug that cannot be chosen so, or
/// whose choice does not compile, is compiled alone.
module Mutants.Together

open System
open System.IO
open System.Text.RegularExpressions

let setting = "SESSION_SEEDED_BUG"

type Choice =
    | Lines of Lines.Choice
    | Body of Bodies.Choice

    member choice.Bug =
        match choice with
        | Lines it -> it.Bug
        | Body it -> it.Bug

let private isCSharp (source: string) = Path.GetExtension source = ".cs"

/// A file that comes before all others of the part of this one: its name, and what is in it.
let chooserFor source =
    if isCSharp source then "SeededBug.cs", Bodies.chooser setting else "SeededBug.fs", Lines.chooser setting

/// None: it has to be compiled alone.
let choiceOf source bug before mutated : Choice option =
    if isCSharp source then
        Bodies.choiceOf bug before mutated |> Option.map Body
    else
        Lines.choiceOf bug before mutated |> Option.map Lines

/// A file with all these choices in it.
let write (before: string) (choices: Choice list) : string =
    let bodies, lines =
        [ for choice in choices do
              match choice with
              | Body it -> it
              | Lines _ -> () ],
        [ for choice in choices do
              match choice with
              | Lines it -> it
              | Body _ -> () ]

    if bodies.IsEmpty then Lines.write before lines else Bodies.write before bodies

let private numbersIn (line: string) =
    [ for found in Regex.Matches(line, @"SeededBug\.[iI]s[ (](\d+)") do
          int found.Groups[1].Value ]

let chosenIn (text: string) = numbersIn text |> Set.ofList

/// The bugs that a compiler's errors are about: the last choice above each of them.
let blamed (fileName: string) (text: string) (errors: string) =
    let lines = text.Split '\n'
    // F# says (line,column)-(line,column) typecheck error, and C# (line,column): error.
    // One whose name ends in this one is another file.
    let errorAt = @"(?<![^/\\\s])" + Regex.Escape fileName + @" ?\((\d+),\d+\)(-\(\d+,\d+\) \S+|:) error"

    [ for found in Regex.Matches(errors, errorAt) do
          let line = min lines.Length (int found.Groups[1].Value)

          match
              Seq.init line (fun i -> lines[line - 1 - i])
              |> Seq.map numbersIn
              |> Seq.tryFind (List.isEmpty >> not)
          with
          | Some numbers -> yield! numbers
          | None -> () ]
    |> Set.ofList
