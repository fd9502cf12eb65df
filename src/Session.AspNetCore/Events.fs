/// What an F# application hears of: the notices of the engine as a union, with the data.
namespace Session.AspNetCore

open System
open System.Collections.Generic
open System.Runtime.ExceptionServices
open System.Threading.Tasks
open Microsoft.Extensions.DependencyInjection
open Session.Domain
open Session.Engine

/// What is known of a session when something has happened to it.
[<RequireQualifiedAccess>]
type SessionFacts<'T> =
    {
        /// The session; empty for Refused, unless it was a guess.
        Id: string
        /// Whose session it is.
        Subject: string option
        /// The data as it is, or was at the end. None when there is none, or it cannot be read.
        Data: 'T option
        /// When (UTC).
        At: DateTimeOffset
    }

/// What happened to a session, told once it is stored. What a handler throws is logged, and changes nothing.
[<RequireQualifiedAccess>]
type SessionEvent<'T> =
    /// A session was created. At most once.
    | Created of SessionFacts<'T>
    /// A session has a new token. At most once.
    | Regenerated of SessionFacts<'T> * reason: Session.RegenerationReason
    /// A subject signed in, with a session before or without (ASVS 16.3.1). After Regenerated or Created. At most once.
    | SignedIn of SessionFacts<'T>
    /// A session was ended on purpose. At most once.
    | Destroyed of SessionFacts<'T> * reason: Session.DestroyReason
    /// A session was ended by time. At least once, on one node; without a crash exactly once.
    | Expired of SessionFacts<'T> * kind: Session.ExpiryKind
    /// A superseded token was presented after its grace: the sign of theft. Once for each token.
    | Replayed of SessionFacts<'T>
    /// A token from before an elevation was presented, and refused: a request in flight, or a planted token. Each time.
    | Outdated of SessionFacts<'T>
    /// A request that looked at its session brought what opens nothing (ASVS 16.3.3). Each time: keep it quick.
    | Refused of SessionFacts<'T> * reason: Session.RefusalReason
    /// A record, or the data in it, could not be read. Each time.
    | Unreadable of SessionFacts<'T> * reason: string

    /// What is known of the session, whatever happened.
    member event.Facts =
        match event with
        | SessionEvent.Created facts
        | SessionEvent.Regenerated(facts, _)
        | SessionEvent.SignedIn facts
        | SessionEvent.Destroyed(facts, _)
        | SessionEvent.Expired(facts, _)
        | SessionEvent.Replayed facts
        | SessionEvent.Outdated facts
        | SessionEvent.Refused(facts, _)
        | SessionEvent.Unreadable(facts, _) -> facts

    override event.ToString() =
        let what =
            match event with
            | SessionEvent.Created _ -> "Created"
            | SessionEvent.Regenerated(_, reason) -> String.Concat("Regenerated (", reason, ")")
            | SessionEvent.SignedIn _ -> "SignedIn"
            | SessionEvent.Destroyed(_, reason) -> String.Concat("Destroyed (", reason, ")")
            | SessionEvent.Expired(_, kind) -> String.Concat("Expired (", kind, ")")
            | SessionEvent.Replayed _ -> "Replayed"
            | SessionEvent.Outdated _ -> "Outdated"
            | SessionEvent.Refused(_, reason) -> String.Concat("Refused (", reason, ")")
            | SessionEvent.Unreadable(_, reason) -> String.Concat("Unreadable (", reason, ")")

        if event.Facts.Id = "" then what else String.Concat(what, " ", event.Facts.Id)

[<RequireQualifiedAccess>]
module internal SessionEvents =
    let private eventsOf (notice: Notice) (facts: SessionFacts<'T>) : SessionEvent<'T> list =
        match notice.Kind, notice.Subject with
        | CreatedNotice, None -> [ SessionEvent.Created facts ]
        | CreatedNotice, Some _ -> [ SessionEvent.Created facts; SessionEvent.SignedIn facts ]
        | RenewedNotice, _ -> [ SessionEvent.Regenerated(facts, Session.RegenerationReason.Renewal) ]
        | ElevatedNotice, _ -> [ SessionEvent.Regenerated(facts, Session.RegenerationReason.Elevation) ]
        | SignedInNotice, _ ->
            [ SessionEvent.Regenerated(facts, Session.RegenerationReason.SignIn)
              SessionEvent.SignedIn facts ]
        | DestroyedNotice reason, _ -> [ SessionEvent.Destroyed(facts, reason) ]
        | ExpiredNotice kind, _ -> [ SessionEvent.Expired(facts, kind) ]
        | ReplayedNotice, _ -> [ SessionEvent.Replayed facts ]
        | OutdatedNotice, _ -> [ SessionEvent.Outdated facts ]
        | RefusedNotice reason, _ -> [ SessionEvent.Refused(facts, reason) ]
        | UnreadableNotice reason, _ -> [ SessionEvent.Unreadable(facts, reason) ]

    /// One after another. The later ones are told although an earlier one fails; what they have thrown goes on afterwards. Where
    /// all are told again, a later one waits for those before it: it would hear the same each time.
    let private tellEach isToldAgain (tellings: (unit -> Task) list) : Task =
        task {
            let failures = List<exn>()

            for tell in tellings do
                try
                    if not (isToldAgain && failures.Count > 0) then
                        do! tell ()
                with error ->
                    failures.Add error

            match failures.Count with
            | 0 -> ()
            | 1 -> ExceptionDispatchInfo.Throw failures[0]
            | _ -> raise (AggregateException failures)
        }

    /// The settings, with this handler beside what they tell already.
    let tell (handle: SessionEvent<'T> -> IServiceProvider -> Task) (settings: SessionSettings) : SessionSettings =
        let onNotice (notice: Notice) : NoticeHandler option =
            let before = settings.OnNotice notice

            Some(fun services ->
                task {
                    let data =
                        match services.GetRequiredService<SessionService<'T>>().Deserialize notice.Data with
                        | Ok data -> data
                        // The event still matters: why its data cannot be read is logged there.
                        | Error _ -> None

                    let facts: SessionFacts<'T> =
                        { Id = notice.Id
                          Subject = notice.Subject
                          Data = data
                          At = notice.At }

                    do!
                        tellEach
                            notice.Kind.IsExpiredNotice
                            [ match before with
                              | Some before -> fun () -> before services
                              | None -> ()

                              for event in eventsOf notice facts do
                                  fun () -> handle event services ]
                })

        { settings with OnNotice = onNotice }
