/// Breadth first through all that can happen, each world once: worlds that differ in the names of their secrets, in
/// the absolute time or in absolute version numbers are one. The shortest way to a broken invariant is told as a story.
module internal Properties.Search

open System
open System.Collections.Concurrent
open System.Collections.Generic
open System.Diagnostics
open System.Threading
open System.Threading.Tasks
open Session.Domain
open Session.Engine
open Properties.Histories
open Properties.Worlds

// ------------------------------------------------------------------------------------------------ a world as bytes

/// One per thread. Secrets and writes are named in the order in which they are met.
[<Sealed>]
type Encoder() =
    let bytes = Array.zeroCreate<byte> 8192
    let mutable length = 0
    let secrets, writes, requests = Array.zeroCreate<byte> 256, Array.zeroCreate<byte> 256, Array.zeroCreate<byte> 256
    let mutable secretCount, writeCount, requestCount = 0uy, 0uy, 0uy
    // No request that may still be judged arrived before.
    let mutable earliest = DateTimeOffset.MinValue

    let byteOf (n: int) =
        bytes[length] <- byte n
        length <- length + 1

    let flag (value: bool) = byteOf (if value then 1 else 0)

    let nameOf (table: byte[]) (count: byref<byte>) n =
        if n <= 0 then
            byteOf (if n = 0 then 0 else 255)
        else
            if table[n] = 0uy then
                count <- count + 1uy
                table[n] <- count

            byteOf (int table[n])

    let secretOf n = nameOf secrets &secretCount n
    let writeOf n = nameOf writes &writeCount n
    let requestOf n = nameOf requests &requestCount n
    let hashOf (hash: SecretHash) = secretOf (numberOf hash)

    let timeOf (now: DateTimeOffset) (time: DateTimeOffset) =
        byteOf (int ((time.Ticks - now.Ticks) / (TimeSpan.TicksPerMinute / 2L)) + 100)

    // Until when an old token worked matters to requests that arrived before.
    let untilOf now (until: DateTimeOffset) = if until <= earliest then byteOf 0 else timeOf now until

    let optional now time =
        match time with
        | Some time -> timeOf now time
        | None -> byteOf 0

    let live now (slot: Slot) (live: Live) =
        timeOf now live.CreatedAt
        optional now live.AuthenticatedAt
        timeOf now live.LastSeen
        timeOf now live.SecretSince
        flag live.Subject.IsSome
        byteOf (if live.Data.Length = 0 then 200 else int live.Data[0] - slot.Updates + 100)

        // Numbers of changes matter by their distance from those of the stored record.
        match anyLive slot.State with
        | ValueSome stored ->
            byteOf (int (stored.Revision - live.Revision) + 100)
            byteOf (stored.Elevations - live.Elevations + 100)
        | ValueNone ->
            byteOf (int live.Revision)
            byteOf live.Elevations

        hashOf live.Secret
        byteOf live.Superseded.Length

        for old in live.Superseded do
            hashOf old.Secret
            byteOf ((if old.ByRenewal then 1 else 0) + (if old.Reported then 2 else 0))

            if old.ByRenewal && not old.Reported then
                untilOf now old.Until

    let state now slot state =
        match state with
        | Absent -> byteOf 0
        | Created it ->
            byteOf 1
            live now slot it
        | Active it ->
            byteOf 2
            live now slot it
        | Regenerated(it, Renewal.Issued(secrets, at)) ->
            byteOf 3
            live now slot it
            timeOf now at
            byteOf secrets.Length
            List.iter hashOf secrets
        | Regenerated(it, Confirmed(predecessor, until)) ->
            byteOf 4
            live now slot it
            timeOf now until
            hashOf predecessor
        | Destroyed(it, reason, at) ->
            byteOf (
                match reason with
                | SignedOut -> 5
                | Revoked -> 6
                | Replayed -> 7
                | Limit -> 8
            )

            live now slot it
            timeOf now at
        | Expired(it, kind, at, told) ->
            byteOf (
                match kind with
                | Unconfirmed -> 9
                | Idle -> 10
                | Absolute -> 11
            )

            live now slot it
            timeOf now at
            flag told

    let fateOf now fate =
        match fate with
        | Holds -> byteOf 1
        | Waits -> byteOf 2
        | Leaves until ->
            byteOf 3
            timeOf now until
        | Replaced(_, true) -> byteOf 4
        | Replaced(until, false) ->
            byteOf 5
            untilOf now until
        | Killed -> byteOf 6
        | Lost -> byteOf 7

    /// What the naive world knows. A dead secret that no state, browser or request knows is as good as a guess.
    let known now (known: World) =
        flag known.IsOver

        match known.Life with
        | Some life ->
            timeOf now life.Born
            optional now life.SignedInAt
            timeOf now life.Seen
            flag life.Claimed
            flag life.Subject.IsSome
        | None -> byteOf 0

        if not known.IsOver then
            timeOf now known.HeldSince

            if known.Fates |> Map.exists (fun _ fate -> fate = Waits) then
                timeOf now known.IssuedAt

        let named = known.Fates |> Seq.filter (fun pair -> secrets[pair.Key] <> 0uy) |> Seq.toArray
        Array.sortInPlaceBy (fun (pair: KeyValuePair<int, Fate>) -> secrets[pair.Key]) named

        for pair in named do
            byteOf (int secrets[pair.Key])
            fateOf now pair.Value

        for pair in known.Fates do
            if secrets[pair.Key] = 0uy then
                match pair.Value with
                | Holds
                | Waits
                | Leaves _ ->
                    secretOf pair.Key
                    fateOf now pair.Value
                | Replaced _
                | Killed
                | Lost -> ()

    let write now (slot: Slot) (write: Write<Out>) =
        writeOf (int write.Operation)
        let distance = slot.Version - int write.Before.Version
        byteOf (distance + 100)

        // One that comes too late will never be taken, nor found: what it says is all the same.
        if distance = 0 || int64 slot.Op = write.Operation then
            timeOf now write.At
            state now slot write.After.State
            flag (write.Events |> List.exists _.IsWasSeen)
            flag (write.Events |> List.exists _.IsWasWritten)
            timeOf now (if write.Before.Version = 0L then now else write.Before.StoredLastSeen)

    let sent now (slot: Slot) (sent: Sent) =
        requestOf sent.Author
        byteOf (sent.Turn * 4 + (if sent.ByOld then 1 else 0) + (if sent.IsAffirming then 2 else 0))
        byteOf sent.Target
        secretOf sent.Token
        write now slot sent.Write

    let optionalWrite now slot it =
        match it with
        | ValueSome it -> write now slot it
        | ValueNone -> byteOf 255

    let request now (world: Whole) (request: Request) =
        let slot = world.Slots[request.Target]
        requestOf request.Key

        byteOf (
            match request.Who with
            | Browser i -> i
            | Thief -> 10
            | Sweeper -> 11
            | Operator -> 12
        )

        byteOf request.Node
        byteOf (goalCode request.Goal * 16 + callCode request.Call)
        byteOf (request.Home * 16 + request.Target)
        secretOf request.Issued
        flag request.IsRenewal

        if request.Call <> Answering then
            secretOf request.Token
            secretOf request.Next
            timeOf now request.ArrivedAt
            byteOf request.Turn
            flag request.IsInDoubt
            flag request.Fails
            flag request.IsUnfinished
            byteOf request.Promised
            byteOf request.Todo.Length
            List.iter byteOf request.Todo
            byteOf request.Taken.Length

            for taken in request.Taken do
                writeOf taken.Op

            match request.Got with
            | ValueSome got ->
                byteOf (slot.Version - int got.Version + 100)
                state now slot got.State
                timeOf now (if got.Version = 0L then now else got.StoredLastSeen)
            | ValueNone -> byteOf 0

            if request.Call = Doing || request.Call = Counting then
                let home = world.Slots[request.Home]
                hashOf request.Grant.Secret
                flag request.Grant.ByPredecessor

                match anyLive home.State with
                | ValueSome stored ->
                    byteOf (stored.Elevations - request.Grant.Elevations + 100)
                    byteOf (int (stored.Revision - request.Revision) + 100)
                | ValueNone ->
                    byteOf request.Grant.Elevations
                    byteOf (int request.Revision)

                byteOf (request.Read - home.Updates + 100)

            match request.Ask with
            | Swap it -> write now slot it
            | Load -> byteOf 254
            | Finish _ -> byteOf 253

            let run = request.Run
            byteOf run.Attempt
            flag run.Failure.IsSome
            optionalWrite now slot run.Affirms
            byteOf run.Pending.Length

            for pending in run.Pending do
                write now slot pending

    member private _.Clear() =
        length <- 0
        secretCount <- 0uy
        writeCount <- 0uy
        requestCount <- 0uy
        Array.Clear secrets
        Array.Clear writes
        Array.Clear requests

    member private _.Print() : UInt128 =
        // Two independent 64-bit hashes: two of ten million worlds share both with a chance of 10^-24.
        let mutable a, b = 0x9E3779B97F4A7C15UL ^^^ uint64 length, 0xC2B2AE3D27D4EB4FUL
        let mutable i = 0
        Array.Clear(bytes, length, 8)

        while i < length do
            let word = BitConverter.ToUInt64(bytes, i)
            a <- (a ^^^ word) * 0x9FB21C651E98DF25UL
            a <- a ^^^ (a >>> 29)
            b <- Numerics.BitOperations.RotateLeft((b + word) * 0xD6E8FEB86659FD93UL, 31)
            b <- b ^^^ (b >>> 33)
            i <- i + 8

        let finish (x: uint64) =
            let x = (x ^^^ (x >>> 32)) * 0xD6E8FEB86659FD93UL
            let x = (x ^^^ (x >>> 32)) * 0xD6E8FEB86659FD93UL
            x ^^^ (x >>> 32)

        UInt128(finish a, finish b)

    member encoder.PrintOf(world: Whole) : UInt128 =
        encoder.Clear()
        let now = nowOf world
        let behind = Array.min world.Variant.Skews
        earliest <- time world.Variant.Scope (world.Now + min 0 behind)

        for request in world.Running do
            if request.Call = Presenting && request.ArrivedAt < earliest then
                earliest <- request.ArrivedAt

        byteOf world.RequestsLeft
        byteOf world.TicksLeft
        byteOf world.FaultsLeft
        flag world.IsTainted

        for i in 0 .. world.Slots.Length - 1 do
            let slot = world.Slots[i]
            flag (slot.Version > 0)
            state now slot slot.State
            writeOf slot.Op
            flag slot.IsAcked
            secretOf world.Jars[i]

        for it in world.Running do
            request now world it

        byteOf world.Late.Length

        for late in world.Late do
            byteOf late.Of
            secretOf late.Carries
            flag (late.Since < world.Now)

        byteOf world.Net.Length

        for it in world.Net do
            sent now world.Slots[it.Target] it

        for slot in world.Slots do
            known now slot.Known

        encoder.Print()

    /// A decision, for those who look at each only once.
    member encoder.PrintOf
        (policy: Policy, before: State, now: DateTimeOffset, command: Command, learnt: World)
        : UInt128 =
        encoder.Clear()
        earliest <- DateTimeOffset.MinValue

        let slot =
            { State = before
              Version = 1
              Op = 0
              Known = learnt
              Updates = 0
              IsAcked = false }

        flag (policy.OnReplay = RefuseToken)
        state now slot before
        let stored = anyLive before

        let grantOf (grant: Grant) =
            hashOf grant.Secret
            flag grant.ByPredecessor
            timeOf now grant.ArrivedAt

            byteOf (
                match stored with
                | ValueSome live -> live.Elevations - grant.Elevations + 100
                | ValueNone -> grant.Elevations
            )

        match command with
        | Create(secret, subject, _) ->
            byteOf 1
            hashOf secret
            flag subject.IsSome
        | Present(secret, arrivedAt) ->
            byteOf 2
            hashOf secret
            timeOf now arrivedAt
        | Write(_, revision, grant) ->
            byteOf 3

            match revision, stored with
            | None, _ -> byteOf 0
            | Some revision, ValueSome live -> byteOf (int (live.Revision - revision) + 100)
            | Some revision, ValueNone -> byteOf (int revision)

            Option.iter grantOf grant
        | SignIn(_, _, next, grant) ->
            byteOf 5
            hashOf next
            grantOf grant
        | Elevate(next, data, grant) ->
            byteOf 6
            hashOf next
            flag data.IsSome
            grantOf grant
        | Renew(next, grant) ->
            byteOf 7
            hashOf next
            grantOf grant
        | Destroy(_, grant) ->
            byteOf 8
            Option.iter grantOf grant
        | Expire -> byteOf 9
        | Tell -> byteOf 10
        | Leave -> byteOf 11

        known now learnt
        encoder.Print()

