/// What this node has seen lately, for the dashboard: kept only where there is one, bounded, and without any data.
namespace Session.AspNetCore

open System
open System.Collections.Generic
open Session.Domain
open Session.Engine

[<NoComparison; NoEquality>]
type internal Entry =
    {
        At: DateTimeOffset
        What: string
        /// Empty: no session is meant.
        Id: string
        Subject: string option
    }

/// What happened within one minute.
[<Sealed>]
type internal Minute(number: int64) =
    /// Minutes since year one.
    member _.Number = number
    member val Began = 0L with get, set
    member val SignIns = 0L with get, set
    member val Over = 0L with get, set
    member val Refused = 0L with get, set
    /// -1: not counted.
    member val Live = -1L with get, set

[<RequireQualifiedAccess>]
module internal Said =
    let reason reason =
        match reason with
        | SignedOut -> "signed out"
        | Revoked -> "ended from outside (a devices page, an operator, the application)"
        | Replayed -> "a superseded token was presented: it may be stolen"
        | Limit -> "too many sessions of its subject"

    let kind kind =
        match kind with
        | Unconfirmed -> "its token never came back"
        | Idle -> "idle for too long"
        | Absolute -> "its time since sign-in was over"

    let notice (notice: NoticeKind) (subject: string option) =
        match notice with
        | CreatedNotice when subject.IsSome -> "Began with a sign-in"
        | CreatedNotice -> "Began"
        | RenewedNotice -> "Token renewed"
        | ElevatedNotice -> "New token after a change of privilege"
        | SignedInNotice -> "Signed in"
        | DestroyedNotice why -> String.Concat("Ended: ", reason why)
        | ExpiredNotice why -> String.Concat("Ended by time: ", kind why)
        | ReplayedNotice -> "A superseded token was presented: it may be stolen"
        | OutdatedNotice -> "A token from before a sign-in was refused"
        | UnreadableNotice _ -> "Its record or data cannot be read"
        | RefusedNotice RefusalReason.Guessed -> "A token with a wrong secret was refused"
        | RefusedNotice RefusalReason.Duplicated -> "Two different tokens in one request were refused"
        | RefusedNotice RefusalReason.Malformed -> "What is no token was refused"

[<Sealed>]
type internal Chronicle(clock: TimeProvider) =
    let gate = obj ()
    let kept, hour = 60, 60L

    // One for each: whoever floods a site with visits or with made up tokens does not hide who signed in, and whose session ended.
    let begun, people, refused = Queue<Entry>(), Queue<Entry>(), Queue<Entry>()
    let minutes = Array.init (int hour) (fun _ -> Minute -1L)

    let shelf kind =
        match kind with
        | CreatedNotice
        | RenewedNotice
        | ElevatedNotice -> begun
        | SignedInNotice
        | DestroyedNotice _
        | ExpiredNotice _
        | ReplayedNotice -> people
        | OutdatedNotice
        | UnreadableNotice _
        | RefusedNotice _ -> refused

    let numberOf (at: DateTimeOffset) = at.UtcTicks / TimeSpan.TicksPerMinute

    let current () =
        let number = numberOf (clock.GetUtcNow())
        let place = int (number % hour)

        if minutes[place].Number <> number then
            minutes[place] <- Minute number

        minutes[place]

    member val Since = clock.GetUtcNow()

    member _.Note(notice: Notice) =
        lock gate (fun () ->
            let shelf =
                match notice.Kind, notice.Subject with
                | CreatedNotice, Some _ -> people
                | kind, _ -> shelf kind

            if shelf.Count = kept then
                shelf.Dequeue() |> ignore

            shelf.Enqueue
                { At = notice.At
                  What = Said.notice notice.Kind notice.Subject
                  Id = notice.Id
                  Subject = notice.Subject })

    member _.Count(change: Minute -> unit) = lock gate (fun () -> change (current ()))

    /// Newest first.
    member _.Lately: Entry list =
        lock gate (fun () -> [ yield! begun; yield! people; yield! refused ]) |> List.sortByDescending _.At

    /// The last hour, oldest first, one for each minute.
    member _.Hour: Minute list =
        let now = numberOf (clock.GetUtcNow())

        lock gate (fun () ->
            [ for number in now - hour + 1L .. now do
                  let minute = minutes[int (number % hour)]
                  if minute.Number = number then minute else Minute number ])
