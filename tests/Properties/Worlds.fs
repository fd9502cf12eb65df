/// A small world around the code that ships: a store, browsers, a thief, nodes with clocks that differ, a sweeper, an
/// operator; crashes, lost answers, late writes. A request walks Protocol.next, the loop of the engine: each move is one
/// answer to what it asks. Neither the loop nor the lifecycle is modelled. Beside each session goes the naive world of
/// Histories.fs.
module internal Properties.Worlds

open System
open Session.Domain
open Session.Engine
open Properties.Histories

/// An invariant is broken. The search turns it into a story.
exception Broken of invariant: int * what: string

let require invariant what holds =
    if not holds then
        raise (Broken(invariant, what))

// ----------------------------------------------------------------------------------------------------- the bounds

type Goal =
    | Look
    | Update
    | Save
    | ToSignIn
    | ToElevate
    | SignOut

/// What is explored, completely: everything that can happen within these numbers.
type Scope =
    {
        Name: string
        /// Each load, decision and write is a move of its own, in any order; else a request's load, decision and write
        /// are one move (its answer is another).
        Fine: bool
        Sessions: int
        /// Whether a session has to be created first.
        Begins: bool
        Goals: Goal list
        Thief: bool
        Sweeper: bool
        Operator: bool
        /// Requests under way at once.
        Parallel: int
        Requests: int
        /// Steps of half a minute, rather than of a minute.
        Halves: bool
        /// How many of these steps pass.
        Ticks: int
        /// Crashes, lost answers, writes whose outcome is unknown.
        Faults: int
        /// Whether the store also fails in its own words: it throws, is full, does not acknowledge.
        Fails: bool
        /// Live sessions of a subject.
        Limit: int option
        RefuseNew: bool
    }

type Variant =
    {
        Scope: Scope
        Policy: Policy
        /// Steps by which the clock of each node is off.
        Skews: int[]
        Subject: string option
    }

// ------------------------------------------------------------------------------------------------------ the world

/// What an operation gives out.
[<NoComparison; NoEquality>]
type Out =
    /// A token opened the session. `issued`: the next one, or 0.
    | LetIn of Snapshot * Grant * issued: int
    /// A token that opens nothing, and that changed something: a replay, an end by time.
    | TurnedAway
    /// The data of an update, as the application's function gave it out.
    | Given of Snapshot * result: int
    | After of Snapshot * issued: int

/// A write on its way: accepted only at the version that it is based on.
[<NoComparison; NoEquality>]
type Sent =
    {
        Write: Write<Out>
        /// The request that sent it, and in which of its operations.
        Author: int
        Turn: int
        /// What let that request in, or is to; and whether it was a predecessor.
        Token: int
        ByOld: bool
        IsThiefs: bool
        /// Stored already: once more, for the acknowledgement.
        IsAffirming: bool
        Target: int
    }

    member sent.Op = int sent.Write.Operation
    member sent.Expected = int sent.Write.Before.Version
    member sent.Events = if sent.IsAffirming then [] else sent.Write.Events

type Slot =
    {
        State: State
        /// Zero: nothing was ever stored here.
        Version: int
        Op: int
        Known: World
        /// Updates that the data has to hold.
        Updates: int
        /// A sign-in was acknowledged.
        IsAcked: bool
    }

type Call =
    | Inserting
    | Presenting
    | Counting
    | Doing
    | Listing
    | Ending
    | Expiring
    | Telling
    | Removing
    | Answering

let goalCode goal =
    match goal with
    | Look -> 0
    | Update -> 1
    | Save -> 2
    | ToSignIn -> 3
    | ToElevate -> 4
    | SignOut -> 5

let callCode call =
    match call with
    | Inserting -> 0
    | Presenting -> 1
    | Counting -> 2
    | Doing -> 3
    | Listing -> 4
    | Ending -> 5
    | Expiring -> 6
    | Telling -> 7
    | Removing -> 8
    | Answering -> 9

type Who =
    | Browser of int
    | Thief
    | Sweeper
    | Operator

[<NoComparison; NoEquality>]
type Request =
    {
        Key: int
        Who: Who
        Node: int
        Goal: Goal
        /// Its own session, and the one that it is working on.
        Home: int
        Target: int
        Token: int
        /// By the clock of its node.
        ArrivedAt: DateTimeOffset
        Call: Call
        /// How many operations it has begun.
        Turn: int
        /// Of this operation; made at its first step, and the same for all its attempts.
        Plan: Plan<Out> voption
        Run: Run<Out>
        /// What the protocol asks for; `Got`: a record that it was not given yet.
        Ask: Ask<Out>
        Got: Snapshot voption
        /// Writes of this operation that the store took, and whether the answer to one never came.
        Taken: Sent list
        IsInDoubt: bool
        /// What it was allowed when it was let in.
        Grant: Grant
        Revision: int64
        Read: int
        /// Minted by this call.
        Next: int
        /// What the answer carries; -1 clears the cookie.
        Issued: int
        IsRenewal: bool
        Todo: int list
        /// Sessions whose end is promised by the acknowledgement (a bit each).
        Promised: int
        /// Nothing good to say at the end.
        Fails: bool
        /// Some end that belongs to it failed.
        IsUnfinished: bool
    }

/// An answer whose headers are written, and which the browser has not got yet.
[<Struct>]
type Late = { Of: int; Carries: int; Since: int }

[<NoComparison; NoEquality>]
type Whole =
    {
        Variant: Variant
        Now: int
        Slots: Slot[]
        Jars: int[]
        Running: Request list
        /// Writes that may still arrive.
        Net: Sent list
        /// In the order in which their headers were written.
        Late: Late list
        Minted: int
        Ops: int
        Keys: int
        RequestsLeft: int
        TicksLeft: int
        FaultsLeft: int
        /// A thief was let in, the answer of an elevation was lost, answers came in another order than that of their
        /// headers, or two tokens of one renewal were handed over: the browser may be without a working token.
        IsTainted: bool
    }

