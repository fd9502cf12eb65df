/// A small world around the real lifecycle: a store, browsers, a thief, nodes with clocks that differ, a sweeper, an
/// operator; crashes, lost answers, late writes. Each move is one step of the protocol of Loop.fs and Engine.fs. What
/// the lifecycle decides is not modelled: it is asked. Beside each session goes the naive world of Histories.fs.
module Properties.Worlds

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

/// A write on its way: accepted only at the version that it is based on.
type Sent(op: int, author: int, target: int, expected: int, state: State, events: Event list, now: DateTimeOffset, seen)
    =
    member _.Op = op
    /// The request that sent it.
    member _.Author = author
    member _.Target = target
    member _.Expected = expected
    member _.State = state
    member _.Events = events
    member _.Now = now
    /// When the session was last seen, as the writer knew.
    member _.Seen: DateTimeOffset = seen

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
        Call: Call
        /// Version -1: not loaded.
        Snap: State
        SnapVersion: int
        Under: int
        Revision: int64
        Read: int
        /// Minted by this call.
        Next: int
        /// What the answer carries; -1 clears the cookie.
        Issued: int
        Sent: Sent | null
        /// Writes whose answer never came, and which may have been taken, or be taken yet.
        Pending: Sent list
        /// One of those was perhaps taken, and then written over: nobody can tell any more.
        Unsure: bool
        Tries: int
        /// How often its update was stored.
        Times: int
        Todo: int list
        /// Sessions whose end is promised by the acknowledgement (a bit each).
        Promised: int
        /// Nothing good to say at the end.
        Fails: bool
    }

type Whole =
    {
        Variant: Variant
        Now: int
        Slots: Slot[]
        Jars: int[]
        Running: Request list
        /// Writes that may still arrive.
        Net: Sent list
        Minted: int
        Ops: int
        Keys: int
        RequestsLeft: int
        TicksLeft: int
        FaultsLeft: int
        /// A thief was let in, or the answer of an elevation was lost: the browser may be without a working token.
        IsTainted: bool
    }

type Move =
    | Tick
    | Arrives of Request
    | Loads of Request
    | Decides of Request * string
    | Writes of Request * WriteResult * string
    | Unknown of Request * applied: bool * lingers: bool
    | Checks of Request * string
    | Lists of Request * string
    | Removes of Request
    | Arrived of Sent * bool
    | Crashes of Request
    | Answers of Request
    | AnswerLost of Request

let subject = "ada"

let private dataOf (live: Live) =
    if live.Data.Length = 1 then int live.Data[0] else raise (Broken(10, "the data of a living session is gone"))

let private fresh n : SecretHash = secret n

/// Step n of the scope's time.
let time scope n = if scope.Halves then t0 + minutes n / 2.0 else at n
let nowOf world = time world.Variant.Scope world.Now
let clockOf world node = time world.Variant.Scope (world.Now + world.Variant.Skews[node])

let private isLive state = (Lifecycle.liveOf state).IsSome

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

/// A lost answer logs nobody out: with no request under way, a browser's token opens its living session, unless a thief
/// was let in or the answer of an elevation was lost.
let checkJar world =
    if
        world.Variant.Scope.Parallel = 1
        && not world.IsTainted
        && world.Running.IsEmpty
        && world.Net.IsEmpty
    then
        for i in 0 .. world.Jars.Length - 1 do
            let slot = world.Slots[i]
            let now = clockOf world 0

            if world.Jars[i] > 0 && isAlive slot.Known now then
                require
                    10
                    "the browser was logged out by a lost answer"
                    (Lifecycle.opens world.Variant.Policy now (fresh world.Jars[i]) slot.State)

