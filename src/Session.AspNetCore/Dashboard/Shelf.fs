/// Some of the sessions of a subject at a time: two commands to the store, however many it has, or the subject.
namespace Session.AspNetCore

open System
open System.Threading
open System.Threading.Tasks
open Session.Domain
open Session.Engine

/// A page of a subject's sessions, tombstones included; `Next` is null on the last one.
[<NoComparison; NoEquality>]
type internal Shelf =
    {
        Sessions: Snapshot list
        Unreadable: int
        Next: string | null
        /// False: the store cannot list.
        Lists: bool
    }

[<RequireQualifiedAccess>]
module internal Shelf =
    let size = 50

    /// As it is at this moment, whatever was stored last.
    let settle (engine: SessionEngine) (now: DateTimeOffset) (session: Snapshot) =
        { session with
            State = Lifecycle.settle engine.Settings.Policy now session.State }

    /// The end that time has brought, and that nobody has stored yet.
    let overdue
        (engine: SessionEngine)
        (now: DateTimeOffset)
        (session: Snapshot)
        : struct (ExpiryKind * DateTimeOffset) voption =
        if Lifecycle.isLive session.State then
            engine.Deadline session.State |> ValueOption.filter (fun struct (_, at) -> at <= now)
        else
            ValueNone

    let isLive engine now (session: Snapshot) = Lifecycle.isLive session.State && (overdue engine now session).IsNone

    /// What every record has; none for what is absent.
    let known (session: Snapshot) : Live option =
        match session.State with
        | Absent -> None
        | Created live
        | Active live
        | Regenerated(live, _)
        | Destroyed(live, _, _)
        | Expired(live, _, _, _) -> Some live

    /// The record says whose a session is: an index may be behind.
    let private isOf subject (session: Snapshot) =
        match known session with
        | Some live -> live.Subject = Some subject
        | None -> false

    let private list (engine: SessionEngine) (subject: string) (after: string | null) (cancel: CancellationToken) =
        task {
            try
                let! page =
                    engine.Store
                        .BySubject(subject, after, size, cancel)
                        .AsTask()
                        .WaitAsync(engine.Waits.RequestTimeout, engine.Waits.Timer, cancel)

                return Ok(Some page)
            with
            | :? NotSupportedException -> return Ok None
            | error when not cancel.IsCancellationRequested -> return Error(SessionError.Unavailable error)
        }

    /// Those of a subject from `after` on.
    let ofSubject
        (engine: SessionEngine)
        (now: DateTimeOffset)
        (subject: string)
        (after: string | null)
        (cancel: CancellationToken)
        : Task<Result<Shelf, SessionError>> =
        task {
            match! list engine subject after cancel with
            | Error error -> return Error error
            | Ok None -> return Ok { Sessions = []; Unreadable = 0; Next = null; Lists = false }
            | Ok(Some page) ->
                let! found =
                    if page.Records.Count = 0 then
                        Task.FromResult(Collections.Generic.Dictionary())
                    else
                        engine.Look [| for record in page.Records -> record.Id |]

                let failure =
                    found.Values
                    |> Seq.tryPick (fun it ->
                        match it with
                        | Error(SessionError.Unavailable _ as error) -> Some error
                        | _ -> None)

                match failure with
                | Some error -> return Error error
                | None ->
                    return
                        Ok
                            { Sessions =
                                [ for it in found.Values do
                                      match it with
                                      | Ok session when isOf subject session -> settle engine now session
                                      | _ -> () ]
                              Unreadable = found.Values |> Seq.filter (fun it -> Result.isError it) |> Seq.length
                              Next = page.Next
                              Lists = true }
        }
