/// The naive model: what is known of every session by the writes that the store has accepted, and what no accepted write
/// may do. In its own words: nothing here asks the lifecycle what it would decide.
module Simulation.Judge

open System
open System.Collections.Generic
open Session.Domain
open Session.Engine
open Simulation.Scheduler
open Simulation.Words

[<Sealed>]
type Judge(scheduler: Scheduler, setup: Setup) =
    let policy = Session.AspNetCore.SessionSettings.toEngine(setup.Settings).Policy
    let sessions = Dictionary<string, Known>(StringComparer.Ordinal)
    let inOrder = List<Known>()
    let ops = List<Op>()
    let visitors = List<Visitor>()
    let mutable failure: string option = None
    // What two clocks can differ by, and what a store's time is kept to.
    let slack = setup.Skew + setup.Skew + TimeSpan.FromMilliseconds 10L
    let lease = TimeSpan.FromMinutes 2L

    let liveOf state = Lifecycle.liveOf state

    let anyOf state =
        match state with
        | Created live
        | Active live
        | Regenerated(live, _)
        | Destroyed(live, _, _)
        | Expired(live, _, _, _) -> Some live
        | Absent -> None

    /// The secrets that a record accepts, as the record says it.
    let accepted state =
        match state with
        | Created live
        | Active live -> [ live.Secret ]
        | Regenerated(live, Issued(secrets, _)) -> live.Secret :: secrets
        | Regenerated(live, Confirmed(predecessor, _)) -> [ live.Secret; predecessor ]
        | Absent
        | Destroyed _
        | Expired _ -> []

    let isPrefix (short: int list) (long: int list) =
        short.Length <= long.Length && List.forall2 (=) short (List.truncate short.Length long)

    member _.Now = scheduler.Now
    member _.Policy = policy
    member _.Slack = slack
    member _.Sessions = inOrder
    member _.Ops = ops
    member _.Visitors = visitors

    /// The first failure counts. It is raised after the step: whoever is asked now may be inside what catches it.
    member _.Fail(what: string) =
        if failure.IsNone then
            failure <- Some what
            scheduler.Tell $"BROKEN {what}"

    member judge.Must(what: string, isTrue: bool) =
        if not isTrue then
            judge.Fail what

    member _.Check() =
        match failure with
        | Some what -> broken what
        | None -> ()

    member _.Find(id: string) : Known =
        match sessions.TryGetValue id with
        | true, known -> known
        | false, _ -> null

    member judge.NameOf(id: string) =
        match judge.Find id with
        | null -> "?" + id
        | known -> known.Name

    member _.Visit(browser, tokens) =
        let visitor = Visitor(visitors.Count + 1, browser, tokens, scheduler.Now)
        visitors.Add visitor
        visitor

    member _.Begin(visitor, kind) =
        let op = Op(ops.Count, visitor, kind, scheduler.Now)
        ops.Add op
        op

    // ------------------------------------------------------------------------------- what a write may do

    /// Numbers that were not there before: each of an operation that asked for it here, and once.
    member private judge.CheckMarks(known: Known, live: Live) =
        let before, after = known.Marks, marksOf live.Data

        let added = if isPrefix before after then List.skip before.Length after else after

        let isAnew = not (isPrefix before after)

        if isAnew then
            match after with
            | first :: _ when ops[first].Kind.IsSignIn && isNull ops[first].StoredIn ->
                // Whatever was stored by the same write before it is gone with it.
                known.ResetAt <- scheduler.Now
            | _ -> judge.Fail $"9 an update was lost: {known.Name} had %A{before}, and has %A{after}"

        for mark in added do
            let op = ops[mark]
            judge.Must($"9 operation {mark} is counted twice in {known.Name}", isNull op.StoredIn)
            judge.Must($"18 operation {mark} was refused, and is stored in {known.Name} all the same", op.MayBeStored)

            let isHere =
                match op.Kind with
                | AddTo id -> id = known.Id
                | _ -> op.Visitor.IsOf known.Id

            judge.Must($"17 operation {mark} of request {op.Visitor.Number} wrote to {known.Name}, another's", isHere)
            op.StoredIn <- known.Id

            match op.Kind with
            | SignIn subject ->
                if known.Subject <> Some subject then
                    known.OwnedAt <- scheduler.Now

                known.Subject <- Some subject
                known.SignedInBy <- op
            | _ -> ()

        if known.First < 0 then
            known.First <- List.head after

        known.Marks <- after
        judge.Must($"12 the subject of {known.Name} is not the one who signed in", (live.Subject = known.Subject))
        added |> List.exists (fun mark -> ops[mark].Kind.IsSignIn)

    member private judge.CheckKeys(known: Known, before: State, after: State) =
        let now = scheduler.Now
        let were, are = accepted before, accepted after

        let elevations state = liveOf state |> Option.map _.Elevations |> Option.defaultValue 0
        let isElevated = elevations after > elevations before

        if isElevated then
            for secret in are do
                judge.Must(
                    $"5 an older token opens {known.Name} after an elevation",
                    not (known.Keys.ContainsKey secret)
                )
        else
            match liveOf before, liveOf after with
            | Some before, Some live when not (before.Secret.Equals live.Secret) ->
                judge.Must($"4 {known.Name} has a token that was never issued", List.exists live.Secret.Equals were)

                for secret in are do
                    judge.Must(
                        $"4 after a renewal {known.Name} has a third token",
                        secret.Equals live.Secret || secret.Equals before.Secret
                    )
            | _ -> ()

        for secret in are do
            if not (known.Keys.ContainsKey secret) then
                known.Keys[secret] <- Key(known.Keys.Count + 1, now)

        for KeyValue(secret, key) in known.Keys do
            let isAccepted = List.exists secret.Equals are

            if not isAccepted && key.DeadAt.IsNone then
                key.DeadAt <- ValueSome now

            judge.Must($"13 token {key.Number} of {known.Name} works again", not (isAccepted && key.DeadAt.IsSome))

        match after with
        | Regenerated(_, Confirmed(predecessor, _)) when known.Keys[predecessor].ReplacedAt.IsNone ->
            known.Keys[predecessor].ReplacedAt <- ValueSome now
        | _ -> ()

        isElevated

    /// The instant at which this session ends by itself, by the times in its record.
    member private _.EndOf(recordSeen: DateTimeOffset, state: State, live: Live) =
        let seen = max live.LastSeen recordSeen
        let idle, absolute = seen + policy.Idle, defaultArg live.AuthenticatedAt live.CreatedAt + policy.Absolute

        match state with
        | Created live when live.Subject.IsNone -> min (live.CreatedAt + policy.Confirm) (min idle absolute)
        | _ -> min idle absolute

    member private judge.CheckTimes
        (known: Known, author: Visitor, record: StoredRecord, before: Live option, live: Live)
        =
        let now, name = scheduler.Time, known.Name
        judge.Must($"3 {name} was seen in the future", live.LastSeen <= now + slack)

        judge.Must(
            $"8 the index forgets {name}",
            record.DueAt <= max (judge.EndOf(record.LastSeen, known.State, live)) (now + lease) + slack
        )

        match before with
        | None -> ()
        | Some was ->
            // A touch is in the record, and not in its body.
            let seen = max was.LastSeen (nonNull known.Record).LastSeen
            judge.Must($"3 last seen of {name} went back", max live.LastSeen record.LastSeen >= seen)
            judge.Must($"2 the creation of {name} moved", (live.CreatedAt = was.CreatedAt))
            judge.Must($"9 the revision of {name} went back", live.Revision >= was.Revision)

            let isSignedIn = live.AuthenticatedAt <> was.AuthenticatedAt

            if isSignedIn then
                known.Since <- scheduler.Now

            judge.Must(
                $"2 the absolute timeout of {name} moved without a sign-in",
                not isSignedIn || live.Elevations > was.Elevations
            )

            match author with
            | null -> ()
            | author when live.Elevations = was.Elevations && author.Browser > 0 ->
                let arrived = now - (scheduler.Now - author.ArrivedAt)

                judge.Must(
                    $"8 a request that arrived earlier keeps {name} awake",
                    live.LastSeen <= max seen (arrived + slack)
                )
            | _ -> ()

    /// Whether somebody asked for the end of this session, who was not told that it did not come.
    member private _.MayEnd(known: Known, live: Live, reason: DestroyReason) =
        let asks (op: Op) =
            op.MayBeStored
            && match op.Kind, reason with
               | (SignOut | Begin | SignIn _), SignedOut -> op.Visitor.IsOf known.Id
               | End id, Revoked -> id = known.Id
               | EndAll subject, Revoked -> live.Subject = Some subject
               | EndEvery, Revoked -> true
               | _ -> false

        match reason with
        | Limit -> setup.Settings.MaxSessionsPerSubject.IsSome && live.Subject.IsSome
        | Replayed ->
            // Somebody came with an old token, when its grace was over; or may have by the clocks.
            let isLate (token: Token) arrivedAt =
                match known.Keys.TryGetValue token.Hash with
                | true, key when key.ReplacedAt.IsSome -> arrivedAt + slack >= key.ReplacedAt.Value + policy.Grace
                | _ -> false

            visitors.Exists(fun visitor ->
                not visitor.IsOver
                && visitor.Tokens |> List.exists (fun token -> token.Id = known.Id && isLate token visitor.ArrivedAt))
        | SignedOut
        | Revoked -> ops.Exists asks

    member private judge.CheckEnd
        (known: Known, record: StoredRecord, was: StoredRecord, before: State, live: Live, after: State)
        =
        let name = known.Name

        match after with
        | Destroyed(_, reason, _) ->
            judge.Must($"14 {name} was ended (%A{reason}), and nobody asked for it", judge.MayEnd(known, live, reason))
            judge.Must($"14 the end of {name} need not last", record.IsDurable)
        | Expired(_, kind, _, _) ->
            let due = judge.EndOf(known.SeenWhenRead(was, scheduler.Now), before, live)
            judge.Must($"8 {name} ended by time (%A{kind}) before its time", scheduler.Time + slack >= due)
        | _ -> ()

    /// An accepted write. `author`: whose request it is, where that is known.
    member judge.Wrote(author: Visitor, record: StoredRecord) =
        match Codec.decode record.Id record.Version record.Body with
        | Error why -> judge.Fail $"16 a stored record cannot be read: {why}"
        | Ok after ->
            let known =
                match judge.Find record.Id with
                | null ->
                    let known = Known($"s{inOrder.Count + 1}", record.Id, scheduler.Now)
                    sessions[record.Id] <- known
                    inOrder.Add known

                    match author with
                    | null -> judge.Fail $"11 {known.Name} began, and nobody asked for it"
                    | author -> author.Born <- record.Id :: author.Born

                    known
                | known -> known

            let before, was = known.State, known.Record
            let name = known.Name

            let version =
                match was with
                | null -> 0L
                | was -> was.Version

            judge.Must(
                $"3 the version of {name} went from {version} to {record.Version}",
                (record.Version = version + 1L)
            )

            judge.Must($"6 {name} came back", not known.IsRemoved)
            known.State <- after

            let elevations state = anyOf state |> Option.map _.Elevations |> Option.defaultValue 0

            match liveOf before, liveOf after with
            | _, None when before.IsAbsent -> judge.Fail $"1 {name} begins with its end"
            | earlier, Some live ->
                judge.Must($"6 {name} was over, and lives", known.OverAt.IsNone)
                let isSignedIn = judge.CheckMarks(known, live)
                let isElevated = judge.CheckKeys(known, before, after)
                judge.CheckTimes(known, author, record, earlier, live)

                if isElevated then
                    known.ActiveAt <- scheduler.Now

                let isRenewed =
                    match after with
                    | Regenerated(_, Issued(newest :: _, _)) -> (Lifecycle.standing newest before).IsUnknown
                    | _ -> false

                judge.Must(
                    $"14 a sign-in, an elevation or a renewal of {name} need not last",
                    record.IsDurable || not (isElevated || isSignedIn || isRenewed)
                )
            | Some live, None ->
                known.OverAt <- ValueSome scheduler.Now
                known.ResetAt <- scheduler.Now
                judge.CheckKeys(known, before, after) |> ignore
                judge.CheckEnd(known, record, nonNull was, before, live, after)
            | None, None ->
                let same =
                    match before, after with
                    | Destroyed(_, reason, at), Destroyed(_, reason', at') -> reason = reason' && at = at'
                    | Expired(_, kind, at, told), Expired(_, kind', at', told') ->
                        if told' && not told then
                            judge.Must($"8 the end of {name} counts as told, and nobody heard", known.Heard > 0)

                        kind = kind' && at = at' && (told' || not told)
                    | _ -> false

                judge.Must($"1 the end of {name} became another one", same)

            known.Elevations <- known.Elevations + elevations after - elevations before
            known.Record <- record
            scheduler.Tell(judge.Written(known, author, after))

    /// A line of the story.
    member private _.Written(known: Known, author: Visitor, after: State) =
        let by =
            match author with
            | null -> ""
            | author -> $" by r{author.Number}"

        let key (secret: SecretHash) = $"{known.Keys[secret].Number}"

        let state =
            match after with
            | Created _ -> "created"
            | Active _ -> "active"
            | Regenerated(_, Issued _) -> "a new token issued"
            | Regenerated(_, Confirmed _) -> "a new token confirmed"
            | Destroyed(_, reason, _) -> $"ended: %A{reason}"
            | Expired(_, kind, _, told) -> $"""over: %A{kind}{(if told then ", told" else "")}"""
            | Absent -> "absent"

        let seen =
            match anyOf after with
            | Some live -> scheduler.Sight live.LastSeen
            | None -> ""

        let keys = accepted after |> List.map key |> String.concat ","
        $"      {known.Name} version {(nonNull known.Record).Version}{by}: {state}, tokens [{keys}], seen {seen}"

    member judge.Touched(record: StoredRecord) =
        let known = judge.Find record.Id
        judge.Must($"3 {known.Name} was seen in the future", record.LastSeen <= scheduler.Time + slack)
        known.Touched(record, scheduler.Now)

    member judge.Removed(id: string) =
        match judge.Find id with
        | null -> ()
        | known ->
            known.IsRemoved <- true
            let isPast (at: DateTimeOffset) = scheduler.Time + slack >= at + policy.Retention

            match known.State with
            | Destroyed(_, _, at)
            | Expired(_, _, at, true) -> judge.Must($"6 {known.Name} is forgotten too early", isPast at)
            | Expired(_, Unconfirmed, _, false) ->
                judge.Must($"8 nobody heard of the end of {known.Name}", known.Heard > 0)
            | Expired(_, _, at, false) ->
                judge.Must($"8 nobody heard of the end of {known.Name}", known.Heard > 0 && isPast at)
            | Absent
            | Created _
            | Active _
            | Regenerated _ -> judge.Fail $"6 {known.Name} was removed alive"

            known.State <- Absent
