/// The repository as text: what the documents quote from it.
module Docs.Source

open System
open System.IO

let root =
    let rec find (folder: DirectoryInfo | null) =
        match folder with
        | null -> failwith "Session.slnx is in no folder above this program."
        | folder when File.Exists(Path.Combine(folder.FullName, "Session.slnx")) -> folder.FullName
        | folder -> find folder.Parent

    find (DirectoryInfo AppContext.BaseDirectory)

let path (name: string) = Path.Combine(root, name)
let lines name = File.ReadAllLines(path name)

/// Lines in all, and lines of code: neither blank nor a comment alone.
let countLines name =
    let all = lines name
    let isCode (line: string) = line.Trim() <> "" && not (line.TrimStart().StartsWith "//")
    all.Length, (all |> Array.filter isCode).Length

/// The lines of the comment at the head of a file, without the slashes, between two of its headings.
let private head name =
    lines name
    |> Seq.takeWhile _.StartsWith("///")
    |> Seq.map (fun line -> line.Substring(3).TrimEnd())
    |> List.ofSeq

let section name (title: string) =
    head name
    |> List.skipWhile (fun line -> line.Trim() <> title)
    |> List.skip 1
    |> List.takeWhile (fun line -> line <> "" && line.StartsWith "   ")

/// A table in the comment at the head of a file, as Markdown; a row without a name goes on in the row before.
let table name title =
    let rows =
        section name title
        |> List.filter (fun line -> line.TrimStart().StartsWith '|')
        |> List.map (fun line -> line.Trim().Trim('|').Split '|' |> Array.map _.Trim())

    let joined =
        rows
        |> List.fold
            (fun (above: string array list) row ->
                match above with
                | last :: before when row[0] = "" ->
                    Array.map2 (fun (a: string) b -> (a + " " + b).Trim()) last row :: before
                | _ -> row :: above)
            []
        |> List.rev

    [ for i, row in List.indexed joined do
          yield "| " + String.Join(" | ", row) + " |"

          if i = 0 then
              yield "|" + String.replicate row.Length " --- |" ]

/// The cases of a union, each with the comment beside it.
let cases name (union: string) =
    lines name
    |> Seq.skipWhile ((<>) $"type {union} =")
    |> Seq.skip 1
    |> Seq.takeWhile _.StartsWith("    | ")
    |> Seq.map (fun line ->
        let parts = (line.Substring 6).Split(" // ", 2)
        (parts[0].Split ' ')[0], (if parts.Length = 2 then parts[1] else ""))
    |> List.ofSeq

/// The same as Markdown.
let casesTable name union (title: string) =
    [ yield $"| {title} | meaning |"
      yield "| --- | --- |"

      for case, meaning in cases name union do
          if meaning = "" then
              failwithf "%s.%s has no comment." union case

          yield $"| {case} | {meaning} |" ]

/// What is said about each file on the auditor's way.
let readingOrder =
    [ "src/Session.Words.fs", "the words for ends and refusals; a secret's hash"
      "src/Session.Domain.fs", "states, commands, events; `evolve`, `decide`"
      "src/Session.Engine/Store.fs", "what a store promises: the comments are the specification"
      "src/Session.Engine/Rules.fs", "the policy of one session, where its data says itself when it is over"
      "src/Session.Engine/Token.fs", "secrets and tokens: minted, hashed, parsed"
      "src/Session.Engine/Codec.fs", "a state as bytes, and back: the one decoder"
      "src/Session.Engine/Sealing.fs", "data under keys that only its client has"
      "src/Session.Engine/Protocol.fs",
      "load, decide, compare and swap, look again: the one loop that changes a record, pure"
      "src/Session.Engine/Loop.fs", "drives it to its end"
      "src/Session.Engine/Access.fs", "the store, as the loop asks it: bounded in time"
      "src/Session.Engine/Writers.fs", "who writes to which session: one after another, or together"
      "src/Session.Engine/Presenting.fs", "whether a token opens its session, and what that stores"
      "src/Session.Engine/Requests.fs", "what a request does with its session, each operation as a plan for the loop"
      "src/Session.Engine/Limits.fs", "the sessions of a subject, and how many there may be"
      "src/Session.Engine/Sweeper.fs", "ends what is overdue, tells, removes tombstones"
      "src/Session.AspNetCore/Received.fs", "when a request came, and whether it is over"
      "src/Session.AspNetCore/Transport.fs", "raw headers in, exact bytes only; Set-Cookie out"
      "src/Session.AspNetCore/Presence.fs",
      "what a request has of a session: one union, and tables of what follows from it"
      "src/Session.AspNetCore/Parting.fs", "what its response does for the client's token"
      "src/Session.AspNetCore/Reading.fs", "from the token that came to what the request has"
      "src/Session.AspNetCore/Leaving.fs", "how a request ends sessions"
      "src/Session.AspNetCore/Beginning.fs", "how it begins one"
      "src/Session.AspNetCore/Request.fs", "one request and its session: what can be asked of it"
      "src/Session.AspNetCore/Middleware.fs", "guards endpoints; failures as answers" ]
