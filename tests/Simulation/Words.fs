/// What a run is about: the application's data, what browsers ask for, and what they and the judge know of it.
module Simulation.Words

open System
open System.Collections.Generic
open System.Globalization
open System.Text
open Session.Domain
open Session.Engine
open Session.AspNetCore
open Simulation.Scheduler

/// The session data: the numbers of all operations that have added to it, in order. What is lost or counted twice shows.
type Cart = { Marks: int list }

let marksOf (data: byte[]) =
    match Encoding.ASCII.GetString data with
    | "" -> []
    | text -> [ for part in text.Split ',' -> Int32.Parse(part, CultureInfo.InvariantCulture) ]

let serializer =
    { new ISessionSerializer<Cart> with
        member _.Serialize cart =
            Encoding.ASCII.GetBytes(
                String.Join(',', cart.Marks |> List.map (fun mark -> mark.ToString(CultureInfo.InvariantCulture)))
            )

        member _.Deserialize data = { Marks = marksOf (data.ToArray()) } }

/// What a request does with its session.
type Kind =
    | Look
    /// Adds its number to what is stored.
    | Add
    /// Adds its number to what it has read.
    | Save
    /// A new session, whatever there was.
    | Begin
    | SignIn of subject: string
    | Elevate
    | SignOut
    | Reload
    /// By the application, of whomever.
    | AddTo of id: string
    | End of id: string
    | EndAll of subject: string
    | EndEvery

/// What it was told.
type Told =
    | Nothing
    | Done
    | Refused
    | Unsure
    /// Stored, and something that belongs to it failed.
    | Partly

/// A secret that a record had, by the record itself.
[<Sealed; AllowNullLiteral>]
type Key(number: int, seenAt: TimeSpan) =
    /// Of its session, in the order of their appearance.
    member _.Number = number
    member _.SeenAt = seenAt
    /// When a renewal put another one in its place.
    member val ReplacedAt: TimeSpan voption = ValueNone with get, set
    /// When the record stopped to accept it.
    member val DeadAt: TimeSpan voption = ValueNone with get, set

/// A token as a request brings it.
[<NoComparison; NoEquality>]
type Token = { Text: string; Id: string; Hash: SecretHash }

[<Sealed; AllowNullLiteral>]
type Visitor(number: int, browser: int, tokens: Token list, arrivedAt: TimeSpan) =
    member _.Number = number
    /// Zero: the application itself, with no request.
    member _.Browser = browser
    member _.Tokens = tokens
    member _.ArrivedAt = arrivedAt
    /// Sessions that it has begun.
    member val Born: string list = [] with get, set
    member val IsOver = false with get, set
    /// Its operations that were acknowledged.
    member val Done: int list = [] with get, set
    member val IsLetIn = false with get, set
    /// Operations that it has begun, and those that are not over.
    member val Begun = 0 with get, set
    member val Running = 0 with get, set
    /// How long it has had an operation that was not over, and since when it has one.
    member val Busy = TimeSpan.Zero with get, set
    member val BusySince = TimeSpan.Zero with get, set
    /// Handlers of events that it may have waited for.
    member val Handlers = 0 with get, set
    /// It asks for an elevation: its own token dies by it.
    member val IsElevating = false with get, set
    member val HasSignedOut = false with get, set
    /// An operation of it may have stored a token that nobody has.
    member val MayHaveLost = false with get, set
    /// All its tokens were superseded when it arrived.
    member val IsLate = false with get, set
    /// What its session held when it arrived.
    member val Marks: int list = [] with get, set

    member visitor.IsOf(id: string) = List.contains id visitor.Born || List.exists (fun token -> token.Id = id) tokens

