/// Engines without HTTP on a store of a test's own.
module Integration.Engines

open System
open System.Threading.Tasks
open Microsoft.Extensions.Logging.Abstractions
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
