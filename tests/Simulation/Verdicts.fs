/// What answers may say: an operation is stored if it was said to be, and not if it was refused; a token opens what it may
/// open; and what reaches a browser is its own.
module Simulation.Verdicts

open System
open System.Collections.Generic
open Session.Domain
open Simulation.Scheduler
open Simulation.Words
open Simulation.Judge

let private isOver (known: Known) = known.OverAt.IsSome || known.IsRemoved

/// A request has reached a node.
let arrived (judge: Judge) browser (tokens: Token list) =
    let visitor = judge.Visit(browser, tokens)

    let keys =
        [ for token in tokens do
              match judge.Find token.Id with
              | null -> ()
              | known ->
                  visitor.Marks <- known.Marks

                  match known.Keys.TryGetValue token.Hash with
                  | true, key -> key
                  | false, _ -> () ]

    visitor.IsLate <- not keys.IsEmpty && keys |> List.forall (fun key -> key.ReplacedAt.IsSome || key.DeadAt.IsSome)
    visitor

let private isStored (op: Op) = not (isNull op.StoredIn)

/// Of a sign-in that was acknowledged: no more of its subject live than may.
let private checkLimit (judge: Judge) (setup: Setup) (now: DateTimeOffset) subject =
    match setup.Settings.MaxSessionsPerSubject with
    | None -> ()
    | Some most ->
        let isOverdue (known: Known) =
            match Lifecycle.deadline judge.Policy known.State with
            | ValueSome(struct (_, at)) -> at <= now + judge.Slack
            | ValueNone -> true

        let acknowledged =
            judge.Sessions.FindAll(fun known ->
                known.IsLive
                && known.Subject = Some subject
                && not (isOverdue known)
                && not (isNull known.SignedInBy)
                && known.SignedInBy.Told = Done)

        let names = String.Join(", ", Seq.map (fun (known: Known) -> known.Name) acknowledged)

        judge.Must(
            $"15 {acknowledged.Count} sessions of {subject} live, and {most} may: {names}",
            acknowledged.Count <= most
        )

let private checkElevations (judge: Judge) (id: string) =
    match judge.Find id with
    | null -> ()
    | known ->
        let ofHere = judge.Ops.FindAll(fun op -> (op.Kind.IsElevate || op.Kind.IsSignIn) && op.Visitor.IsOf id)

        let ofHere = ofHere.FindAll(fun op -> op.Number <> known.First)
        let least = ofHere.FindAll(fun op -> (op.Told = Done || op.Told = Partly) && op.Session = id).Count
        let most = ofHere.FindAll(fun op -> op.MayBeStored).Count

        judge.Must(
            $"18 {known.Name} was elevated {known.Elevations} times, and it was said {least} to {most} times",
            least <= known.Elevations && known.Elevations <= most
        )

