/// What is told to the application, once it is stored and everything that was held for it is released.
namespace Session.Engine

open System
open System.Runtime.ExceptionServices
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open Session.Domain

[<RequireQualifiedAccess>]
module internal Notices =
    let private kindOf event =
        match event with
        | WasCreated _ -> ValueSome CreatedNotice
        | RenewalConfirmed _ -> ValueSome RenewedNotice
        | WasElevated _ -> ValueSome ElevatedNotice
        | WasSignedIn _ -> ValueSome SignedInNotice
        | WasReplayed _ -> ValueSome ReplayedNotice
        | WasDestroyed(reason, _) -> ValueSome(DestroyedNotice reason)
        // The sweeper tells of the end by time: once, and on one node of a fleet.
        | HasExpired _
        | WasConfirmed
        | WasSeen _
        | WasWritten _
        | RenewalIssued _
        | GraceEnded _
        | WasTold
        | WasLeft -> ValueNone

    /// What a stored change is worth telling.
    let collect (errand: Errand) (write: Write<'out>) =
        for event in write.Events do
            match kindOf event with
            | ValueNone -> ()
            | ValueSome kind ->
                // The end has no data any more: the data that ended is told.
                let live =
                    match Lifecycle.living write.After.State, Lifecycle.living write.Before.State with
                    | ValueSome live, _
                    | ValueNone, ValueSome live -> live
                    | ValueNone, ValueNone -> Records.AnyLive write.After.State

                errand.Note
                    { Kind = kind
                      Id = write.Before.Id
                      Subject = live.Subject
                      Data = live.Data
                      At = write.At }

    let nameOf (kind: NoticeKind) =
        match kind with
        | CreatedNotice -> "created"
        | RenewedNotice -> "renewed"
        | ElevatedNotice -> "elevated"
        | SignedInNotice -> "signed in"
        | DestroyedNotice _ -> "destroyed"
        | ExpiredNotice _ -> "expired"
        | ReplayedNotice -> "replayed"
        | OutdatedNotice -> "outdated"
        | UnreadableNotice _ -> "unreadable"
        | RefusedNotice _ -> "refused"

/// Hears of all that an operation has to tell before anybody is told, and returns at once.
type internal IHearsFirst =
    abstract Hear: Notice list -> unit

/// Tells the application, one notice after another, and waits for each handler, but not for ever.
[<Sealed>]
type internal Announcer(limits: WaitLimits, board: INoticeBoard, log: ILogger) =
    /// False when the handler failed, which is said then, however late that is. However long it takes.
    member _.Begin(notice: Notice) : Task<bool> =
        task {
            try
                do! board.Post notice
                return true
            with error ->
                EngineLog.handlerFailed log error (Notices.nameOf notice.Kind) notice.Id
                return false
        }

    /// Waits for what was begun, and says when it does not come to its end within the limit.
    member _.Attend(telling: Task<bool>, notice: Notice, limit: TimeSpan) : Task =
        if telling.IsCompleted then
            Task.CompletedTask
        else
            task {
                try
                    let! _ = telling.WaitAsync(limit, limits.Timer)
                    ()
                with :? TimeoutException as error ->
                    EngineLog.handlerIsSlow log error (Notices.nameOf notice.Kind) notice.Id limit
            }

    member announcer.TellAll(errand: Errand) : Task =
        if not errand.HasNews then
            Task.CompletedTask
        else
            let news = errand.TakeNews()

            match board with
            | :? IHearsFirst as first -> first.Hear news
            | _ -> ()

            task {
                for notice in news do
                    do! announcer.Attend(announcer.Begin notice, notice, limits.EventTimeout)
            }

    /// What an operation has to tell is told before it returns, whatever it throws.
    member announcer.Told(errand: Errand, operation: Errand -> Task<'answer>) : Task<'answer> =
        task {
            try
                let! answer = operation errand
                do! announcer.TellAll errand
                return answer
            with error ->
                // Given up half way: what had happened by then is told all the same.
                do! announcer.TellAll errand
                ExceptionDispatchInfo.Throw error
                return Unchecked.defaultof<'answer>
        }