// ------------------------------------------------------------------------------------------------------- the search

[<Struct>]
type private Node = { World: Whole; Print: UInt128 }

type Found =
    {
        Invariant: int
        What: string
        /// The worlds on the way, as prints, and the last one, in which it breaks.
        Way: UInt128 list
    }

type Outcome =
    { Variant: Variant
      States: int
      Transitions: int64
      Depth: int
      Decisions: int
      Seconds: float
      Peak: int
      Truncated: bool
      Found: Found option }

/// A set of prints in parts, each with its lock, and where each was reached from.
[<Sealed>]
type private Visited() =
    let parts = Array.init 256 (fun _ -> Dictionary<UInt128, UInt128>())

    member _.TryAdd(print: UInt128, from: UInt128) =
        let part = parts[int (uint64 print &&& 255UL)]
        lock part (fun () -> part.TryAdd(print, from))

    member _.From(print: UInt128) = parts[int (uint64 print &&& 255UL)][print]
    member _.Count = parts |> Array.sumBy _.Count

let private threads = max 1 (min 8 Environment.ProcessorCount)

let private encoders = new ThreadLocal<Encoder>(fun () -> Encoder())

/// Explores a scope to its end, or to the first broken invariant. `each`: asked of every decision, once.
let explore (variant: Variant) (most: int) (each: Step -> unit) : Outcome =
    let clock = Stopwatch.StartNew()
    let visited = Visited()
    let decisions = Visited()
    let mutable transitions = 0L
    let mutable found: (int * int * string * UInt128) option = None
    let guard = obj ()

    inspectWith (fun policy before now command known ->
        if decisions.TryAdd(encoders.Value.PrintOf(policy, before, now, command, known), UInt128.Zero) then
            let answer = Lifecycle.decide policy now command before
            let events = Result.defaultValue [] answer

            each
                { Policy = policy
                  Before = before
                  At = now
                  Command = command
                  Answer = answer
                  After = List.fold Lifecycle.evolve before events
                  Known = known
                  Learnt = List.fold (learn now) known events })

    let checkAll (world: Whole) =
        for slot in world.Slots do
            if slot.Version > 0 then
                checkSlot world slot

        checkJar world

    let first = start variant
    let root = encoders.Value.PrintOf first
    visited.TryAdd(root, UInt128.Zero) |> ignore
    let mutable frontier = [| { World = first; Print = root } |]
    let mutable depth = 0
    let mutable peak = 1
    let mutable truncated = false

    let breaks invariant what print =
        lock guard (fun () ->
            match found with
            | None -> found <- Some(invariant, depth, what, print)
            | Some _ -> ())

    (try
        checkAll first
     with Broken(invariant, what) ->
         breaks invariant what root)

    while frontier.Length > 0 && found.IsNone do
        depth <- depth + 1
        let next = Array.init threads (fun _ -> List<Node>())
        let taken = ref 0
        let chunk = max 16 (min 512 (frontier.Length / (threads * 8)))

        let work thread =
            let encoder = encoders.Value
            let mine = next[thread]
            let mutable count = 0L
            let mutable more = true

            while more do
                let from = Interlocked.Add(taken, chunk) - chunk

                if from >= frontier.Length || found.IsSome then
                    more <- false
                else
                    for i in from .. min frontier.Length (from + chunk) - 1 do
                        let node = frontier[i]

                        try
                            moves
                                (fun _ (after: Whole) ->
                                    count <- count + 1L
                                    let print = encoder.PrintOf after

                                    if visited.TryAdd(print, node.Print) then
                                        try
                                            // What did not change was looked at before.
                                            if after.Now <> node.World.Now then
                                                checkAll after
                                            else
                                                for i in 0 .. after.Slots.Length - 1 do
                                                    if
                                                        not (obj.ReferenceEquals(after.Slots[i], node.World.Slots[i]))
                                                        && after.Slots[i].Version > 0
                                                    then
                                                        checkSlot after after.Slots[i]

                                                checkJar after

                                            mine.Add { World = after; Print = print }
                                        with Broken(invariant, what) ->
                                            breaks invariant what print)
                                node.World
                        with Broken(invariant, what) ->
                            breaks invariant what node.Print

            Interlocked.Add(&transitions, count) |> ignore

        Parallel.For(0, threads, ParallelOptions(MaxDegreeOfParallelism = threads), work) |> ignore

        frontier <- next |> Array.map _.ToArray() |> Array.concat
        peak <- max peak frontier.Length

        if visited.Count > most then
            truncated <- frontier.Length > 0
            frontier <- [||]

    inspectWith (fun _ _ _ _ _ -> ())

    let way print =
        let rec back print way = if print = UInt128.Zero then way else back (visited.From print) (print :: way)
        back print []

    { Variant = variant
      States = visited.Count
      Transitions = transitions
      Depth = depth
      Decisions = decisions.Count
      Seconds = clock.Elapsed.TotalSeconds
      Peak = peak
      Truncated = truncated
      Found =
        found
        |> Option.map (fun (invariant, _, what, print) -> { Invariant = invariant; What = what; Way = way print }) }