/// Required of each accepted write.
let private checkWrite (sent: Sent) (slot: Slot) (after: Slot) =
    require 3 "the version did not grow by one" (after.Version = slot.Version + 1)

    if slot.Known.IsOver then
        require 6 "a write to a session that is over" (sent.Events |> List.forall _.IsWasTold)
        require 1 "the end did not absorb" (not (isLive after.State))

    require 3 "last seen went back" (not (isLive after.State) || seenOf after.State >= seenOf slot.State)

    for event in sent.Events do
        match event with
        | WasReplayed replayed ->
            match Map.tryFind (numberOf replayed) slot.Known.Fates with
            | Some(Replaced true) -> raise (Broken(13, "a replay was reported twice"))
            | _ -> ()
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
    let isInsert = sent.Expected = 0

    if (isInsert && slot.Version <> 0) then
        struct (WriteResult.Conflict, world)
    elif not isInsert && slot.State = Absent then
        struct (WriteResult.Absent, world)
    elif slot.Version <> sent.Expected then
        struct (WriteResult.Conflict, world)
    else
        let seen = seenOf slot.State
        let state = if isInsert then sent.State else Lifecycle.evolve sent.State (WasSeen seen)

        // The naive world learns what the writer knew, at the writer's clock.
        let reseen at (known: World) =
            { known with
                Life = known.Life |> Option.map (fun life -> { life with Seen = at life.Seen }) }

        let known =
            slot.Known
            |> reseen (fun _ -> sent.Seen)
            |> fun known -> List.fold (learn sent.Now) known sent.Events
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

        checkWrite sent slot after

        let requests =
            if sent.Events |> List.exists _.IsWasWritten then
                world.Running
                |> List.map (fun request ->
                    if request.Key = sent.Author then { request with Times = request.Times + 1 } else request)
            else
                world.Running

        // Other writes that are based on the version before can never be taken any more.
        let net = world.Net |> List.filter (fun other -> other.Target <> sent.Target)

        struct (WriteResult.Written,
                { withSlot sent.Target after world with
                    Running = requests
                    Net = net })

/// Whether an event is stored, or comes with a touch (as in Loop.fs).
let private isStored event =
    match event with
    | WasSeen _
    | GraceEnded -> false
    | _ -> true

let mutable private inspect: Variant -> Step -> unit = fun _ _ -> ()

/// Every decision in a world is shown to this, with what the naive world knows.
let inspectWith show = inspect <- show

/// `past`: what this decision comes after, in the same move.
let private decideAfter past world (request: Request) now command state =
    let answer = Lifecycle.decide world.Variant.Policy now command state
    let slot = world.Slots[request.Target]

    // A decision on an old reading is made in vain (its write will be refused): nothing is known of its world.
    if request.SnapVersion = slot.Version && slot.Known.Life.IsSome then
        let known =
            { slot.Known with
                Minted = world.Minted
                Life =
                    slot.Known.Life
                    |> Option.map (fun life ->
                        { life with
                            Seen = if slot.Known.IsOver then life.Seen else seenOf request.Snap }) }

        let known = List.fold (learn now) known past
        let events = Result.defaultValue [] answer

        inspect
            world.Variant
            { Policy = world.Variant.Policy
              Before = state
              At = now
              Command = command
              Answer = answer
              After = List.fold Lifecycle.evolve state events
              Known = known
              Learnt = List.fold (learn now) known events }

    answer

let private decide world request now command state = decideAfter [] world request now command state

let private mint (request: Request) world =
    let n = world.Minted + 1
    let request = { request with Next = n }
    struct (request, put request { world with Minted = n })

let private answering world (request: Request) =
    // What changes nothing for a browser needs no move of its own.
    match request.Who with
    | Browser _ when request.Issued <> 0 ->
        put
            { request with
                Call = Answering
                Sent = null
                Pending = []
                Unsure = false
                Snap = Absent
                SnapVersion = -1
                Todo = []
                Next = 0
                Times = 0
                Under = 0
                Revision = 0L
                Read = 0
                Tries = 0 }
            world
    | _ -> gone request world

let private fails world (request: Request) =
    // A lost sign-in that is taken after all: nobody has its token.
    let isLost = not request.Pending.IsEmpty && (request.Goal = ToSignIn || request.Goal = ToElevate)
    answering { world with IsTainted = world.IsTainted || isLost } { request with Fails = true }

let private ended (request: Request) target =
    { request with
        Call = Ending
        Target = target
        Snap = Absent
        SnapVersion = -1
        Tries = 0
        Sent = null
        Pending = [] }

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

/// All that had to be ended is ended.
let private allEnded world (request: Request) =
    match request.Who with
    | Operator ->
        for i in 0 .. world.Slots.Length - 1 do
            if request.Promised &&& (1 <<< i) <> 0 then
                require
                    15
                    $"session {i + 1} lives on after all were destroyed"
                    (not (isAliveAnywhere world world.Slots[i]))

        gone request world
    | _ when request.Fails -> fails world { request with Issued = 0 }
    | _ -> acknowledge world request

let private nextEnding world (request: Request) =
    match request.Todo with
    | [] -> allEnded world request
    | target :: rest -> put { ended request target with Todo = rest } world

