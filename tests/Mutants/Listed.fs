/// The list of the seeded bugs, mutants.txt: how it is read, and how a bug gets into its file.
module Mutants.Listed

open System
open System.IO

type Mutant =
    {
        Name: string
        /// From src.
        File: string
        /// The invariants that it breaks, as its author thinks.
        Breaks: int list
        /// A guard of the renewal, and the scope of the exploration that has to tell a story against it.
        Guard: string option
        /// The tests that are asked, where they are not those of the file's part.
        Tests: string option
        Old: string
        New: string
        /// Of the list.
        Line: int
    }

let root = Repository.under []
let private file = Path.Combine(root, "tests", "Mutants", "mutants.txt")

let private keys = [ "file"; "breaks"; "guard"; "tests" ]

/// A block: its first line is the one with its name.
let private parse (line: int) (lines: string list) =
    let name = lines.Head.Substring("mutant ".Length).Trim()
    let wrong why = failwith $"mutants.txt, line {line}, {name}: {why}"

    let values =
        [ for text in lines.Tail do
              if not (text.StartsWith '-' || text.StartsWith '+' || text.StartsWith '#') then
                  match text.Trim().Split(' ', 2) with
                  | [| "" |] -> ()
                  | [| key; value |] when List.contains key keys -> key, value.Trim()
                  | _ -> wrong $"what does '{text}' mean?" ]

    let value key = List.tryFind (fst >> (=) key) values |> Option.map snd

    // Neither the sign nor the space behind it belongs to the text.
    let part (sign: char) =
        [ for text in lines.Tail do
              if text.StartsWith sign then
                  if text.Length > 2 then text.Substring 2 else "" ]
        |> String.concat "\n"

    let old = part '-'

    if old = "" then
        wrong "nothing is replaced"

    { Name = name
      File = value "file" |> Option.defaultWith (fun () -> wrong "no file")
      Breaks =
        (value "breaks" |> Option.defaultValue "").Split(' ', StringSplitOptions.RemoveEmptyEntries)
        |> Array.map int
        |> List.ofArray
      Guard = value "guard"
      Tests = value "tests"
      Old = old
      New = part '+'
      Line = line }

let read () =
    let rec blocks found (lines: (int * string) list) =
        match lines with
        | [] -> List.rev found
        | (number, first) :: rest when first.StartsWith "mutant " ->
            let isInside (_, line: string) = not (line.StartsWith "mutant ")
            let inside = List.takeWhile isInside rest
            blocks (parse number (first :: List.map snd inside) :: found) (List.skip inside.Length rest)
        | _ :: rest -> blocks found rest

    let mutants = File.ReadAllLines file |> List.ofArray |> List.mapi (fun i line -> i + 1, line) |> blocks []

    match mutants |> List.countBy _.Name |> List.filter (fun (_, n) -> n > 1) with
    | [] -> mutants
    | twice -> failwith $"""mutants.txt has two bugs of one name: {String.Join(", ", List.map fst twice)}"""

// ------------------------------------------------------------------------------------------------------- seeding

let private lineAt (text: string) (at: int) = text.AsSpan(0, at).Count '\n' + 1

let private placesOf (text: string) (part: string) =
    [ let mutable at = text.IndexOf(part, StringComparison.Ordinal)

      while at >= 0 do
          at
          at <- text.IndexOf(part, at + 1, StringComparison.Ordinal) ]

let private words (line: string) =
    line.Split([| ' '; '('; ')'; '.'; ','; '['; ']'; ';'; '{'; '}' |], StringSplitOptions.RemoveEmptyEntries)
    |> Set.ofArray

/// The line of a text that has most words in common with another.
let private nearest (lines: string array) (wanted: string) =
    let wanted = words wanted

    let likeness (line: string) =
        let found = words line
        2 * (Set.intersect wanted found).Count - found.Count

    let number, line = Array.indexed lines |> Array.maxBy (snd >> likeness)
    number + 1, line.Trim()

/// The source with the bug in it, or why there is no such place.
let seed (mutant: Mutant) : Result<string, string> =
    let path = Path.Combine(root, "src", mutant.File)

    if not (File.Exists path) then
        Error $"mutants.txt:{mutant.Line}: there is no file src/{mutant.File}"
    else
        let text = File.ReadAllText path

        match placesOf text mutant.Old with
        | [ _ ] -> Ok(text.Replace(mutant.Old, mutant.New, StringComparison.Ordinal))
        | [] ->
            let lines = text.Split '\n'
            let trimmed = lines |> Array.map _.Trim() |> Set.ofArray
            let missing = mutant.Old.Split '\n' |> Array.tryFind (fun line -> not (trimmed.Contains(line.Trim())))

            Error(
                match missing with
                | Some line ->
                    let number, found = nearest lines line

                    $"mutants.txt:{mutant.Line}: its text is not in src/{mutant.File}. This line is gone:\n"
                    + $"    {line.Trim()}\nand the nearest is line {number}:\n    {found}"
                | None ->
                    let number, _ = nearest lines (Array.head (mutant.Old.Split '\n'))

                    $"mutants.txt:{mutant.Line}: its lines are in src/{mutant.File}, but not one after the other, or not "
                    + $"indented so: look around line {number}"
            )
        | places ->
            let lines = places |> List.map (lineAt text >> string) |> String.concat ", "
            Error $"mutants.txt:{mutant.Line}: its text is in src/{mutant.File} {places.Length} times, on lines {lines}"