/// An operation has its answer. `id`: the session that the request has then; `read`: what it read or was given back.
let answered
    (judge: Judge)
    (setup: Setup)
    (now: DateTimeOffset)
    (op: Op)
    told
    (id: string option)
    (read: int list option)
    =
    op.Told <- told
    op.ToldAt <- judge.Now
    let visitor = op.Visitor

    match op.Kind with
    | Add
    | Save
    | Begin
    | SignIn _
    | AddTo _ ->
        let isGone () =
            match id with
            | Some id -> (judge.Find id).ResetAt >= op.BegunAt
            | None -> true

        judge.Must(
            $"18 operation {op.Number} was acknowledged, and is not stored",
            (told <> Done && told <> Partly) || isStored op || (not (op.Kind = Begin) && isGone ())
        )

        judge.Must($"18 operation {op.Number} was refused, and is stored", told <> Refused || not (isStored op))
    | Look
    | Elevate
    | SignOut
    | Reload
    | End _
    | EndAll _
    | EndEvery -> ()

    match op.Kind, told, id with
    | SignIn subject, Done, Some id ->
        op.Session <- id

        // Stored and ended by one write: of its data nothing is left.
        judge.Must(
            $"17 the sign-in {op.Number} was stored in another session",
            op.StoredIn = id || (isNull op.StoredIn && (judge.Find id).ResetAt >= op.BegunAt)
        )

        judge.Must(
            $"13 a superseded token's request {visitor.Number} was given a sign-in",
            not visitor.IsLate || not (visitor.Tokens |> List.exists (fun token -> token.Id = id))
        )

        checkLimit judge setup now subject
    | Elevate, (Done | Partly), Some id ->
        op.Session <- id

        judge.Must(
            $"13 a superseded token's request {visitor.Number} was given an elevation",
            not visitor.IsLate || List.contains id visitor.Born
        )

        checkElevations judge id
    | Elevate, Refused, _ -> visitor.Tokens |> List.iter (fun token -> checkElevations judge token.Id)
    // Whoever was told before that the session from before may live has to look again.
    | SignOut, Done, _ when visitor.MayHaveLost -> ()
    | SignOut, Done, _ ->
        for token in visitor.Tokens do
            match judge.Find token.Id with
            | null -> ()
            | known ->
                match known.Keys.TryGetValue token.Hash with
                | true, key ->
                    judge.Must(
                        $"14 signed out of {known.Name}, and its token opens it",
                        isOver known || key.DeadAt.IsSome
                    )
                | false, _ -> ()

        for number in visitor.Done do
            let other = judge.Ops[number]

            match other.StoredIn with
            | null -> ()
            | id when List.contains id visitor.Born && other.ToldAt < op.BegunAt && not visitor.MayHaveLost ->
                let known = judge.Find id
                judge.Must($"14 signed out, and {known.Name} of the same request lives", isOver known)
            | _ -> ()
    // Whoever asks for a new session leaves the one before: it ends.
    | Begin, Done, _ ->
        match visitor.Tokens with
        | [ token ] when visitor.Born.Length = 1 ->
            match judge.Find token.Id with
            | null -> ()
            | known ->
                match known.Keys.TryGetValue token.Hash with
                | true, key ->
                    judge.Must(
                        $"14 request {visitor.Number} began anew, and {known.Name} lives",
                        isOver known || key.DeadAt.IsSome || key.ReplacedAt.IsSome
                    )
                | false, _ -> ()
        | _ -> ()
    | Reload, Done, Some id when read.IsSome && not visitor.IsElevating ->
        match visitor.Tokens with
        | [ token ] when token.Id = id ->
            match (judge.Find id).Keys.TryGetValue token.Hash with
            | true, key ->
                let isDead = key.DeadAt.IsSome && key.DeadAt.Value < op.BegunAt && key.ReplacedAt.IsNone

                judge.Must(
                    $"5 request {visitor.Number} reads on in {judge.NameOf id}, which was elevated meanwhile",
                    not isDead
                )
            | false, _ -> ()
        | _ -> ()
    | End id, Done, _ ->
        match judge.Find id with
        | null -> ()
        | known -> judge.Must($"14 {known.Name} was ended by id, and lives", isOver known)
    | EndAll subject, Done, _ ->
        for known in judge.Sessions do
            if known.Subject = Some subject && max known.Since known.OwnedAt < op.BegunAt then
                judge.Must($"15 all of {subject} were ended, and {known.Name} lives", isOver known)
    | EndEvery, Done, _ ->
        for known in judge.Sessions do
            if known.BornAt < op.BegunAt then
                judge.Must($"15 everybody was ended, and {known.Name} lives", isOver known)
    | _ -> ()

    match op.Kind, told, id, read with
    | (Look | Add | Save | Reload), Done, Some id, Some read ->
        for mark in read do
            let where = judge.Ops[mark].StoredIn

            judge.Must(
                $"17 request {visitor.Number} read operation {mark} of another session",
                isNull where || where = id
            )

        let own =
            visitor.Done
            |> List.filter (fun number ->
                let other = judge.Ops[number]
                other.StoredIn = id && other.ToldAt < op.BegunAt && (other.Kind.IsAdd || other.Kind.IsSave))

        let isReset =
            match read with
            | first :: _ -> judge.Ops[first].Kind.IsSignIn && not (List.contains first visitor.Marks)
            | [] -> false

        if not isReset then
            for before in own do
                judge.Must(
                    $"9 request {visitor.Number} does not find its own operation {before}",
                    List.contains before read
                )

            if visitor.Tokens.Length = 1 && visitor.Tokens.Head.Id = id then
                for mark in visitor.Marks do
                    judge.Must(
                        $"9 request {visitor.Number} does not find operation {mark} from before",
                        List.contains mark read
                    )
    | _ -> ()

    match op.Kind, told, read with
    | Add, Done, Some read ->
        judge.Must($"9 operation {op.Number} is not in its own answer", List.contains op.Number read)
    | _ -> ()

    if told = Done then
        visitor.Done <- op.Number :: visitor.Done