/// The change was stored, or there was nothing to store: what the request does next.
let private succeeded world (request: Request) (events: Event list) (state: State) version =
    let request = { request with Sent = null; Pending = []; Tries = 0 }

    match request.Call with
    | Presenting ->
        if not (Lifecycle.letsIn events state) then
            gone request world
        else
            let live = (Lifecycle.liveOf state).Value
            let isIssued = events |> List.exists _.IsRenewalIssued

            let request =
                { request with
                    Snap = state
                    SnapVersion = version
                    Under = live.Elevations
                    Revision = live.Revision
                    Read = dataOf live
                    Next = 0
                    Issued = if isIssued then request.Next else 0 }

            let world = if request.Who = Thief then { world with IsTainted = true } else world

            match request.Goal, world.Variant.Scope.Limit with
            | Look, _ -> answering world request
            | ToSignIn, Some _ when world.Variant.Scope.RefuseNew -> put { request with Call = Counting } world
            | _ ->
                match request.Goal with
                | ToSignIn
                | ToElevate ->
                    let struct (request, world) = mint request world
                    put { request with Call = Doing } world
                | _ -> put { request with Call = Doing } world
    | Inserting ->
        let request = { request with Issued = request.Next; Next = 0 }

        if world.Variant.Scope.Limit.IsSome && world.Variant.Subject.IsSome then
            put { request with Call = Listing } world
        elif world.Variant.Subject.IsSome then
            acknowledge world request
        else
            answering world request
    | Doing ->
        match request.Goal with
        | Update
        | Save ->
            require
                9
                $"an acknowledged update was stored {request.Times} times"
                (request.Times = 1 || (request.Times = 2 && request.Unsure))

            answering world request
        | ToElevate -> answering world { request with Issued = request.Next }
        | ToSignIn ->
            let request =
                { request with
                    Issued = request.Next
                    Next = 0
                    Snap = Absent
                    SnapVersion = -1 }

            if world.Variant.Scope.Limit.IsSome then
                put { request with Call = Listing } world
            else
                acknowledge world request
        | SignOut -> answering world { request with Issued = -1 }
        | Look -> answering world request
    | Ending -> nextEnding world request
    | Expiring
    | Telling ->
        // The expiry hook has heard of it.
        match request.Call, state with
        | Expiring, Expired(_, Unconfirmed, _, _) -> put { request with Call = Removing } world
        | Expiring, Expired _ -> put { request with Call = Telling; Snap = state; SnapVersion = version } world
        | _ -> gone request world
    | Counting
    | Listing
    | Removing
    | Answering -> gone request world

let private refused world (request: Request) refusal =
    match request.Call, refusal with
    | Presenting, _ -> gone request world
    | Ending, (Refusal.NoSession | Over _) -> nextEnding world { request with Sent = null; Pending = [] }
    | (Expiring | Telling), _ -> gone request world
    | _ -> fails world request

/// What the engine asks the lifecycle in this call.
let private ask world (request: Request) =
    let now = clockOf world request.Node
    let state = request.Snap

    match request.Call with
    | Presenting ->
        match decide world request now (Present(fresh request.Token)) state with
        | Error refusal -> Error refusal
        | Ok events ->
            let after = List.fold Lifecycle.evolve state events

            match Lifecycle.liveOf after with
            | Some live when Lifecycle.letsIn events after && Lifecycle.isRenewalDue world.Variant.Policy now after ->
                let renew = Renew(fresh request.Next, live.Elevations)

                match decideAfter events world request now renew after with
                | Ok issued -> Ok(events @ issued)
                | Error _ -> Ok events
            | _ -> Ok events
    | Doing ->
        let under = request.Under
        let next = fresh request.Next

        let command =
            match request.Goal with
            | Update ->
                let read =
                    match Lifecycle.liveOf state with
                    | Some live -> byte (dataOf live)
                    | None -> 0uy

                Write([| read + 1uy |], None, under)
            | Save -> Write([| byte (request.Read + 1) |], Some request.Revision, under)
            | ToSignIn -> SignIn(subject, [| 0uy |], next, under)
            | ToElevate -> Elevate(next, under)
            | SignOut -> Destroy(SignedOut, Some under)
            | Look -> Expire

        decide world request now command state
    | Ending -> decide world request now (Destroy((if request.Who = Operator then Revoked else Limit), None)) state
    | Expiring -> decide world request now Expire state
    | Telling -> decide world request now Tell state
    | Inserting ->
        Lifecycle.decide
            world.Variant.Policy
            now
            (Create(fresh request.Next, world.Variant.Subject, [| 0uy |]))
            Lifecycle.initial
    | Counting
    | Listing
    | Removing
    | Answering -> Error NotDue

