/// One session that connections of this node are open for: what is known of it, what ends it, and why it ended.
namespace Session.AspNetCore

open System
open System.Threading
open System.Threading.Tasks
open Session.Domain
open Session.Engine

/// Why a connection has to end together with its session.
[<RequireQualifiedAccess>]
type EndCause =
    /// The session is over: ended on purpose, or by time.
    | Over of Ending
    /// It lives on under another token, of the same subject: a sign-in, a second factor, another role.
    | Elevated
    /// Another subject has signed in to it.
    | OtherSubject
    /// It is no longer in the store.
    | Removed

    override cause.ToString() =
        match cause with
        | EndCause.Over ending -> String.Concat("Over (", ending, ")")
        | EndCause.Elevated -> "Elevated"
        | EndCause.OtherSubject -> "OtherSubject"
        | EndCause.Removed -> "Removed"

/// One session under one elevation, shared by all connections that are open for it.
[<Sealed>]
type internal OpenSession(id: string, live: Live, kind: ExpiryKind, endsAt: DateTimeOffset) =
    let source = new CancellationTokenSource()

    member _.Id = id
    member _.CreatedAt = live.CreatedAt
    member _.Elevations = live.Elevations
    member _.Subject = live.Subject
    member _.Token = source.Token
    /// As the store said when it was asked last: other requests may have moved it since.
    member val EndsAt = endsAt with get, set
    member val EndKind = kind with get, set
    /// How many connections. Changed by whoever holds the gate of the registry.
    member val Holders = 0 with get, set
    member val Cause: EndCause voption = ValueNone with get, set

    /// The callbacks run on other threads: whoever ends a session does not wait for its connections.
    member session.Fire(cause: EndCause) : Task =
        session.Cause <- ValueSome cause
        source.CancelAsync()

[<RequireQualifiedAccess>]
module internal OpenSession =
    /// What has become of a session by what the store says now; none: it goes on, with a deadline that may have moved. A store
    /// that does not answer ends nothing before the deadline as it was last seen, and everything then.
    let judge
        (engine: SessionEngine)
        (now: DateTimeOffset)
        (session: OpenSession)
        (found: Result<Snapshot, SessionError>)
        =
        match found with
        | Error _ -> if session.EndsAt <= now then ValueSome(EndCause.Over(ByTime session.EndKind)) else ValueNone
        | Ok snapshot ->
            let state = Lifecycle.settle engine.Settings.Policy now snapshot.State

            match state, Lifecycle.living state, engine.Deadline state with
            | Destroyed(_, reason, _), _, _ -> ValueSome(EndCause.Over(OnPurpose reason))
            | Expired(_, kind, _, _), _, _ -> ValueSome(EndCause.Over(ByTime kind))
            | _, ValueSome live, _ when live.CreatedAt <> session.CreatedAt -> ValueSome EndCause.Removed
            | _, ValueSome live, _ when live.Elevations <> session.Elevations ->
                ValueSome(if live.Subject = session.Subject then EndCause.Elevated else EndCause.OtherSubject)
            | _, ValueSome _, ValueSome(struct (kind, at)) when at <= now -> ValueSome(EndCause.Over(ByTime kind))
            | _, ValueSome _, ValueSome(struct (kind, at)) ->
                session.EndsAt <- at
                session.EndKind <- kind
                ValueNone
            // A sweeper has removed what time had ended.
            | _ when session.EndsAt <= now -> ValueSome(EndCause.Over(ByTime session.EndKind))
            | _ -> ValueSome EndCause.Removed