/// Words are for stories only.
type Words = unit -> string

[<NoComparison; NoEquality>]
type Move =
    | Tick
    | Arrives of Request
    | Loads of Request
    | DoesNotLoad of Request * Words
    | Decides of Request * Words
    | Writes of Request * fate: string * Words
    | Lists of Request * Words
    | Removes of Request
    | Arrived of Sent * bool
    | Crashes of Request
    | Answers of Request * handed: bool
    | AnswerLost of Request
    | AnswerWaits of Request
    | AnswerComes of Late

let subject = "ada"

let private dataOf (live: Live) =
    if live.Data.Length = 1 then int live.Data[0] else raise (Broken(10, "the data of a living session is gone"))

let private fresh n : SecretHash = secret n

/// Step n of the scope's time.
let time scope n = if scope.Halves then t0 + minutes n / 2.0 else at n
let nowOf world = time world.Variant.Scope world.Now
let clockOf world node = time world.Variant.Scope (world.Now + world.Variant.Skews[node])

let private isLive state = Lifecycle.isLive state

let anyLive state =
    match state with
    | Created live
    | Active live
    | Regenerated(live, _)
    | Destroyed(live, _, _)
    | Expired(live, _, _, _) -> ValueSome live
    | Absent -> ValueNone

let private seenOf state =
    match anyLive state with
    | ValueSome live -> live.LastSeen
    | ValueNone -> DateTimeOffset.MinValue

/// What a load of this session finds.
let private snapshotOf i (slot: Slot) =
    if slot.State.IsAbsent then
        Records.Absent(string i)
    else
        { Records.Absent(string i) with
            Version = int64 slot.Version
            Operation = int64 slot.Op
            State = slot.State
            StoredLastSeen = seenOf slot.State }

/// Alive by the clock of at least one node.
let isAliveAnywhere world (slot: Slot) =
    isLive slot.State
    && world.Variant.Skews
       |> Array.exists (fun skew ->
           (Lifecycle.overdue world.Variant.Policy (time world.Variant.Scope (world.Now + skew)) slot.State).IsNone)

let start (variant: Variant) =
    let scope = variant.Scope

    let empty =
        { State = Absent
          Version = 0
          Op = 0
          Known = nobody
          Updates = 0
          IsAcked = false }

    let begun i =
        let now = t0

        match
            Lifecycle.decide variant.Policy now (Create(fresh (i + 1), variant.Subject, [| 0uy |])) Lifecycle.initial
        with
        | Error refusal -> raise (Broken(7, $"create was refused: {refusalName refusal}"))
        | Ok events ->
            { empty with
                State = List.fold Lifecycle.evolve Lifecycle.initial events
                Version = 1
                Known = List.fold (learn now) nobody events
                IsAcked = variant.Subject.IsSome }

    { Variant = variant
      Now = 0
      Slots = Array.init scope.Sessions (fun i -> if scope.Begins then empty else begun i)
      Jars = Array.init scope.Sessions (fun i -> if scope.Begins then 0 else i + 1)
      Running = []
      Net = []
      Late = []
      Minted = if scope.Begins then 0 else scope.Sessions
      Ops = 0
      Keys = 0
      RequestsLeft = scope.Requests
      TicksLeft = scope.Ticks
      FaultsLeft = scope.Faults
      IsTainted = false }

// ------------------------------------------------------------------------------------------- what is always required

/// Required of each state of a slot, at every clock.
let checkSlot world (slot: Slot) =
    let policy = world.Variant.Policy

    for node in 0 .. world.Variant.Skews.Length - 1 do
        let now = clockOf world node

        for n in 0 :: List.ofSeq slot.Known.Fates.Keys do
            let opens = Lifecycle.opens policy now (fresh n) slot.State
            let may = mayOpen slot.Known now n

            if opens <> may then
                let invariant =
                    match fateOf slot.Known now n with
                    | _ when not (isAlive slot.Known now) -> (if slot.Known.IsOver then 6 else 8)
                    | None -> 11
                    | Some Killed -> 5
                    | Some(Replaced _) -> 13
                    | _ -> 4

                raise (Broken(invariant, $"""token {n} {(if opens then "opens" else "does not open")} the session"""))

        match Lifecycle.decide policy now (Destroy(Revoked, None)) slot.State with
        | Error Refusal.NoSession -> require 14 "destroy was refused" (slot.State = Absent)
        | Error _ -> raise (Broken(14, "destroy was refused"))
        | Ok events ->
            let ended = List.fold Lifecycle.evolve slot.State events
            require 14 "after destroy it lives" (not (isLive ended))

            require
                14
                "destroy is not idempotent"
                (Lifecycle.decide policy now (Destroy(SignedOut, None)) ended = Ok [])

        match Lifecycle.deadline policy slot.State, slot.Known.Life with
        | ValueSome(struct (_, ending)), Some life ->
            require
                2
                "a deadline past the absolute one"
                (ending <= defaultArg life.SignedInAt life.Born + policy.Absolute)
        | _ -> ()

/// Whether this write may yet be taken.
let private mayStill world (sent: Sent) =
    let slot = world.Slots[sent.Target]
    sent.Expected = slot.Version && (sent.Expected = 0 || not slot.State.IsAbsent)