let private maxTries = 4

/// The answer to a write that was not taken: load again, and decide again.
let private again world (request: Request) result =
    if result = WriteResult.Absent then
        refused world { request with Sent = null } Refusal.NoSession
    elif request.Call = Inserting || request.Tries >= maxTries then
        fails world { request with Sent = null; Issued = 0 }
    else
        put
            { request with
                Sent = null
                Snap = Absent
                SnapVersion = -1
                Tries = request.Tries + 1 }
            world

/// The request whose move is being tried: what a story tells of a move that breaks.
let mutable trying: Request option = None
let mutable isTelling = false

let private writing emit world (request: Request) =
    match request.Sent with
    | null -> ()
    | sent ->
        let struct (result, after) = apply sent world
        let mine = after.Running |> List.find (fun other -> other.Key = request.Key)

        let next =
            if result = WriteResult.Written then
                succeeded after mine sent.Events sent.State (sent.Expected + 1)
            else
                again after mine result

        emit (Writes(request, result, (sent.Events |> List.map eventName |> String.concat ", "))) next

        if world.FaultsLeft > 0 then
            let unknown world =
                let mine = world.Running |> List.find (fun other -> other.Key = request.Key)

                put
                    { mine with
                        Sent = null
                        Pending = sent :: mine.Pending
                        Snap = Absent
                        SnapVersion = -1
                        Tries = mine.Tries + 1 }
                    { world with FaultsLeft = world.FaultsLeft - 1 }

            if request.Tries < maxTries then
                if result = WriteResult.Written then
                    emit (Unknown(request, true, false)) (unknown after)

                    emit
                        (Unknown(request, false, true))
                        (let world = unknown world in { world with Net = sent :: world.Net })

                emit (Unknown(request, false, false)) (unknown world)

let private deciding emit world (request: Request) =
    match ask world request with
    | Error refusal -> emit (Decides(request, $"refused: {refusalName refusal}")) (refused world request refusal)
    | Ok events ->
        let names = if events.IsEmpty then "nothing to do" else events |> List.map eventName |> String.concat ", "
        let state = List.fold Lifecycle.evolve request.Snap events

        if not (List.exists isStored events) then
            let next world = succeeded world request events state request.SnapVersion

            // A touch: it moves last seen forward, and may be lost.
            if seenOf state > seenOf request.Snap then
                let slot = world.Slots[request.Target]
                let seen = seenOf state

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

                emit (Decides(request, names)) (next (withSlot request.Target touched world))

                if world.FaultsLeft > 0 then
                    emit
                        (Decides(request, names + ", and the touch is lost"))
                        (next { world with FaultsLeft = world.FaultsLeft - 1 })
            else
                emit (Decides(request, names)) (next world)
        else
            let op = world.Ops + 1

            let seen = seenOf request.Snap

            let sent =
                Sent(
                    op,
                    request.Key,
                    request.Target,
                    request.SnapVersion,
                    state,
                    events,
                    clockOf world request.Node,
                    seen
                )

            let request = { request with Sent = sent }
            let world = put request { world with Ops = op }
            if world.Variant.Scope.Fine then emit (Decides(request, names)) world else writing emit world request

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
    let slot = world.Slots[request.Target]

    let loaded world request =
        let request = { request with Snap = slot.State; SnapVersion = slot.Version }
        let world = put request world
        if world.Variant.Scope.Fine then emit (Loads request) world else deciding emit world request

    match request.Pending with
    | [] ->
        if slot.State = Absent then
            emit (Loads request) (refused world request Refusal.NoSession)
        else
            loaded world request
    | pending ->
        match pending |> List.tryFind (fun sent -> sent.Op = slot.Op) with
        | _ when slot.State = Absent ->
            emit (Checks(request, "there is no record")) (refused world { request with Pending = [] } Refusal.NoSession)
        | Some sent ->
            emit
                (Checks(request, "its write had arrived"))
                (succeeded world request sent.Events sent.State (sent.Expected + 1))
        | None when request.Call = Inserting ->
            emit (Checks(request, "the id is taken")) (fails world { request with Pending = []; Issued = 0 })
        | None ->
            let isOlder (sent: Sent) = slot.Version > sent.Expected + 1

            let request =
                { request with
                    Pending = pending |> List.filter (fun sent -> slot.Version = sent.Expected)
                    Unsure = request.Unsure || List.exists isOlder pending
                    Snap = slot.State
                    SnapVersion = slot.Version }

            emit (Checks(request, "its write is not there")) (put request world)

