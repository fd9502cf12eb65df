/// Writes artifacts/audit/index.html: one page with the evidence of this run, which needs no other file.
module Audit.Main

open System
open System.Diagnostics
open System.IO
open System.Runtime.InteropServices
open Audit.Html
open Audit.Json
open Audit.Sections

let private root =
    let rec up (folder: string) =
        if File.Exists(Path.Combine(folder, "Session.slnx")) then
            folder
        else
            match Path.GetDirectoryName folder with
            | null -> failwith "not inside the repository"
            | parent -> up parent

    up AppContext.BaseDirectory

let private git (arguments: string) =
    try
        match
            Process.Start(ProcessStartInfo("git", arguments, WorkingDirectory = root, RedirectStandardOutput = true))
        with
        | null -> ""
        | started ->
            use started = started
            let said = started.StandardOutput.ReadToEnd().Trim()
            started.WaitForExit()
            said
    with :? ComponentModel.Win32Exception ->
        ""

/// What this page never shows, because nothing runs it.
let private never =
    [ "MongoDB itself, unless SESSION_MONGO names a server: the store ran its contract on the protocol's stand-in, which has no elections."
      "Branch coverage of Session.Domain.fs: coverage here is of states, commands, answers and deadlines, counted by the properties themselves."
      "What no test can show: see docs/SECURITY.md for what is not defended." ]

[<EntryPoint>]
let main _ =
    let folder = Path.Combine(root, "artifacts", "audit")

    let part title command file =
        { Title = title
          Command = command
          Results = read (Path.Combine(folder, file)) }

    let properties = part "Properties" "./test properties" "properties.json"
    let explored = part "Exploration" "./test exploration" "exploration.json"
    let bugs = part "Seeded bugs" "./test mutants" "mutants.json"
    let servers = part "Stores and servers" "./test integration" "integration.json"
    let parts = [ properties; explored; bugs; servers ]
    let isAll = parts |> List.forall isGood
    let missing = parts |> List.filter (fun part -> part.Results.IsNone)

    let verdict =
        if isAll then
            "All evidence of this run holds."
        elif missing.Length > 0 && parts |> List.except missing |> List.forall isGood then
            "What ran holds, and not all of it ran."
        else
            "Something does not hold: see below."

    let dirty = if git "status --porcelain" = "" then "" else ", with changes that are not committed"

    let section (part: Part) (show: Text.Json.JsonElement -> string) =
        [ tag "h2" (escape part.Title)
          tag "p" (escape (summary part) + $" · <code>{escape part.Command}</code>")
          match part.Results with
          | None -> classed "p" "missing" "Not run in this run."
          | Some json -> show json ]

    let page =
        [ "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Session: the evidence</title>"
          $"<style>{style}</style></head><body>"
          "<h1>Session: the evidence of one run</h1>"
          tag
              "p"
              (escape
                  $"""commit {git "rev-parse --short HEAD"}{dirty} · {DateTime.UtcNow.ToString "yyyy-MM-dd HH:mm"} UTC · {RuntimeInformation.FrameworkDescription} on {RuntimeInformation.OSDescription}, {Environment.ProcessorCount} cores""")
          classed "p" (if isAll then "verdict good" else "verdict bad") (escape verdict)
          table
              [ "part"; ""; "what it was" ]
              [ for part in parts do
                    [ escape part.Title
                      badge
                          (isGood part)
                          (if part.Results.IsNone then "not run"
                           elif isGood part then "holds"
                           else "FAILS")
                      escape (summary part) ] ]
          yield! parts |> List.collect failures
          tag "h2" "The sixteen invariants"
          "<p>Words, formulas, requirements and the source in reading order: <code>docs/LIFECYCLE.md</code>.</p>"
          invariantTable root properties.Results bugs.Results
          yield! section properties coverage
          yield! section explored exploration
          yield! section bugs mutants
          yield! section servers stores
          tag "h2" "What was not run"
          "<ul>"
          for one in (parts |> List.collect skipped) @ List.map escape never do
              tag "li" one
          "</ul></body></html>" ]

    Directory.CreateDirectory folder |> ignore
    let file = Path.Combine(folder, "index.html")
    File.WriteAllText(file, String.concat "\n" page + "\n")
    printfn "artifacts/audit/index.html: %s" verdict
    if isAll then 0 else 1