/// With every answer there, in the order in which their headers were written, a browser's token opens its living session.
let checkJar world =
    if not world.IsTainted && world.Late.IsEmpty then
        for i in 0 .. world.Jars.Length - 1 do
            let slot = world.Slots[i]
            let now = clockOf world 0

            if
                slot.Version > 0
                && isAlive slot.Known now
                && not (world.Running |> List.exists (fun request -> request.Who = Browser i))
                && not (world.Net |> List.exists (fun sent -> sent.Target = i))
            then
                require
                    17
                    $"the browser's token {world.Jars[i]} does not open its living session"
                    (world.Jars[i] > 0 && Lifecycle.opens world.Variant.Policy now (fresh world.Jars[i]) slot.State)

/// What gives somebody a token, or moves a deadline.
let private isGift event =
    match event with
    | WasSignedIn _
    | WasElevated _
    | RenewalIssued _
    | RenewalConfirmed _
    | WasSeen _ -> true
    | _ -> false

/// Required of each accepted write. `known`: the naive world before it, as the writer knew it.
let private checkWrite policy (sent: Sent) (known: World) (slot: Slot) (after: Slot) =
    require 3 "the version did not grow by one" (after.Version = slot.Version + 1)

    require
        18
        "an acknowledgement that was asked for changed something"
        (not sent.IsAffirming || after.State = slot.State)

    if slot.Known.IsOver then
        require 6 "a write to a session that is over" (sent.Events |> List.forall (fun event -> event.IsWasTold))
        require 1 "the end did not absorb" (not (isLive after.State))

    require 3 "last seen went back" (not (isLive after.State) || seenOf after.State >= seenOf slot.State)

    for event in sent.Events do
        match event with
        | WasReplayed replayed ->
            match Map.tryFind (numberOf replayed) slot.Known.Fates with
            | Some(Replaced(_, true)) -> raise (Broken(13, "a replay was reported twice"))
            | _ -> ()
        | _ -> ()

    // Let in by a predecessor, or by what is none any more.
    match fateOf known sent.Write.At sent.Token with
    | Some(Leaves _) when not sent.ByOld -> ()
    | Some(Leaves _ | Replaced _) ->
        require 13 "a predecessor's request got a token" (not (sent.Events |> List.exists isGift))

        if isLive after.State then
            require
                13
                "a predecessor's request moved a deadline"
                (Lifecycle.deadline policy after.State = Lifecycle.deadline policy slot.State)
    | _ -> ()

    match after.State with
    | Absent -> ()
    | state ->
        require
            16
            "a record is not read back as it was written"
            (Codec.decode "id" (int64 after.Version) (ReadOnlyMemory(Codec.encode "id" (int64 after.Version) state)) =
                Ok state)

    match Lifecycle.liveOf after.State with
    | Some live -> require 9 "an update was lost, or counted twice" (dataOf live = after.Updates)
    | None -> ()

// -------------------------------------------------------------------------------------------------------- the moves

let private withSlot i slot world =
    let slots = Array.copy world.Slots
    slots[i] <- slot
    { world with Slots = slots }

let private put (request: Request) world =
    { world with
        Running = world.Running |> List.map (fun other -> if other.Key = request.Key then request else other) }

let private gone (request: Request) world =
    { world with
        Running = world.Running |> List.filter (fun other -> other.Key <> request.Key) }

let private later (a: DateTimeOffset) b = max a b

/// The store takes the write, if it still has the version that the write is based on.
let private apply (sent: Sent) world =
    let slot = world.Slots[sent.Target]

    if sent.Expected <> 0 && slot.State.IsAbsent then
        struct (WriteResult.Absent, world)
    elif slot.Version <> sent.Expected then
        struct (WriteResult.Conflict, world)
    else
        let write = sent.Write
        let seen = seenOf slot.State
        let stored = write.After.State
        let state = if sent.Expected = 0 then stored else Lifecycle.evolve stored (WasSeen seen)

        // The naive world learns what the writer knew, at the writer's clock.
        let reseen at (known: World) =
            { known with
                Life = known.Life |> Option.map (fun life -> { life with Seen = at life.Seen }) }

        let before = slot.Known |> reseen (fun _ -> seenOf write.Before.State)

        let known =
            List.fold (learn write.At) before sent.Events
            |> fun known -> if known.IsOver then known else reseen (later seen) known

        let updates =
            sent.Events
            |> List.fold
                (fun updates event ->
                    match event with
                    | WasWritten _ -> updates + 1
                    | WasSignedIn _
                    | WasCreated _ -> 0
                    | _ -> updates)
                slot.Updates

        let after =
            { slot with
                State = state
                Version = slot.Version + 1
                Op = sent.Op
                Known = known
                Updates = updates }

        checkWrite world.Variant.Policy sent before slot after

        let requests =
            world.Running
            |> List.map (fun request ->
                if request.Key = sent.Author && request.Turn = sent.Turn && not sent.IsAffirming then
                    require 9 "an operation was stored twice" request.Taken.IsEmpty
                    { request with Taken = [ sent ] }
                else
                    request)

        // Other writes that are based on the version before can never be taken any more.
        let net = world.Net |> List.filter (fun other -> other.Target <> sent.Target)

        struct (WriteResult.Written,
                { withSlot sent.Target after world with
                    Running = requests
                    Net = net
                    IsTainted = world.IsTainted || sent.IsThiefs })

/// A decision on what is stored, with what the naive world knows then.
type Inspect = Policy -> State -> DateTimeOffset -> Command -> World -> unit

let mutable private inspect: Inspect = fun _ _ _ _ _ -> ()

/// Every decision in a world is shown to this.
let inspectWith show = inspect <- show