// -------------------------------------------------------------------------------------------------------- the story

let private whoOf request =
    match request.Who with
    | Browser 0 -> "Browser A"
    | Browser _ -> "Browser B"
    | Thief -> "The thief"
    | Sweeper -> "The sweeper"
    | Operator -> "The operator"

let private goalOf goal =
    match goal with
    | Look -> "reads"
    | Update -> "updates the data"
    | Save -> "saves what it has read"
    | ToSignIn -> "signs in as ada"
    | ToElevate -> "asks for more rights"
    | SignOut -> "signs out"

let private callOf request =
    match request.Call with
    | Presenting -> $"presents token {request.Token}"
    | Inserting -> "begins a session"
    | Doing -> goalOf request.Goal
    | Ending -> $"ends session {request.Target + 1}"
    | Expiring -> $"looks whether session {request.Target + 1} has expired"
    | Telling -> $"tells of the end of session {request.Target + 1}"
    | Removing -> $"removes session {request.Target + 1}"
    | Counting
    | Listing -> "lists the sessions of ada"
    | Answering -> "answers"

let private by (request: Request) =
    $"node {request.Node + 1} ({whoOf request}, request {request.Key}, {callOf request})"

let private opening (before: Whole) (request: Request) =
    if before.Running |> List.exists (fun other -> other.Key = request.Key) then
        by request
    else
        match request.Who with
        | Browser _
        | Thief when request.Call = Presenting ->
            $"{whoOf request} {goalOf request.Goal} with token {request.Token} (request {request.Key}) at node {request.Node + 1}, which"
        | _ -> $"{whoOf request} {callOf request} (request {request.Key}) at node {request.Node + 1}, which"

