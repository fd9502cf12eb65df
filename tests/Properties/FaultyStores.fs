/// Stores that fail, are slow or silent, and what tests of the engine ask over them.
module Properties.FaultyStores

open System
open System.Collections.Generic
open System.Threading
open System.Threading.Tasks
open Expecto
open Microsoft.Extensions.Logging
open Microsoft.Extensions.Logging.Abstractions
open Session.Domain
open Session.Engine
open Properties.Engines
open Properties.Histories

let none = CancellationToken.None

/// What becomes of one write.
type Fate =
    | Fine
    /// No answer, and it was taken; it was lost; it arrives when another write has come, or later.
    | UnknownTaken
    | UnknownLost
    | UnknownLate
    /// An exception, and it was taken; it was lost.
    | ThrowsTaken
    | ThrowsLost
    /// The store says no to it.
    | Refused
    /// Taken, but not kept as widely as it has to be.
    | NotAcknowledged

let fates =
    [| Fine
       UnknownTaken
       UnknownLost
       UnknownLate
       ThrowsTaken
       ThrowsLost
       Refused
       NotAcknowledged |]

/// A store whose writes have the fates that `next` gives them, one after another.
type Faulty(inner: ISessionStore, next: unit -> Fate) =
    inherit ForwardingStore(inner)
    let late = Queue<unit -> Task>()

    let arrive () =
        task {
            while late.Count > 0 do
                do! late.Dequeue () ()
        }

    let write (send: unit -> ValueTask<WriteResult>) =
        ValueTask<WriteResult>(
            task =
                task {
                    let fate = next ()

                    match fate with
                    | UnknownLate ->
                        late.Enqueue(fun () ->
                            task {
                                let! _ = send ()
                                ()
                            })

                        return WriteResult.Unknown
                    | UnknownLost -> return WriteResult.Unknown
                    | ThrowsLost -> return raise (InvalidOperationException "lost")
                    | Refused -> return raise (StoreRefusedException("refused", null))
                    | Fine
                    | UnknownTaken
                    | ThrowsTaken
                    | NotAcknowledged ->
                        // Those that were on their way come first: they are older.
                        do! arrive ()
                        let! result = send ()

                        match fate, result with
                        | UnknownTaken, _ -> return WriteResult.Unknown
                        | ThrowsTaken, _ -> return raise (InvalidOperationException "taken, and no answer")
                        | NotAcknowledged, WriteResult.Written -> return WriteResult.Unacknowledged
                        | _, result -> return result
                }
        )

    member _.Arrive() = arrive ()
    override _.Insert(record, cancel) = write (fun () -> inner.Insert(record, cancel))
    override _.Replace(record, expected, cancel) = write (fun () -> inner.Replace(record, expected, cancel))

let dataOf (found: Result<Snapshot option, SessionError>) =
    match ok found |> Option.bind (fun session -> Lifecycle.liveOf session.State) with
    | Some live -> Some(int live.Data[0])
    | None -> None

let opens (engine: SessionEngine) (token: IssuedToken) =
    task {
        let presented = (Token.tryParse engine.Hasher (token.Reveal().AsSpan())).Value
        let! (answer: Result<Opened, SessionError>) = engine.Present(presented, false, none)
        return answer.IsOk
    }

/// An engine on a store that has its faults, and one on the same records without any: the judge.
let pair (settings: EngineSettings) clock next =
    let memory = MemoryStore()
    let faulty = Faulty(memory, next)

    faulty,
    SessionEngine(faulty, settings, clock, NullLogger.Instance, silent),
    SessionEngine(memory, settings, clock, NullLogger.Instance, silent)

let hangs =
    { new INoticeBoard with
        member _.Post _ = ValueTask(TaskCompletionSource().Task) }

/// Takes the calls that `isSlow` chooses a while.
type Slow(store: ISessionStore, delay: TimeSpan) =
    inherit ForwardingStore(store)

    let late (answer: unit -> ValueTask<'a>) =
        ValueTask<'a>(
            task =
                task {
                    do! Task.Delay delay
                    return! answer ()
                }
        )

    override _.Load(id, cancel) = late (fun () -> store.Load(id, cancel))
    override _.Replace(record, expected, cancel) = late (fun () -> store.Replace(record, expected, cancel))

    override _.BySubject(subject, after, limit, cancel) =
        late (fun () -> store.BySubject(subject, after, limit, cancel))

/// Fails what it is told to fail.
type Failing(store: ISessionStore) =
    inherit ForwardingStore(store)
    member val Lists = true with get, set
    member val Loads = true with get, set
    member val Broken: string option = None with get, set
    member val Replaced = 0 with get, set

    override failing.Load(id, cancel) =
        if failing.Loads then store.Load(id, cancel) else raise (TimeoutException "no answer")

    override failing.Replace(record, expected, cancel) =
        failing.Replaced <- failing.Replaced + 1

        if failing.Broken = Some record.Id then
            raise (TimeoutException "no answer")
        else
            store.Replace(record, expected, cancel)

    override failing.BySubject(subject, after, limit, cancel) =
        if failing.Lists then store.BySubject(subject, after, limit, cancel) else raise (TimeoutException "no answer")

[<Sealed>]
type Lines() =
    let lines = List<string>()
    member _.Count = lock lines (fun () -> lines.Count)
    member _.Last = lock lines (fun () -> lines[lines.Count - 1])

    interface ILogger with
        member _.BeginScope _ = null
        member _.IsEnabled _ = true
        member _.Log(_, _, state, error, format) = lock lines (fun () -> lines.Add(format.Invoke(state, error)))

/// As a request asks for it: what waits for its turn shares a write.
let update (engine: SessionEngine) (from: Opened, change: byte[] -> Result<byte[], SessionError>, cancel) =
    task {
        let change data = change data |> Result.map (fun data -> struct (data, ()))

        match! engine.Requests.Update(from, change, engine.NewErrand(), cancel) with
        | Reply.Done(struct (opened, ())) -> return Ok opened
        | Reply.Failed error
        | Reply.Partly(_, error) -> return Error error
    }

/// Nodes with other keys: one cannot read what the other has written.
let keys (key: byte) =
    { new IRecordProtector with
        member _.Protect record = Array.append [| key |] record
        member _.Unprotect stored = if stored[0] = key then stored[1..] else null }

let within (limit: TimeSpan) (work: Task<'a>) : Task<'a> = work.WaitAsync limit