/// As in Access.fs: there are no records here, only states.
let terms =
    { new ITerms with
        member _.TouchStep = min (TimeSpan.FromMinutes 1L) (policy.Idle / 60.0)

        member _.Recorded(before, state, _, _, operation) =
            { before with
                Version = before.Version + 1L
                Operation = operation
                State = state
                StoredLastSeen = seenOf state } }

// -- the plans: the engine's, or written as there

/// As in Requests.fs. One secret for all attempts.
let private presenting (policy: Policy) (request: Request) : Plan<Out> =
    let hash = fresh request.Token

    let opened issued (snapshot: Snapshot) =
        LetIn(snapshot, Lifecycle.grant hash request.ArrivedAt snapshot.State, issued)

    { Decide =
        fun now state ->
            match Lifecycle.decide policy now (Present(hash, request.ArrivedAt)) state with
            | Error refusal -> Error(SessionError.ofRefusal refusal)
            | Ok events ->
                let after = List.fold Lifecycle.evolve state events

                if not (Lifecycle.letsIn events after) then
                    Ok(struct (events, (fun _ -> TurnedAway)))
                elif Lifecycle.isRenewalDue policy now after then
                    let grant = Lifecycle.grant hash request.ArrivedAt after

                    match Lifecycle.decide policy now (Renew(fresh request.Next, grant)) after with
                    | Ok issued -> Ok(struct (events @ issued, opened request.Next))
                    | Error _ -> Ok(struct (events, opened 0))
                else
                    Ok(struct (events, opened 0)) }

let private commandOf world (request: Request) =
    let next = fresh request.Next

    match request.Call, request.Goal with
    | Inserting, _ -> Create(next, world.Variant.Subject, [| 0uy |])
    | Presenting, _ -> Present(fresh request.Token, request.ArrivedAt)
    | Doing, Update -> Write([||], None, Some request.Grant)
    | Doing, Save -> Write([| byte (request.Read + 1) |], Some request.Revision, Some request.Grant)
    | Doing, ToSignIn -> SignIn(subject, [| 0uy |], next, request.Grant)
    | Doing, ToElevate -> Elevate(next, None, request.Grant)
    | Doing, SignOut -> Destroy(SignedOut, Some request.Grant)
    | Ending, _ -> Destroy((if request.Who = Operator then Revoked else Limit), None)
    | Telling, _ -> Tell
    | (Expiring | Counting | Listing | Removing | Answering), _
    | Doing, Look -> Expire

let private planOf world (request: Request) : Plan<Out> =
    let policy = world.Variant.Policy
    let gives issued = fun snapshot -> After(snapshot, issued)

    match request.Call, request.Goal with
    | Presenting, _ -> presenting policy request
    | Doing, Update ->
        let count (data: byte[]) = Ok(struct ([| data[0] + 1uy |], int data[0] + 1))

        let plan = Plans.update (Rules.ofPolicy policy) 1000 (Some request.Grant) count id

        { Decide =
            fun now state ->
                match plan.Decide now state with
                | Error error -> Error error
                | Ok(struct (events, out)) ->
                    let given snapshot =
                        let struct (after, result) = out snapshot
                        Given(after, result)

                    Ok(struct (events, given)) }
    | Inserting, _
    | Doing, (ToSignIn | ToElevate) ->
        Plans.command (Rules.ofPolicy policy) (commandOf world request) (gives request.Next)
    // As of the time before the records were read.
    | Expiring, _ ->
        let plan = Plans.command (Rules.ofPolicy policy) Expire (gives 0)
        { Decide = fun _ state -> plan.Decide request.ArrivedAt state }
    | _ -> Plans.command (Rules.ofPolicy policy) (commandOf world request) (gives 0)

/// Shows what is decided on what is stored. A decision on an old reading is made in vain (its write will be refused):
/// nothing is known of its world.
let private show world (request: Request) (got: Snapshot) now =
    let slot = world.Slots[request.Target]

    if int got.Version = slot.Version && slot.Known.Life.IsSome then
        let policy = world.Variant.Policy
        let now = if request.Call = Expiring then request.ArrivedAt else now

        let known =
            { slot.Known with
                Minted = world.Minted
                Life =
                    slot.Known.Life
                    |> Option.map (fun life ->
                        { life with
                            Seen = if slot.Known.IsOver then life.Seen else seenOf got.State }) }

        let command =
            match commandOf world request with
            | Write(_, None, grant) ->
                let read =
                    match Lifecycle.liveOf got.State with
                    | Some live -> byte (dataOf live)
                    | None -> 0uy

                Write([| read + 1uy |], None, grant)
            | command -> command

        inspect policy got.State now command known

        if request.Call = Presenting then
            match Lifecycle.decide policy now command got.State with
            | Error _ -> ()
            | Ok events ->
                let after = List.fold Lifecycle.evolve got.State events

                if Lifecycle.letsIn events after && Lifecycle.isRenewalDue policy now after then
                    let grant = Lifecycle.grant (fresh request.Token) request.ArrivedAt after
                    inspect policy after now (Renew(fresh request.Next, grant)) (List.fold (learn now) known events)

// -- the requests

let private mint (request: Request) world =
    let n = world.Minted + 1
    let request = { request with Next = n }
    struct (request, put request { world with Minted = n })

/// The request begins another operation; `got`: the record that it has already.
let private begins call target (got: Snapshot voption) (request: Request) =
    { request with
        Call = call
        Target = target
        Turn = request.Turn + 1
        Plan = ValueNone
        Run = Protocol.start
        Ask = Load
        Got = got
        Taken = []
        IsInDoubt = false }

let private answering world (request: Request) =
    // What changes nothing for a browser needs no move of its own.
    match request.Who with
    | Browser _ when request.Issued <> 0 ->
        put
            { begins Answering request.Home ValueNone request with
                Turn = 0
                Todo = []
                Next = 0
                Revision = 0L
                Read = 0 }
            world
    | _ -> gone request world