/// What this request can do next.
let private advance emit world (request: Request) =
    if isTelling then
        trying <- Some request

    match request.Call with
    | Answering ->
        let answered =
            match request.Who with
            | Browser i ->
                let jars = Array.copy world.Jars
                jars[i] <- if request.Issued = -1 then 0 else request.Issued
                { world with Jars = jars }
            | _ -> world

        emit (Answers request) (gone request answered)
    | Removing ->
        let slot = world.Slots[request.Target]
        require 6 "a session that is not over was removed" (not (isLive slot.State))
        emit (Removes request) (gone request (withSlot request.Target { slot with State = Absent } world))
    | Counting ->
        let others = fst (listed world request) |> List.filter (fun i -> i <> request.Home)

        if others.Length < Option.get world.Variant.Scope.Limit then
            let struct (request, world) = mint request world
            emit (Lists(request, "the limit leaves room")) (put { request with Call = Doing } world)
        else
            emit (Lists(request, "the limit is reached")) (fails world request)
    | Listing ->
        let found, overdue = listed world request
        let most = Option.defaultValue 0 world.Variant.Scope.Limit
        let shown = found |> List.map (fun i -> $"session {i + 1}") |> String.concat ", " |> sprintf "finds [%s]"

        match request.Who with
        | Operator -> emit (Lists(request, shown)) (nextEnding world { request with Todo = found @ overdue })
        | _ when world.Variant.Scope.RefuseNew ->
            let mine = List.contains request.Home found
            let others = found |> List.filter (fun i -> i <> request.Home)

            let earlier =
                others |> List.filter (fun i -> not mine || signedInAt world i < signedInAt world request.Home)

            let stepBack = nextEnding world { request with Todo = [ request.Home ]; Fails = true }

            if others.Length < most then emit (Lists(request, shown)) (nextEnding world { request with Todo = overdue })
            elif earlier.Length >= most then emit (Lists(request, shown + " and steps back")) stepBack
            else emit (Lists(request, shown + " and gives up waiting")) stepBack
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
        if not (isNull request.Sent) then
            writing emit world request
        elif request.Call = Inserting && request.Pending.IsEmpty then
            deciding emit world { request with Snap = Absent; SnapVersion = 0 }
        elif request.SnapVersion < 0 then
            loading emit world request
        else
            deciding emit world request

let private request who node goal home token call =
    { Key = 0
      Who = who
      Node = node
      Goal = goal
      Home = home
      Target = home
      Token = token
      Call = call
      Snap = Absent
      SnapVersion = -1
      Under = 0
      Revision = 0L
      Read = 0
      Next = 0
      Issued = 0
      Sent = null
      Pending = []
      Unsure = false
      Tries = 0
      Times = 0
      Todo = []
      Promised = 0
      Fails = false }

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
            let made = { made with Key = key }
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
                        enter (request (Browser i) node ToSignIn i 0 Inserting)
                else
                    for goal in scope.Goals do
                        if world.Jars[i] > 0 then
                            enter (request (Browser i) node goal i world.Jars[i] Presenting)

                        if scope.Thief then
                            for token in stolen world i do
                                enter (request Thief node goal i token Presenting)

                    if scope.Sweeper && not (world.Running |> List.exists (fun other -> other.Who = Sweeper)) then
                        let sweep call =
                            let made = request Sweeper node Look i 0 call
                            enter { made with Snap = slot.State; SnapVersion = slot.Version }

                        let now = clockOf world node
                        let isDue = slot.State <> Absent && Lifecycle.due world.Variant.Policy slot.State <= now

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
            let taints = request.Issued > 0 && (request.Goal = ToSignIn || request.Goal = ToElevate)

            match request.Call with
            | Answering -> emit (AnswerLost request) { gone request less with IsTainted = world.IsTainted || taints }
            | _ ->
                let mayTaint = request.Goal = ToSignIn || request.Goal = ToElevate
                emit (Crashes request) { gone request less with IsTainted = world.IsTainted || mayTaint }

    for sent in world.Net do
        let rest =
            { world with
                Net = world.Net |> List.filter (fun other -> other.Op <> sent.Op) }

        let struct (result, after) = apply sent rest
        emit (Arrived(sent, (result = WriteResult.Written))) after
