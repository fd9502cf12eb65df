/// How much of src/Session.Domain.fs the properties walked through, as coverlet counted it.
module Audit.Branches

open System
open System.IO
open System.Text.Json
open Audit.Json

type Missed =
    {
        Line: int
        Function: string
        /// Which way out of the branch point was never taken; -1: the whole line.
        Path: int64
    }

type Covered =
    { Branches: int
      Taken: int
      Lines: int
      Walked: int
      Missed: Missed list }

/// A report with fewer is no report of that file.
let private floor = 200

let isFull covered = covered.Branches >= floor && covered.Taken = covered.Branches && covered.Walked = covered.Lines

/// Of the whole report, what it says of that one file.
let ofJson (json: JsonElement) =
    let methods =
        [ for _, files in fields json do
              for file, classes in fields files do
                  if Path.GetFileName file = "Session.Domain.fs" then
                      for _, methods in fields classes do
                          for name, found in fields methods do
                              // "Type Namespace.Module::name(arguments)"
                              let name = name.Substring(name.IndexOf "::" + 2)

                              (match name.IndexOf '(' with
                               | -1 -> name
                               | at -> name.Substring(0, at)),
                              found ]

    let branches =
        [ for name, found in methods do
              for branch in list "Branches" found do
                  { Line = int (number "Line" branch)
                    Function = name
                    Path = number "Path" branch },
                  number "Hits" branch > 0L ]

    let lines =
        [ for name, found in methods do
              for line, hits in fields (get "Lines" found) do
                  { Line = int line; Function = name; Path = -1L }, hits.GetInt64() > 0L ]

    { Branches = branches.Length
      Taken = branches |> List.filter snd |> List.length
      Lines = lines.Length
      Walked = lines |> List.filter snd |> List.length
      Missed =
        branches @ lines
        |> List.filter (snd >> not)
        |> List.map fst
        |> List.sortBy (fun missed -> missed.Line, missed.Path) }

let percent part whole = if whole = 0 then 0.0 else Math.Floor(10000.0 * float part / float whole) / 100.0

/// ./test coverage: prints it, and fails when a branch was missed.
let print (file: string) =
    match read file with
    | None ->
        eprintfn "%s is not there" file
        2
    | Some json ->
        let covered = ofJson json
        let source = File.ReadAllLines(Docs.Source.path "src/Session.Domain.fs")

        printfn
            "src/Session.Domain.fs: %d of %d branches (%.2f %%), %d of %d lines (%.2f %%)"
            covered.Taken
            covered.Branches
            (percent covered.Taken covered.Branches)
            covered.Walked
            covered.Lines
            (percent covered.Walked covered.Lines)

        for missed in covered.Missed do
            printfn
                "MISSED line %d, %s%s: %s"
                missed.Line
                missed.Function
                (if missed.Path < 0L then "" else $", way {missed.Path}")
                (source[missed.Line - 1].Trim())

        let checks =
            [ $"at least {floor} branches were counted", covered.Branches >= floor
              "every branch was taken", covered.Taken = covered.Branches
              "every line was walked", covered.Walked = covered.Lines ]

        for name, holds in checks do
            if not holds then
                printfn "FAILED %s" name

        let failed = checks |> List.filter (snd >> not) |> List.length
        printfn "%d passed, %d failed" (checks.Length - failed) failed
        if failed = 0 then 0 else 1