let private ended target (request: Request) = begins Ending target ValueNone request

let private acknowledge world (request: Request) =
    let slot = world.Slots[request.Home]
    let world = withSlot request.Home { slot with IsAcked = true } world

    match world.Variant.Scope.Limit with
    | Some most ->
        let live =
            world.Slots
            |> Array.filter (fun slot ->
                slot.IsAcked
                && isAliveAnywhere world slot
                && (Lifecycle.liveOf slot.State).Value.Subject = Some subject)

        require 15 $"a sign-in was acknowledged, and {live.Length} live" (live.Length <= most)
    | None -> ()

    answering world request

/// All that had to be ended is ended, or was tried to.
let private allEnded world (request: Request) =
    match request.Who with
    | Operator ->
        if not request.IsUnfinished then
            for i in 0 .. world.Slots.Length - 1 do
                if request.Promised &&& (1 <<< i) <> 0 then
                    require
                        15
                        $"session {i + 1} lives on after all were destroyed"
                        (not (isAliveAnywhere world world.Slots[i]))

        gone request world
    // Its token is handed over, and nothing is promised.
    | _ when request.IsUnfinished -> answering world request
    | _ when request.Fails -> answering world { request with Issued = 0 }
    | _ -> acknowledge world request

let private nextEnding world (request: Request) =
    match request.Todo with
    | [] -> allEnded world request
    | target :: rest -> put { ended target request with Todo = rest } world

/// What an operation has given out: what the request does next. `isSure`: acknowledged as widely as it asks for.
let private goesOn world (request: Request) (out: Out) isSure =
    match request.Call, out with
    | Presenting, LetIn(snapshot, grant, issued) ->
        let live = (Lifecycle.liveOf snapshot.State).Value

        let request =
            { begins Doing request.Home (ValueSome snapshot) request with
                Grant = grant
                Revision = live.Revision
                Read = dataOf live
                Next = 0
                Issued = issued
                IsRenewal = issued > 0 }

        let world = if request.Who = Thief then { world with IsTainted = true } else world

        match request.Goal, world.Variant.Scope.Limit with
        | Look, _ -> answering world request
        | ToSignIn, Some _ when world.Variant.Scope.RefuseNew -> put { request with Call = Counting } world
        | (ToSignIn | ToElevate), _ ->
            let struct (request, world) = mint request world
            put request world
        | _ -> put request world
    | (Inserting | Doing), After(_, issued) when issued > 0 ->
        let request = { request with Issued = issued; IsRenewal = false; Next = 0 }

        let isSignIn = request.Goal = ToSignIn && (request.Call = Doing || world.Variant.Subject.IsSome)

        if isSignIn && isSure then
            if world.Variant.Scope.Limit.IsSome then
                put (begins Listing request.Home ValueNone request) world
            else
                acknowledge world request
        else
            answering world request
    | Doing, (After _ | Given _) ->
        match request.Goal with
        | SignOut -> answering world { request with Issued = -1; IsRenewal = false }
        | _ -> answering world request
    | Ending, _ -> nextEnding world { request with IsUnfinished = request.IsUnfinished || not isSure }
    | Expiring, After(snapshot, _) ->
        // The expiry hook has heard of it.
        match snapshot.State with
        | Expired(_, Unconfirmed, _, _) ->
            put
                { begins Removing request.Home (ValueSome snapshot) request with
                    Turn = 0 }
                world
        | Expired _ -> put (begins Telling request.Home (ValueSome snapshot) request) world
        | _ -> gone request world
    | _ -> gone request world

let private refused world (request: Request) error =
    match request.Call, error with
    | Ending, SessionError.NoSession -> nextEnding world request
    | Ending, _ -> nextEnding world { request with IsUnfinished = true }
    | Doing, (SessionError.NoSession | SessionError.Ended _) when request.Goal = SignOut ->
        answering world { request with Issued = -1; IsRenewal = false }
    | Doing, _ -> answering world request
    | _ -> gone request world

let private errorName error =
    match error with
    | SessionError.Refused refusal -> refusalName refusal
    | SessionError.Ended _ -> "it has ended"
    | SessionError.NoSession -> "there is none"
    | SessionError.Conflict -> "another write came first"
    | SessionError.Unavailable _ -> "the store is down"
    | _ -> "another reason"