/// A token has let a request in: whether it may.
let letIn (judge: Judge) (setup: Setup) (visitor: Visitor) (token: Token) =
    match judge.Find token.Id with
    | null -> judge.Fail $"11 request {visitor.Number} was let in to a session that never was"
    | known ->
        let arrivedAt, slack = visitor.ArrivedAt, judge.Slack

        match known.Keys.TryGetValue token.Hash with
        | false, _ -> judge.Fail $"11 a guess has let request {visitor.Number} in to {known.Name}"
        | true, key ->
            match known.OverAt with
            | ValueSome at ->
                judge.Must($"6 {known.Name} was over, and let request {visitor.Number} in", at >= arrivedAt)
            | ValueNone -> ()

            match key.DeadAt with
            | ValueSome at ->
                judge.Must(
                    $"5 token {key.Number} of {known.Name} was dead, and let request {visitor.Number} in",
                    at >= arrivedAt
                )
            | ValueNone -> ()

            match key.ReplacedAt with
            | ValueSome at ->
                judge.Must(
                    $"13 token {key.Number} of {known.Name} let request {visitor.Number} in after its grace",
                    arrivedAt <= at + setup.Settings.RotationGrace + slack
                )
            | ValueNone -> ()

            judge.Must(
                $"2 {known.Name} let request {visitor.Number} in after its absolute timeout",
                arrivedAt <= known.Since + setup.Settings.AbsoluteTimeout + slack
            )

            // A request that was let in and has not been answered yet counts, too.
            let unanswered = setup.Settings.RequestTimeout * 4.0 + TimeSpan.FromMinutes 2L

            judge.Must(
                $"8 {known.Name} let request {visitor.Number} in after its idle timeout",
                arrivedAt <= known.ActiveAt + setup.Settings.IdleTimeout + slack + unanswered
            )

            if not visitor.IsLate then
                known.ActiveAt <- max known.ActiveAt arrivedAt

/// What the headers of a response do to the browser's cookie.
type Cookie =
    | Untouched
    | Cleared
    | Handed of Token

let handed (judge: Judge) (visitor: Visitor) (cookie: Cookie) =
    match cookie with
    | Untouched -> ()
    | Handed token ->
        judge.Must(
            $"17 request {visitor.Number} is handed a token of {judge.NameOf token.Id}, another's",
            visitor.IsOf token.Id
        )

        match judge.Find token.Id with
        | null -> judge.Fail $"17 request {visitor.Number} is handed a token of no session"
        | known ->
            match known.Keys.TryGetValue token.Hash with
            | true, key ->
                // It may have died while the headers were written, and not before.
                judge.Must(
                    $"17 request {visitor.Number} is handed token {key.Number} of {known.Name}, which was dead when it came",
                    key.DeadAt.IsNone || key.DeadAt.Value >= visitor.ArrivedAt
                )
            // It came and went in one write, with the end.
            | false, _ ->
                judge.Must(
                    $"17 request {visitor.Number} is handed a token that {known.Name} does not have",
                    known.OverAt.IsSome && known.OverAt.Value >= visitor.ArrivedAt
                )
    // Of several whichever was the user's.
    | Cleared when visitor.Tokens.Length > 1 || visitor.MayHaveLost -> ()
    | Cleared ->
        for token in visitor.Tokens do
            match judge.Find token.Id with
            | null -> ()
            | known ->
                let isOpen =
                    match known.Keys.TryGetValue token.Hash with
                    | true, key -> key.DeadAt.IsNone
                    | false, _ -> false

                judge.Must($"17 the cookie of {known.Name} is taken, and it lives", isOver known || not isOpen)