let private sentence (before: Whole) move (after: Whole) =
    let minted (request: Request) = if request.Next > 0 then $" (token {request.Next})" else ""

    match move with
    | Tick when after.Variant.Scope.Halves -> $"Half a minute passes: it is minute {float after.Now / 2.0}"
    | Tick -> $"A minute passes: it is minute {after.Now}"
    | Arrives request -> $"{opening before request} gets the request"
    | Loads request -> $"{opening before request} loads version {before.Slots[request.Target].Version}"
    | DoesNotLoad(request, what) -> $"{opening before request} cannot load: {what ()}"
    | Decides(request, what) -> $"{opening before request} decides: {what ()}"
    | Writes(request, fate, what) -> $"{opening before request} writes{minted request}; {fate}. {what ()}"
    | Lists(request, what) -> $"{opening before request} lists the sessions of ada: {what ()}"
    | Removes request -> $"{opening before request} removes the record"
    | Arrived(_, taken) ->
        $"""The late write arrives: {(if taken then "it is taken" else "its version is taken already")}"""
    | Crashes request -> $"{by request} crashes"
    | Answers(request, false) -> $"the answer to request {request.Key} hands over no token: it stands no more"
    | Answers(request, true) ->
        match request.Issued with
        | -1 -> $"{whoOf request} gets the answer to request {request.Key}: no token any more"
        | token -> $"{whoOf request} gets the answer to request {request.Key}: token {token}"
    | AnswerLost request -> $"the answer to request {request.Key} is lost"
    | AnswerWaits request ->
        $"the headers of the answer to request {request.Key} are written, with token {request.Issued}: it is slow"
    | AnswerComes late -> $"the slow answer with token {late.Carries} comes"