/// How an operation has ended: what is said is true, and what is given out belongs to what is stored.
let private finished (emit: Words -> Whole -> unit) world (request: Request) (ending: Session.Engine.Ending<Out>) =
    let inFlight =
        world.Net
        |> List.filter (fun sent ->
            sent.Author = request.Key && sent.Turn = request.Turn && not sent.IsAffirming && mayStill world sent)

    let stored (write: Write<Out>) isSure =
        match request.Taken with
        | [ taken ] when taken.Op = int write.Operation ->
            require 18 "stored, and a write of it is still on its way" inFlight.IsEmpty

            let out = write.Out write.After

            let isOf (n: int) =
                taken.Write.Events
                |> List.exists (fun event ->
                    match event with
                    | WasCreated(secret, _, _, _)
                    | WasSignedIn(_, _, secret, _)
                    | WasElevated(secret, _)
                    | RenewalIssued(secret, _) -> numberOf secret = n
                    | _ -> false)

            match out with
            | LetIn(_, _, issued)
            | After(_, issued) ->
                require
                    18
                    $"token {issued} is handed over, and is not that of what is stored"
                    (issued = 0 || isOf issued)
            | Given(_, result) ->
                require
                    18
                    $"the update gives out {result}, and is not what is stored"
                    (taken.Write.Events
                     |> List.exists (fun event ->
                         match event with
                         | WasWritten data -> int data[0] = result
                         | _ -> false))
            | TurnedAway -> ()

            emit
                (fun () -> if isSure then "it is stored" else "it is stored, and not acknowledged")
                (goesOn world request out isSure)
        | _ -> raise (Broken(18, "what is said to be stored is not"))

    match ending with
    | Session.Engine.Ending.Refused error ->
        // What was changed is gone with its record, and cannot be changed any more.
        let isGone = error.IsNoSession && world.Slots[request.Target].State.IsAbsent
        require 18 "refused, and it was stored" (isGone || request.Taken.IsEmpty)
        require 18 "refused, and a write of it is still on its way" inFlight.IsEmpty
        emit (fun () -> $"refused: {errorName error}") (refused world request error)
    | Session.Engine.Ending.Unsure _ ->
        require 18 "unsure, and every write of it was answered" request.IsInDoubt
        // An elevation that is taken after all: nobody has its token.
        let isLost =
            (request.Goal = ToSignIn || request.Goal = ToElevate || request.Call = Inserting)
            && not (request.Taken.IsEmpty && inFlight.IsEmpty)

        emit
            (fun () -> "nobody can tell what became of it")
            (refused
                { world with IsTainted = world.IsTainted || isLost }
                request
                (SessionError.Unsure(TimeoutException())))
    | Session.Engine.Ending.Stored write -> stored write true
    | Session.Engine.Ending.Unacknowledged(write, _) -> stored write false
    | Session.Engine.Ending.Kept(write, seenAt) ->
        require 18 "nothing to store, and it was stored" request.Taken.IsEmpty
        require 18 "nothing to store, and a write of it is still on its way" inFlight.IsEmpty

        let next world = goesOn world request (write.Out write.After) true

        match seenAt with
        | ValueNone -> emit (fun () -> "nothing to store") (next world)
        // A touch: it moves last seen forward, and may be lost.
        | ValueSome seen ->
            let slot = world.Slots[request.Target]

            let touched =
                if isLive slot.State && seen > seenOf slot.State then
                    { slot with
                        State = Lifecycle.evolve slot.State (WasSeen seen)
                        Known =
                            { slot.Known with
                                Life =
                                    slot.Known.Life
                                    |> Option.map (fun life -> { life with Seen = later life.Seen seen }) } }
                else
                    slot

            emit (fun () -> "nothing to store but a touch") (next (withSlot request.Target touched world))

            if world.FaultsLeft > 0 then
                emit
                    (fun () -> "nothing to store but a touch, which is lost")
                    (next { world with FaultsLeft = world.FaultsLeft - 1 })

let private eventNames (write: Write<Out>) = write.Events |> List.map eventName |> String.concat ", "

/// The protocol gets an answer, and says what is next. `move`: what this move is called, with what came of it.
let rec private hear emit (move: Words -> Move) world (request: Request) answer =
    let plan = request.Plan |> ValueOption.defaultWith (fun () -> planOf world request)
    let struct (run, ask) = Protocol.next plan terms request.Run answer

    let request =
        { request with
            Plan = ValueSome plan
            Run = run
            Ask = ask
            Got = ValueNone }

    match ask with
    | Load -> emit (move (fun () -> "it has to look again")) (put request world)
    | Swap write ->
        let world = put request { world with Ops = int write.Operation }

        if world.Variant.Scope.Fine then
            emit (move (fun () -> eventNames write)) world
        else
            writing emit world request write
    | Finish ending ->
        let world = put request world
        finished (fun what after -> emit (move what) after) world request ending

/// The store takes the write or does not, and says so, or something else, or nothing.
and private writing emit world (request: Request) (write: Write<Out>) =
    let sent =
        { Write = write
          Author = request.Key
          Turn = request.Turn
          Token = request.Token
          ByOld = request.Call = Presenting || request.Grant.ByPredecessor
          IsThiefs = request.Who = Thief
          IsAffirming = request.Run.Affirms.IsSome
          Target = request.Target }

    let mine world = world.Running |> List.find (fun other -> other.Key = request.Key)

    let answered fate answer world =
        let label (what: Words) = Writes(request, fate, (fun () -> $"{eventNames write}: {what ()}"))

        hear emit label world (mine world) answer

    let struct (result, after) = apply sent world
    let isTaken = result = WriteResult.Written

    let said =
        if isTaken then "the store takes it"
        elif result = WriteResult.Absent then "there is no record"
        else "another write came first"

    answered said (Answered result) after

    if world.FaultsLeft > 0 then
        let faulty world = put { mine world with IsInDoubt = true } { world with FaultsLeft = world.FaultsLeft - 1 }

        let silent, failed = Answered WriteResult.Unknown, Failed(TimeoutException())

        if isTaken then
            let taken = faulty after
            answered "it is taken, and the answer does not come" silent taken
            let travels = let world = faulty world in { world with Net = sent :: world.Net }
            answered "it is on its way, and the answer does not come" silent travels

            if world.Variant.Scope.Fails then
                answered "it is taken, and the store fails" failed taken
                answered "it is taken, and not acknowledged" (Answered WriteResult.Unacknowledged) taken
                answered "it is on its way, and the store fails" failed travels

        let lost = faulty world
        answered "it is lost, and the answer does not come" silent lost

        if world.Variant.Scope.Fails then
            answered "it is lost, and the store fails" failed lost

            if not sent.IsAffirming then
                answered "the store is full" (Failed(StoreFullException "full")) { lost with Running = world.Running }

