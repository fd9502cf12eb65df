/// The diagrams: every edge of them is an answer of the code.
module Docs.Diagrams

open System
open Session.Domain
open Docs.Pairs

let private box state =
    match state with
    | Absent -> "[*]"
    | Created _ -> "Created"
    | Active _ -> "Active"
    | Regenerated _ -> "Regenerated"
    | Destroyed _ -> "Destroyed"
    | Expired _ -> "Expired"

let private word command =
    match command with
    | Create _ -> "create"
    | Present _ -> "present"
    | Write _ -> "write"
    | SignIn _ -> "sign in"
    | Elevate _ -> "elevate"
    | Renew _ -> "renew"
    | Destroy _ -> "destroy"
    | Expire -> "expire"
    | Tell -> "tell"
    | Leave -> "leave"

/// All edges between the situations, by the commands that lead along them.
let states () =
    let edges =
        [ for _, state, at in situations do
              for _, command in commands state at do
                  match Lifecycle.decide policy (t0 + at) command state with
                  | Ok(_ :: _ as events) ->
                      let target = box (List.fold Lifecycle.evolve state events)

                      let label =
                          if events |> List.exists _.IsHasExpired then "its time is over"
                          elif events |> List.exists _.IsWasReplayed then "a replay"
                          elif events |> List.exists _.IsGraceEnded && target = "Active" then "the grace ends"
                          else word command

                      (box state, target), label
                  | Ok []
                  | Error _ -> () ]

    [ yield "```mermaid"
      yield "stateDiagram-v2"

      for (source, target), labels in edges |> List.groupBy fst do
          let labels = labels |> List.map snd |> List.distinct |> String.concat ", "
          yield $"    {source} --> {target}: {labels}"

      yield "    Destroyed --> [*]: retention is over"
      yield "    Expired --> [*]: told, and retention is over"
      yield "```" ]

/// A renewal as it goes: each step is given to the code, and what it answers is drawn.
let renewal () =
    let mutable state = run Absent [ zero, Create(hash 1, Some "ada", [||]); present 1 zero ]

    let mutable issued = 1

    let seconds (n: float) = TimeSpan.FromMinutes 15L + TimeSpan.FromSeconds n

    let askLate (arrived: TimeSpan) (at: TimeSpan) who token what =
        [ yield $"    {who}->>S: {what}"

          match Lifecycle.decide policy (t0 + at) (Present(hash token, t0 + arrived)) state with
          | Error refusal -> yield $"    S-->>{who}: 401, {reason refusal}"
          | Ok events ->
              state <- List.fold Lifecycle.evolve state events

              if not (Lifecycle.letsIn events state) then
                  yield $"    S-->>{who}: 401, a replay: the session is {stateName state}"
              elif token = 1 && Lifecycle.isRenewalDue policy (t0 + at) state then
                  issued <- issued + 1
                  state <- run state [ at, Renew(hash issued, grant 0 token at) ]
                  yield $"    S-->>{who}: 200, and token {issued}"
              else
                  yield $"    S-->>{who}: 200"

          yield $"    Note over S: {stateName state}" ]

    let ask at = askLate at at

    [ yield "```mermaid"
      yield "sequenceDiagram"
      yield "    participant B as Browser"
      yield "    participant S as Session"
      yield "    participant T as Thief"
      yield! ask (seconds 0) "B" 1 "token 1, after RotateEvery"
      yield "    Note over B: the response is lost"
      yield! ask (seconds 10) "B" 1 "token 1, in parallel or again"
      yield! ask (seconds 30) "B" 1 "token 1, when the grace is over"
      yield! ask (seconds 31) "B" 3 "token 3"
      yield! ask (seconds 40) "B" 1 "token 1, a request in flight"
      yield! askLate (seconds 60) (seconds 61) "B" 1 "token 1, arrived in its grace, and judged after it"
      yield! ask (seconds 61) "T" 1 "token 1, stolen long ago"
      yield! ask (seconds 62) "B" 3 "token 3"
      yield "```" ]