/// The way to the broken invariant, walked again and told.
let story (outcome: Outcome) (found: Found) =
    let encoder = Encoder()
    let world = ref (start outcome.Variant)
    let lines = List<string>()
    let tell before move after = lines.Add $"{lines.Count + 1}. {sentence before move after}"

    for print in List.tail found.Way do
        let before = world.Value
        let mutable told = false

        try
            moves
                (fun move after ->
                    if not told && encoder.PrintOf after = print then
                        told <- true
                        tell before move after
                        world.Value <- after)
                before
        with Broken _ ->
            ()

    // What breaks in a move, rather than in a world, breaks in the next one.
    let mutable breaks = None
    isTelling <- true

    try
        moves (fun _ _ -> ()) world.Value
    with Broken _ ->
        breaks <- trying

    isTelling <- false

    let states =
        [ for i in 0 .. world.Value.Slots.Length - 1 do
              $"   session {i + 1} is {stateName world.Value.Slots[i].State}, version {world.Value.Slots[i].Version}; its browser has token {world.Value.Jars[i]}" ]

    [ yield! lines
      match breaks with
      | Some request -> $"{lines.Count + 1}. {opening world.Value request} goes on, and breaks it"
      | None -> ()
      yield! states
      $"   Invariant {found.Invariant} is broken: {found.What}" ]