let private deciding emit world (request: Request) (got: Snapshot) =
    let now = clockOf world request.Node
    show world request got now
    hear emit (fun what -> Decides(request, what)) world request (Found(Ok got, now, int64 (world.Ops + 1)))

/// The sessions of the subject that have not ended: those that live by the clock of this node, and those whose time is
/// over by it, which may live yet by the clock of another.
let private listed world (request: Request) =
    let now = clockOf world request.Node

    [ for i in 0 .. world.Slots.Length - 1 do
          match Lifecycle.liveOf world.Slots[i].State with
          | Some live when live.Subject = Some subject -> i
          | _ -> () ]
    |> List.partition (fun i -> (Lifecycle.overdue world.Variant.Policy now world.Slots[i].State).IsNone)

let private signedInAt world i =
    match Lifecycle.liveOf world.Slots[i].State with
    | Some live -> struct (defaultArg live.AuthenticatedAt live.CreatedAt, i)
    | None -> struct (DateTimeOffset.MinValue, i)

let private loading emit world (request: Request) =
    let got = snapshotOf request.Target world.Slots[request.Target]

    if world.Variant.Scope.Fine then
        emit (Loads request) (put { request with Got = ValueSome got } world)
    else
        deciding emit world request got

    if world.FaultsLeft > 0 && world.Variant.Scope.Fails then
        let less = { world with FaultsLeft = world.FaultsLeft - 1 }
        hear emit (fun what -> DoesNotLoad(request, what)) less request (Failed(TimeoutException()))

/// The request whose move is being tried: what a story tells of a move that breaks.
let mutable trying: Request option = None
let mutable isTelling = false

/// The token comes to the browser, or is taken from it.
let private delivered (late: Late) world =
    let jars = Array.copy world.Jars
    jars[late.Of] <- if late.Carries = -1 then 0 else late.Carries
    { world with Jars = jars }

/// What the grace is not for: an answer that was on its way for longer than it, with a token that a newer one of the same
/// renewal was issued after.
let private comesTooLate world (late: Late) =
    let slot = world.Slots[late.Of]

    world.Now > late.Since
    && late.Carries > 0
    && match Lifecycle.settle world.Variant.Policy (clockOf world 0) slot.State with
       | Regenerated(_, Renewal.Issued(newest :: _, _)) -> numberOf newest <> late.Carries
       | state -> Lifecycle.standing (fresh late.Carries) state <> Standing.Current

/// The headers are written: the token of a renewal is handed over only if it still stands, as in Parting.fs.
let private stillHands world (request: Request) =
    not request.IsRenewal
    || Plans.mayHand
        world.Variant.Policy
        (clockOf world request.Node)
        (fresh request.Issued)
        world.Slots[request.Home].State

/// What this request can do next.
let private advance emit world (request: Request) =
    if isTelling then
        trying <- Some request

    match request.Call with
    | Answering ->
        match request.Who with
        | Browser i when stillHands world request ->
            let late = { Of = i; Carries = request.Issued; Since = world.Now }
            let away = gone request world
            // Whatever is still on its way was sent before.
            let isCrossed = world.Late |> List.exists (fun other -> other.Of = i)

            emit (Answers(request, true)) { delivered late away with IsTainted = world.IsTainted || isCrossed }

            if world.FaultsLeft > 0 then
                emit
                    (AnswerWaits request)
                    { away with
                        Late = away.Late @ [ late ]
                        FaultsLeft = world.FaultsLeft - 1 }
        | _ -> emit (Answers(request, false)) (gone request world)
    | Removing ->
        let slot = world.Slots[request.Target]
        let version = request.Got |> ValueOption.map _.Version |> ValueOption.defaultValue 0L

        if int64 slot.Version = version then
            require 6 "a session that is not over was removed" (not (isLive slot.State))
            let net = world.Net |> List.filter (fun sent -> sent.Target <> request.Target)
            let world = { world with Net = net }
            emit (Removes request) (gone request (withSlot request.Target { slot with State = Absent } world))
        else
            emit (Removes request) (gone request world)
    | Counting ->
        let others = fst (listed world request) |> List.filter (fun i -> i <> request.Home)

        if others.Length < Option.get world.Variant.Scope.Limit then
            let struct (request, world) = mint request world
            emit (Lists(request, (fun () -> "the limit leaves room"))) (put { request with Call = Doing } world)
        else
            emit (Lists(request, (fun () -> "the limit is reached"))) (answering world request)
    | Listing ->
        let found, overdue = listed world request
        let most = Option.defaultValue 0 world.Variant.Scope.Limit
        let shown () = found |> List.map (fun i -> $"session {i + 1}") |> String.concat ", " |> sprintf "finds [%s]"

        match request.Who with
        | Operator -> emit (Lists(request, shown)) (nextEnding world { request with Todo = found @ overdue })
        | _ when world.Variant.Scope.RefuseNew ->
            let mine = List.contains request.Home found
            let others = found |> List.filter (fun i -> i <> request.Home)

            let earlier =
                others |> List.filter (fun i -> not mine || signedInAt world i < signedInAt world request.Home)

            let stepBack = nextEnding world { request with Todo = [ request.Home ]; Fails = true }

            if others.Length < most then emit (Lists(request, shown)) (nextEnding world { request with Todo = overdue })
            elif earlier.Length >= most then emit (Lists(request, (fun () -> shown () + " and steps back"))) stepBack
            else emit (Lists(request, (fun () -> shown () + " and gives up waiting"))) stepBack
        | _ ->
            let tooMany = found |> List.sortByDescending (signedInAt world) |> List.skip (min most found.Length)

            emit
                (Lists(request, shown))
                (nextEnding
                    world
                    { request with
                        Todo = tooMany @ overdue
                        Fails = List.contains request.Home tooMany })
    | Inserting
    | Presenting
    | Doing
    | Ending
    | Expiring
    | Telling ->
        match request.Ask, request.Got with
        | Swap write, _ -> writing emit world request write
        | _, ValueSome got -> deciding emit world request got
        | _, ValueNone -> loading emit world request

