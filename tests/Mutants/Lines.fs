/// Many F# bugs in one assembly. Of each the smallest expression around it that stands on lines of its own, or behind the last
/// sign of its line, is there twice:
///     if SeededBug.is 17 then
///         with the bug
///     else
///         as it was
/// That reads nothing but how lines are indented. Where it is not enough, nothing is guessed.
module Mutants.Lines

open System
open System.Text.RegularExpressions

/// Comes before all files of the part. A program that asks about several bugs has it read the setting again.
let chooser (setting: string) =
    $"""module internal SeededBug
let mutable private number = -1
let read () =
    let chosen = System.Environment.GetEnvironmentVariable "{setting}"
    number <- if isNull chosen then 0 else int chosen
let is (bug: int) =
    if number < 0 then read ()
    bug = number
"""

/// What stands on these lines, from a column of the first (0: whole lines), and what would stand there with the bug.
type Choice =
    { Bug: int; First: int; Last: int; Column: int; Mutated: string list }

let private indent (line: string) = line.Length - line.TrimStart().Length
let private isBlank (line: string) = String.IsNullOrWhiteSpace line

/// Each bracket is closed that is opened, and no other.
let private isBalanced (text: string) =
    let depths =
        text
        |> Seq.scan
            (fun depth sign ->
                if "([{".Contains sign then depth + 1
                elif ")]}".Contains sign then depth - 1
                else depth)
            0
        |> List.ofSeq

    List.min depths >= 0 && List.last depths = 0

/// An expression begins on the next line.
let private opens (line: string) =
    let text = line.Trim()
    let isDeclaration = Regex.IsMatch(text, @"^(type|module|namespace|exception|interface|//|\[<)")
    not isDeclaration && Regex.IsMatch(text, @"(^| )(=|->|then|else|do|try|finally)$")

/// Where the expression of a line begins that has all of it.
let private columnOf (line: string) =
    let from (sign: string) =
        match line.IndexOf(sign, StringComparison.Ordinal) with
        | -1 -> None
        | at -> Some(at + sign.Length)

    let sign =
        match line.Trim() with
        | text when Regex.IsMatch(text, @"^(let!?|and|member|override|static member) ") -> from " = "
        | text when text.StartsWith("| ", StringComparison.Ordinal) -> from " -> "
        | text when text.StartsWith("else ", StringComparison.Ordinal) && not (text.Contains " then ") -> from "else "
        | text when text.StartsWith("if ", StringComparison.Ordinal) && not (text.Contains " else ") -> from " then "
        | _ -> None

    sign |> Option.filter (fun at -> isBalanced (line.Substring(0, at)))

let private isPlain (line: string) = not (line.Contains "\"\"\"" || line.Contains "//")

/// None: it has to be compiled alone.
let choiceOf (bug: int) (before: string) (mutated: string) : Choice option =
    let old, now = before.Split '\n', mutated.Split '\n'
    let same (a: string array) (b: string array) = Seq.zip a b |> Seq.takeWhile (fun (x, y) -> x = y) |> Seq.length
    let first = same old now
    let shorter = min old.Length now.Length
    let behind = min (same (Array.rev old) (Array.rev now)) (shorter - first)
    let last, grown = old.Length - behind - 1, now.Length - old.Length

    let inLine () =
        let ends = last + 1 >= old.Length || isBlank old[last + 1] || indent old[last + 1] <= indent old[last]

        match columnOf old[first] with
        | Some at when first = last && grown = 0 && ends && isPlain old[first] && isPlain now[first] ->
            let kept, rest =
                now[first].Substring(0, min at now[first].Length), now[first].Substring(min at now[first].Length)

            if
                kept = old[first].Substring(0, at)
                && isBalanced rest
                && isBalanced (old[first].Substring at)
                && not (isBlank rest)
            then
                Some
                    { Bug = bug
                      First = first
                      Last = last
                      Column = at
                      Mutated = [ rest ] }
            else
                None
        | _ -> None

    /// The expression below a line, if the bug is in it.
    let below header =
        let start = seq { header + 1 .. old.Length - 1 } |> Seq.tryFind (fun i -> not (isBlank old[i]))

        match start with
        | Some start when start <= first && opens old[header] ->
            let depth = indent old[start]
            let isInside (line: string) = isBlank line || indent line >= depth
            let size = old |> Seq.skip start |> Seq.takeWhile isInside |> Seq.length
            let size = old[start .. start + size - 1] |> Array.findIndexBack (isBlank >> not) |> (+) 1
            let there, mutated = old[start .. start + size - 1], now[start .. start + size + grown - 1]

            let isWhole (lines: string array) =
                lines.Length > 0
                && not (isBlank lines[0])
                && indent lines[0] = depth
                && Array.forall isInside lines
                && isBalanced (String.Join("\n", lines))
                && not (lines |> Array.exists _.Contains("\"\"\""))

            let isDeeper = depth > indent old[header] || old[header].EndsWith(" =", StringComparison.Ordinal)

            if isDeeper && start + size > last && isWhole there && isWhole mutated then
                Some
                    { Bug = bug
                      First = start
                      Last = start + size - 1
                      Column = 0
                      Mutated = List.ofArray mutated }
            else
                None
        | _ -> None

    inLine () |> Option.orElseWith (fun () -> seq { first - 1 .. -1 .. 0 } |> Seq.tryPick below)

let private deeper (lines: string list) = lines |> List.map (fun line -> if isBlank line then line else "    " + line)

/// A file with all these choices in it. One that crosses another is left out.
let write (source: string) (choices: Choice list) : string =
    let lines = source.Split '\n'

    let rec render first last (choices: Choice list) =
        if first > last then
            []
        else
            match choices |> List.filter (fun it -> it.First = first && it.Last <= last) with
            | [] -> lines[first] :: render (first + 1) last choices
            | here ->
                let widest = here |> List.maxBy (fun it -> it.Last, -it.Column)
                let isSame it = (it.First, it.Last, it.Column) = (widest.First, widest.Last, widest.Column)
                let chosen, others = List.partition isSame choices

                if widest.Column > 0 then
                    let kept, rest = lines[first].Substring(0, widest.Column), lines[first].Substring widest.Column
                    let bugs = [ for it in chosen -> $"if SeededBug.is {it.Bug} then ({it.Mutated.Head}) else " ]
                    kept + "(" + String.Join("", bugs) + "(" + rest + "))" :: render (first + 1) last others
                else
                    let space = String(' ', indent lines[first])

                    [ for i, it in List.indexed chosen do
                          let word = if i = 0 then "if" else "elif"
                          yield $"{space}{word} SeededBug.is {it.Bug} then"
                          yield! deeper it.Mutated
                      yield space + "else"
                      yield! deeper (render first widest.Last others)
                      yield! render (widest.Last + 1) last others ]

    String.Join("\n", render 0 (lines.Length - 1) choices)