[<Sealed; AllowNullLiteral>]
type Op(number: int, visitor: Visitor, kind: Kind, begunAt: TimeSpan) =
    member _.Number = number
    member _.Visitor = visitor
    member _.Kind = kind
    member _.BegunAt = begunAt
    member val Told = Nothing with get, set
    member val ToldAt = TimeSpan.MaxValue with get, set
    /// The session that its number was stored in.
    member val StoredIn: string | null = null with get, set
    /// Of a sign-in: the session that it was told to have signed in to.
    member val Session: string | null = null with get, set

    /// Whether it may still have been stored, or was.
    member op.MayBeStored = op.Told <> Refused

/// What is known of one session by its accepted writes.
[<Sealed; AllowNullLiteral>]
type Known(name: string, id: string, now: TimeSpan) =
    // No read is older than a request waits for the store.
    let reading = TimeSpan.FromSeconds 10L
    let longAgo = TimeSpan.FromDays -1
    let mutable stored: StoredRecord | null = null
    let mutable firstTouch = longAgo
    let mutable seenBefore = DateTimeOffset.MinValue

    /// Short, for the story.
    member _.Name = name
    member _.Id = id
    member _.BornAt = now

    /// Its newest version.
    member _.Record
        with get () = stored
        and set (record: StoredRecord | null) =
            stored <- record
            firstTouch <- longAgo

    member val State = Absent with get, set
    member val Marks: int list = [] with get, set
    /// The operation that it began with.
    member val First = -1 with get, set
    member val Keys = Dictionary<SecretHash, Key>()
    member val OverAt: TimeSpan voption = ValueNone with get, set
    /// When a sign-in last took the place of the data, or its end.
    member val ResetAt = TimeSpan.MinValue with get, set
    member val IsRemoved = false with get, set

    /// A touch is no new version: whoever read the record before it may still end it by what stood there then.
    member _.Touched(record: StoredRecord, at: TimeSpan) =
        match stored with
        | null -> ()
        | before when at - firstTouch > reading ->
            firstTouch <- at
            seenBefore <- before.LastSeen
        | _ -> ()

        stored <- record

    /// When the session was last seen by a record that somebody may have read who ends it now.
    member _.SeenWhenRead(record: StoredRecord, at: TimeSpan) =
        if at - firstTouch > reading then record.LastSeen else min seenBefore record.LastSeen

    /// The last arrival of a request that it let in, its last elevation, or its beginning.
    member val ActiveAt = now with get, set
    /// Since when the absolute timeout counts.
    member val Since = now with get, set
    member val Subject: string option = None with get, set
    /// Since when it is this subject's.
    member val OwnedAt = now with get, set
    /// The last sign-in that is stored in it.
    member val SignedInBy: Op = null with get, set
    /// Sign-ins and other elevations that are stored, past its beginning.
    member val Elevations = 0 with get, set
    /// Who has heard of its end by time, to the end of the handler.
    member val Heard = 0 with get, set
    member val EndsTold = 0 with get, set

    member known.IsLive = Lifecycle.isLive known.State

let nameOf kind =
    match kind with
    | Look -> "looks"
    | Add -> "adds"
    | Save -> "saves"
    | Begin -> "begins anew"
    | SignIn subject -> $"signs in as {subject}"
    | Elevate -> "is elevated"
    | SignOut -> "signs out"
    | Reload -> "reloads"
    | AddTo id -> $"adds to {id} by id"
    | End id -> $"ends {id} by id"
    | EndAll subject -> $"ends all of {subject}"
    | EndEvery -> "ends everybody"

/// How the run of a seed is set up; another one for each seed.
type Setup =
    {
        Nodes: int
        Browsers: int
        Subjects: string array
        Settings: SessionSettings
        /// How far a clock is off at most.
        Skew: TimeSpan
        Steps: bool
        /// Milliseconds to the store and back; the same to the browser. Zero: the store is in the same process.
        Least: int
        Most: int
        /// Of a thousand calls, while it storms.
        Faults: int
        Crashes: bool
        Thief: bool
        /// Of a thousand handlers.
        Throws: int
        Hangs: int
        CallsBack: int
        InOrder: bool
        /// Users come back in the last seconds that their session has, and hang up often.
        Hasty: bool
    }