let private request who node goal home token call =
    { Key = 0
      Who = who
      Node = node
      Goal = goal
      Home = home
      Target = home
      Token = token
      ArrivedAt = t0
      Call = call
      Turn = 0
      Plan = ValueNone
      Run = Protocol.start
      Ask = Load
      Got = ValueNone
      Taken = []
      IsInDoubt = false
      Grant =
        { Elevations = 0
          Secret = fresh 0
          ByPredecessor = false
          ArrivedAt = t0 }
      Revision = 0L
      Read = 0
      Next = 0
      Issued = 0
      IsRenewal = false
      Todo = []
      Promised = 0
      Fails = false
      IsUnfinished = false }

/// Tokens that a thief can have: all that this record knows, what the browser has, and one that was never issued.
let private stolen world i =
    let slot = world.Slots[i]

    let known =
        match anyLive slot.State with
        | ValueNone -> []
        | ValueSome live ->
            [ numberOf live.Secret
              yield! live.Superseded |> List.map (fun old -> numberOf old.Secret)
              match slot.State with
              | Regenerated(_, Renewal.Issued(secrets, _)) -> yield! secrets |> List.map numberOf
              | Regenerated(_, Confirmed(predecessor, _)) -> numberOf predecessor
              | _ -> () ]

    (if world.Jars[i] > 0 then world.Jars[i] :: known else known) @ [ 0 ] |> List.distinct

/// Every move that is possible in this world, with the world after it.
let moves (emit: Move -> Whole -> unit) world =
    let scope = world.Variant.Scope

    if world.TicksLeft > 0 then
        emit Tick { world with Now = world.Now + 1; TicksLeft = world.TicksLeft - 1 }

    if world.RequestsLeft > 0 && world.Running.Length < scope.Parallel then
        let world = { world with RequestsLeft = world.RequestsLeft - 1 }
        let nodes = [ 0 .. world.Variant.Skews.Length - 1 ]

        let enter (made: Request) =
            let key = world.Keys + 1
            let made = { made with Key = key; ArrivedAt = clockOf world made.Node }
            let world = { world with Keys = key; Running = world.Running @ [ made ] }

            let struct (made, world) =
                match made.Call with
                | Presenting
                | Inserting -> mint made world
                | _ -> struct (made, world)

            if scope.Fine then emit (Arrives made) world else advance emit world made

        for node in nodes do
            for i in 0 .. world.Slots.Length - 1 do
                let slot = world.Slots[i]

                if slot.Version = 0 then
                    if
                        scope.Begins
                        && not (world.Running |> List.exists (fun other -> other.Home = i))
                        && not (world.Net |> List.exists (fun sent -> sent.Target = i))
                    then
                        let made = request (Browser i) node ToSignIn i 0 Inserting
                        enter { made with Got = ValueSome(Records.Absent(string i)) }
                else
                    for goal in scope.Goals do
                        if world.Jars[i] > 0 then
                            enter (request (Browser i) node goal i world.Jars[i] Presenting)

                        if scope.Thief then
                            for token in stolen world i do
                                enter (request Thief node goal i token Presenting)

                    if scope.Sweeper && not (world.Running |> List.exists (fun other -> other.Who = Sweeper)) then
                        let sweep call =
                            enter
                                { request Sweeper node Look i 0 call with
                                    Got = ValueSome(snapshotOf i slot) }

                        let now = clockOf world node
                        let isDue = not slot.State.IsAbsent && Lifecycle.due world.Variant.Policy slot.State <= now

                        match slot.State with
                        | Destroyed _
                        | Expired(_, _, _, true) when isDue -> sweep Removing
                        | Expired(_, Unconfirmed, _, false) -> sweep Removing
                        | Expired(_, _, _, false) -> sweep Telling
                        | Created _
                        | Active _
                        | Regenerated _ when isDue -> sweep Expiring
                        | _ -> ()

            if scope.Operator && not (world.Running |> List.exists (fun other -> other.Who = Operator)) then
                let acked =
                    [ for i in 0 .. world.Slots.Length - 1 do
                          if world.Slots[i].IsAcked then
                              1 <<< i ]
                    |> List.sum

                if acked <> 0 then
                    enter { request Operator node Look 0 0 Listing with Promised = acked }

    for request in world.Running do
        advance emit world request

        if world.FaultsLeft > 0 then
            let less = { world with FaultsLeft = world.FaultsLeft - 1 }

            match request.Call with
            | Answering ->
                let taints = request.Issued > 0 && not request.IsRenewal
                emit (AnswerLost request) { gone request less with IsTainted = world.IsTainted || taints }
            | _ ->
                let mayTaint = request.Goal = ToSignIn || request.Goal = ToElevate
                emit (Crashes request) { gone request less with IsTainted = world.IsTainted || mayTaint }

    for late in world.Late do
        let rest =
            { world with
                Late = world.Late |> List.filter (fun other -> other <> late) }

        let isBefore = (List.head (world.Late |> List.filter (fun other -> other.Of = late.Of))) = late

        emit
            (AnswerComes late)
            { delivered late rest with
                IsTainted = world.IsTainted || not isBefore || comesTooLate world late }

    for sent in world.Net do
        let rest =
            { world with
                Net = world.Net |> List.filter (fun other -> other.Op <> sent.Op) }

        let struct (result, after) = apply sent rest
        emit (Arrived(sent, (result = WriteResult.Written))) after
