/// ./test writes its page with it: artifacts/audit/index.html, the evidence of this run, which needs no other file.
///     Audit page          writes it, of what the run has left in SESSION_RESULTS
///     Audit coverage      prints how much of src/Session.Domain.fs was walked through, and fails at less than all
module Audit.Main

open System
open System.IO
open System.Runtime.InteropServices
open System.Text.Json
open Docs
open Audit.Html
open Audit.Json
open Audit.Run

let private folder =
    match Environment.GetEnvironmentVariable "SESSION_RESULTS" with
    | null
    | "" -> Source.path "artifacts/audit"
    | folder -> Source.path folder

/// What no run of these tests shows.
let private never =
    [ "The exploration walks the lifecycle and the loop that ship, and the simulation everything from the middleware to the port of the store; what is around them there is written for the test: store, network, clocks, chance, browsers, and in the exploration the plans of a request, a sweeper and a limit."
      "What no test can show: <a href=\"../../docs/SECURITY.md\">docs/SECURITY.md</a> says what is not defended."
      "The time that an answer takes: hashes are compared without a branch, and nothing measures it." ]

let private tile (number: string) (what: string) = classed "div" "tile" (tag "b" number + escape what)

let private tiles (run: Run) (proven: Cards.Proven list) =
    let results (part: Part) show = part.Results |> Option.map show |> Option.defaultValue "–"
    let hold = proven |> List.filter (fun one -> Cards.holds run one = Some true) |> List.length

    classed
        "div"
        "tiles"
        (lines
            [ tile $"{hold} of {proven.Length}" "invariants hold, with all their evidence"
              tile
                  (results run.Properties (list "properties" >> List.sumBy (number "cases") >> count))
                  "random histories and cases"
              tile (results run.Exploration (number "states" >> count)) "distinct states explored"
              tile
                  (results run.Bugs (fun json ->
                      let all = list "mutants" json
                      let found = all |> List.filter (fun bug -> text "verdict" bug = "killed")
                      $"{found.Length} of {all.Length}"))
                  "seeded bugs found"
              tile
                  (results run.Branches (fun json ->
                      let covered = Branches.ofJson json
                      $"{Branches.percent covered.Taken covered.Branches} %%"))
                  "of the lifecycle's branches taken"
              tile
                  (results run.Servers (fun json ->
                      let kept = list "contracts" json |> List.filter (fun store -> number "failed" store = 0L)
                      $"""{kept.Length} of {(list "contracts" json).Length}"""))
                  "stores keep their contract" ])

let private section (part: Part) (id: string) (show: JsonElement -> string) =
    [ $"<h2 id=\"{id}\">{escape part.Title}</h2>"
      tag "p" (verdict part + $" {escape (summary part)} · {again part}")
      match part.Entry, part.Results with
      | Some _, Some json -> show json
      | None, _ -> classed "p" "missing" "Not run in this run."
      | Some _, None -> classed "p" "missing" "It left no results." ]

let private page () =
    let run = load folder
    let proven = Invariants.all |> List.map (Cards.prove run)
    let isAll = run.Parts |> List.forall isGood && run.Missing.IsEmpty
    let ran = run.Parts |> List.filter (fun part -> part.Entry.IsSome)

    let verdictText =
        let bad = ran |> List.filter (isGood >> not) |> List.map _.Title

        if isAll then "All evidence of this run holds."
        elif bad.IsEmpty then "What ran holds, and not all of it ran."
        else "Not all of it holds: " + String.concat "; " bad

    let dirty = if run.Changed = 0L then "" else $", with {run.Changed} files changed since"

    let notThere =
        [ match run.Servers.Results with
          | None -> ()
          | Some json ->
              for name, version in fields (get "servers" json) do
                  let version = string (version.GetString())

                  if version = "not there" || version.Contains "stand-in" then
                      $"{escape name}: {escape version}" ]

    let notRun =
        [ yield!
              run.Missing
              |> List.map (fun command -> "What needs " + code command + ": it is not on this machine.")
          yield! run.Parts |> List.collect skipped
          yield! notThere
          if not run.IsLong then
              "The long form: ten times the histories, larger scopes, longer contracts ("
              + code "SESSION_LONG=1 ./test"
              + ")." ]

    let form = if run.IsLong then "the long form" else "the usual form (SESSION_LONG=1: the long one)"

    let origin =
        [ $"commit {run.Commit.Substring(0, min 12 run.Commit.Length)}{dirty}"
          run.Began.ToString "yyyy-MM-dd HH:mm" + " UTC"
          form
          $"{RuntimeInformation.FrameworkDescription} on {RuntimeInformation.OSDescription}, {Environment.ProcessorCount} cores" ]

    let html =
        [ "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>Session: the evidence of one run</title>"
          $"<style>{style}</style></head><body>"
          "<h1>Session: the evidence of one run</h1>"
          classed "p" "soft" (escape (String.concat " · " origin))
          classed "div" (if isAll then "verdict good" else "verdict bad") (escape verdictText)
          tiles run proven
          "<nav>"
          link "invariants" "The invariants"
          link "coverage" "What was met"
          link "branches" "Branches"
          link "exploration" "Exploration"
          link "bugs" "Seeded bugs"
          link "stores" "Stores and servers"
          link "not-run" "What was not run"
          "</nav>"
          table
              [ "part"; ""; "what it was"; "time"; "again" ]
              [ for part in run.Parts do
                    [ escape part.Title
                      verdict part
                      escape (summary part)
                      (match part.Entry with
                       | Some entry -> $"""{number "seconds" entry} s"""
                       | None -> "")
                      again part ] ]
          yield! run.Parts |> List.collect failures
          "<h2 id=\"invariants\">The invariants</h2>"
          "<p>What has to be true of every session, always. Follow one in five minutes: read its sentence; its <b>properties</b> say the same as a predicate on a step of a random history; the <b>exploration</b> asks it of every world that can be reached; the <b>seeded bugs</b> show that these checks can fail: old text beside new, and who found it. Words, states and the source in reading order: <a href=\"../../docs/LIFECYCLE.md\">docs/LIFECYCLE.md</a>.</p>"
          Cards.overview run proven
          yield! proven |> List.map (Cards.card run)
          yield!
              match run.Properties.Results with
              | Some json -> [ "<h2 id=\"coverage\">What the histories met</h2>"; Sections.coverage json ]
              | None ->
                  [ "<h2 id=\"coverage\">What the histories met</h2>"
                    classed "p" "missing" "Not run in this run." ]
          yield! section run.Branches "branches" Sections.branches
          yield! section run.Exploration "exploration" Sections.exploration
          yield! section run.Bugs "bugs" Sections.bugs
          "<h3>Bugs that break no invariant, but what another test promises</h3>"
          Cards.otherBugs run
          yield! section run.Servers "stores" Sections.stores
          "<h2 id=\"not-run\">What was not run</h2>"
          "<ul>"
          for one in notRun @ never do
              tag "li" one
          "</ul></body></html>" ]

    let file = Path.Combine(folder, "index.html")
    File.WriteAllText(file, lines html + "\n")
    printfn "%s: %s" (Path.GetRelativePath(Source.root, file)) verdictText
    if isAll then 0 else 1

[<EntryPoint>]
let main args =
    match args with
    | [| "page" |] -> page ()
    | [| "coverage" |] -> Branches.print (Path.Combine(folder, "branches.json"))
    | _ ->
        eprintfn "usage: Audit page | coverage"
        2
