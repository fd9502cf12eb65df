/// Engines without HTTP on a store of a test's own.
module Integration.Engines

open System
open System.Diagnostics
open System.Threading
open System.Threading.Tasks
open Expecto
open Microsoft.Extensions.Logging.Abstractions
open Microsoft.Extensions.Time.Testing
open Session.Domain
open Session.Engine

let silent =
    { new INoticeBoard with
        member _.Post _ = ValueTask.CompletedTask }

let settings: EngineSettings =
    { Policy =
        { Idle = TimeSpan.FromMinutes 30L
          Absolute = TimeSpan.FromHours 8
          Confirm = TimeSpan.FromMinutes 10L
          RotateEvery = None
          Grace = TimeSpan.FromSeconds 30L
          Retention = TimeSpan.FromHours 1
          OnReplay = DestroySession }
      MaxDataBytes = 65536
      MaxSessionsPerSubject = None
      WhenLimitReached = EndOldest
      ServerKey = null
      SealsToBearer = false
      Protector = null }

let engineOn (store: ISessionStore) settings (clock: TimeProvider) board =
    SessionEngine(store, settings, clock, NullLogger.Instance, board)

/// What a request answers 503 to.
let isUnavailable error =
    match error with
    | SessionError.Unavailable _
    | SessionError.Unsure _
    | SessionError.Unacknowledged _
    | SessionError.Contended -> true
    | _ -> false

/// Whoever has gone away already is asked nothing for.
let cancelledReadsAreNotSent (store: ISessionStore) =
    task {
        let gone = CancellationToken true

        let reads: (string * (unit -> Task)) list =
            [ "a load", (fun () -> store.Load("a", gone).AsTask() :> Task)
              "several at once", (fun () -> (store :?> IReadsMany).LoadMany([| "a"; "b" |], gone).AsTask() :> Task)
              "the list of a subject", (fun () -> store.BySubject("ada", null, 10, gone).AsTask() :> Task)
              "the list of all", (fun () -> store.Enumerate(null, 10, gone).AsTask() :> Task)
              "the number of all", (fun () -> store.Count(gone).AsTask() :> Task)
              "a notice", (fun () -> (store :?> ISessionSignals).Publish([| "a" |], gone).AsTask()) ]

        for what, read in reads do
            let! isNotSent =
                task {
                    try
                        do! read ()
                        return false
                    with :? OperationCanceledException ->
                        return true
                }

            Expect.isTrue isNotSent what
    }

/// While what must last is not acknowledged requests go on, with the tokens that they have, and all but one wait for nothing.
/// `mend`: from then on it is.
let renewalsArePutOff (store: ISessionStore) (mend: unit -> Task) =
    task {
        let every = TimeSpan.FromMinutes 15L

        let settings =
            { settings with
                Policy = { settings.Policy with RotateEvery = Some every } }

        let clock = FakeTimeProvider DateTimeOffset.UtcNow
        let node () = engineOn store settings clock silent
        let engine = node ()

        let present (at: SessionEngine) (text: string) =
            at.Present((Token.tryParse at.Hasher (text.AsSpan())).Value, true, CancellationToken.None)

        let opened answer =
            match answer with
            | Ok(opened: Opened) -> opened
            | Error error -> failtestf "%A" error

        let tokens = Collections.Generic.List<string>()

        for _ in 1..20 do
            let! created = engine.Create(Token.newId, None, [| 1uy |], CancellationToken.None)
            let token = (opened created).Issued.Value.Reveal()
            let! confirmed = present engine token
            opened confirmed |> ignore
            tokens.Add token

        clock.Advance every
        let watch = Stopwatch.StartNew()

        for token in tokens do
            let! answer = present engine token
            Expect.isNone (opened answer).Issued "it keeps its token"

        // Each would wait for a second or more.
        Expect.isLessThan watch.Elapsed (TimeSpan.FromSeconds 10L) "they wait for nothing"
        do! mend ()

        // One that has not just seen a renewal come to nothing.
        let! renewed = present (node ()) tokens[19]
        Expect.isSome (opened renewed).Issued "renewed"
    }
