/// Engines for tests: each operation as a test asks for it, and stores that take their time.
module Properties.Engines

open System
open System.Threading
open System.Threading.Tasks
open Expecto
open Microsoft.Extensions.Logging.Abstractions
open Session.Domain
open Session.Engine
open Properties.Histories

let silent =
    { new INoticeBoard with
        member _.Post _ = ValueTask.CompletedTask }

let settings =
    { Policy =
        { policy with
            Idle = TimeSpan.FromMinutes 20L
            Absolute = TimeSpan.FromHours 8.0 }
      MaxDataBytes = 1000
      MaxSessionsPerSubject = None
      WhenLimitReached = EndOldest
      SealsToBearer = false
      Protector = null
      ServerKey = null }

/// A subject may have so many sessions.
let limitedTo (count: int) (whenReached: LimitPolicy) =
    { settings with
        MaxSessionsPerSubject = Some count
        WhenLimitReached = whenReached }

/// For the seeded bugs, which are many: no delays, fewer seeds.
let mutable isQuick = false

/// Answers a millisecond late: what a store elsewhere does, and what one in this process hides.
type Late(store: ISessionStore) =
    inherit ForwardingStore(store)

    let late (answer: unit -> ValueTask<'a>) =
        ValueTask<'a>(
            task =
                task {
                    if not isQuick then
                        do! Task.Delay 1

                    return! answer ()
                }
        )

    override _.Insert(record, cancel) = late (fun () -> store.Insert(record, cancel))
    override _.Load(id, cancel) = late (fun () -> store.Load(id, cancel))
    override _.Replace(record, expected, cancel) = late (fun () -> store.Replace(record, expected, cancel))

    override _.BySubject(subject, after, limit, cancel) =
        late (fun () -> store.BySubject(subject, after, limit, cancel))

let engineWith store settings = SessionEngine(store, settings, TimeProvider.System, NullLogger.Instance, silent)

/// The same, which waits no longer than this for the store, and for a handler.
let impatient store settings (limit: TimeSpan) board =
    let waits =
        { WaitLimits.Default with
            RequestTimeout = limit
            EventTimeout = limit }

    SessionEngine(store, settings, waits, TimeProvider.System, NullLogger.Instance, board)

let ok (answer: Result<'a, SessionError>) =
    match answer with
    | Ok value -> value
    | Error error -> failtestf "refused: %A" error
