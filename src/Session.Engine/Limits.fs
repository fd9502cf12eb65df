/// The sessions of a subject, and how many there may be.
namespace Session.Engine

open System
open System.Collections.Generic
open System.Threading
open System.Threading.Tasks
open Session.Domain

/// What was found of a subject that was not ended.
[<NoComparison; NoEquality>]
type internal Belongings =
    {
        /// Also those that are overdue by this node's clock: another node may still open them.
        Sessions: Snapshot list
        /// Records that this node cannot read.
        Unreadable: StoredRecord list
    }

[<Sealed>]
type internal Limits(access: StoreAccess, writers: Writers, settings: EngineSettings) =
    let policy, rules = settings.Policy, access.Rules
    let pageSize = 200

    // Sign-ins of one subject in this process take turns where the limit refuses: nobody is refused for a sign-in that
    // is refused itself.
    let turns = Array.init 64 (fun _ -> Turn())

    let nothingHeld =
        { new IDisposable with
            member _.Dispose() = () }

    let signedInAt (session: Snapshot) =
        match Lifecycle.living session.State with
        | ValueSome live -> struct (defaultArg live.AuthenticatedAt live.CreatedAt, session.Id)
        | ValueNone -> struct (DateTimeOffset.MinValue, session.Id)

    let isOverdue now (session: Snapshot) = (Rules.overdue rules now session.State).IsSome

    /// Whatever was found of a subject, page by page.
    member limits.Find(subject: string, errand: Errand, cancel: CancellationToken) =
        limits.Find(subject, errand, cancel, ignore)

    /// As many pages as there are, each with all the time of the errand: whoever ends them all must come to the last one.
    member limits.FindAll(subject: string, errand: Errand, cancel: CancellationToken) =
        limits.Find(subject, errand, cancel, errand.Renew)

    member private _.Find
        (subject: string, errand: Errand, cancel: CancellationToken, beforeEach: unit -> unit)
        : Task<Result<Belongings, SessionError>> =
        task {
            try
                let sessions, unreadable = List<Snapshot>(), List<StoredRecord>()
                let mutable after: string | null = null
                let mutable more = true

                while more do
                    cancel.ThrowIfCancellationRequested()
                    beforeEach ()
                    let! page = errand.Await(access.Store.BySubject(subject, after, pageSize, cancel), cancel)

                    for record in page.Records do
                        match access.Read(record.Id, record, null) with
                        | _ when record.Kind = RecordKind.Ended -> ()
                        | Error _ -> unreadable.Add record
                        | Ok snapshot ->
                            let state = Lifecycle.settle policy access.Now snapshot.State

                            match Lifecycle.living state with
                            | ValueSome live when live.Subject = Some subject ->
                                sessions.Add { snapshot with State = state }
                            | _ -> ()

                    // A listing that makes no progress would never end.
                    more <- not (isNull page.Next) && page.Next <> after
                    after <- page.Next

                return Ok { Sessions = List.ofSeq sessions; Unreadable = List.ofSeq unreadable }
            with error when not (error :? NotSupportedException) ->
                return Error(access.NotLoaded(error, cancel))
        }

    /// Ends one session, whoever holds it. False when there was none that lived.
    member limits.End(id: string, reason: DestroyReason, errand: Errand, cancel) =
        limits.EndOf(None, id, reason, errand, cancel)

    /// Only if it is this subject's: somebody else may have signed in to it since it was found.
    member _.EndOf(subject: string option, id: string, reason: DestroyReason, errand: Errand, cancel) =
        task {
            let isAnothers state =
                match Lifecycle.living state with
                | ValueSome live -> subject.IsSome && live.Subject <> subject
                | ValueNone -> false

            // Of the attempt that is stored: another may have found it alive.
            let plan: Plan<bool> =
                { Decide =
                    fun now state ->
                        let lived = Lifecycle.isLive state && (Rules.overdue rules now state).IsNone

                        match Rules.decide rules now (Destroy(reason, None)) state with
                        | Ok _ when isAnothers state -> Ok(struct ([], (fun _ -> false)))
                        | Ok events -> Ok(struct (events, (fun _ -> lived)))
                        | Error refusal -> Error(SessionError.ofRefusal refusal) }

            match! writers.Run(id, plan, errand, cancel) with
            | Reply.Done lived -> return Ok lived
            | Reply.Failed SessionError.NoSession -> return Ok false
            | Reply.Failed error
            | Reply.Partly(_, error) -> return Error error
        }

    /// Those that live. The overdue ones, which nobody has looked at since, are over on every node when it returns.
    member private limits.Live(subject: string, errand: Errand) : Task<Result<Snapshot list, SessionError>> =
        task {
            match! limits.Find(subject, errand, CancellationToken.None) with
            | Error error -> return Error error
            | Ok found ->
                let now = access.Now
                let over, live = found.Sessions |> List.partition (isOverdue now)
                let mutable answer = Ok live

                for session in over do
                    let expire = Plans.commandAsOf rules now Expire ignore

                    match! writers.Run(session.Id, expire, errand, CancellationToken.None) with
                    // Seen meanwhile, on a node whose clock is behind: it lives.
                    | Reply.Failed(SessionError.Refused _) ->
                        answer <- answer |> Result.map (fun live -> session :: live)
                    | Reply.Failed(SessionError.Unavailable _ | SessionError.Unsure _ | SessionError.Contended as error) ->
                        answer <- Error error
                    | _ -> ()

                return answer
        }

    /// Held for the length of a sign-in.
    member _.TakeTurn(subject: string option, errand: Errand) : Task<IDisposable> =
        match subject, settings.MaxSessionsPerSubject, settings.WhenLimitReached with
        | Some subject, Some _, RefuseNew ->
            task {
                let turn = turns[(subject.GetHashCode() &&& 0x7FFFFFFF) % turns.Length]

                // Without it the limit holds all the same; two sign-ins may both be refused then. So as much time is left for
                // the store as the turn may take.
                errand.Wait()

                match! turn.Take(errand.Left / 2.0, access.Limits.Timer) with
                | false -> return nothingHeld
                | true ->
                    return
                        { new IDisposable with
                            member _.Dispose() = turn.Leave() }
            }
        | _ -> Task.FromResult nothingHeld

    /// Asked before a sign-in is stored: a limit that is reached, or cannot be enforced, refuses it while nothing is changed.
    member limits.CanSignIn(subject: string option, own: string, errand: Errand) : Task<SessionError option> =
        task {
            match subject, settings.MaxSessionsPerSubject with
            | Some subject, Some most ->
                let! found = limits.Find(subject, errand, CancellationToken.None)

                match found, settings.WhenLimitReached with
                | Error error, _ -> return Some error
                | Ok _, EndOldest -> return None
                | Ok found, RefuseNew ->
                    let isOther (session: Snapshot) = session.Id <> own && not (isOverdue access.Now session)
                    let others = found.Sessions |> List.filter isOther
                    return if others.Length < most then None else Some(SessionError.LimitReached most)
            | _ -> return None
        }

    /// Called after a sign-in is stored and before it is acknowledged: whoever counts last finds every sign-in that was
    /// acknowledged before in the list. A count that fails takes nothing back: the client gets its token. One that is stored and
    /// not acknowledged counts as well, for its token goes out.
    member limits.Enforce(subject: string option, reply: Reply<Opened>, errand: Errand) : Task<Reply<Opened>> =
        let causeOf error : exn =
            match error with
            | SessionError.Unavailable cause
            | SessionError.Unsure cause -> cause
            | _ -> TimeoutException "The limit of sessions could not be enforced."

        match reply, subject, settings.MaxSessionsPerSubject with
        | (Reply.Done opened | Reply.Partly(opened, _)), Some subject, Some most ->
            task {
                let own = opened.Snapshot.Id

                let! error =
                    match settings.WhenLimitReached with
                    | EndOldest -> limits.EndOldest(subject, own, most, errand)
                    | RefuseNew -> limits.StepBack(subject, own, most, errand)

                match error, reply with
                | Some(SessionError.LimitExceeded _ as ended), _ -> return Reply.Failed ended
                | Some error, Reply.Done _ -> return Reply.Partly(opened, SessionError.Unacknowledged(causeOf error))
                | _ -> return reply
            }
        | _ -> Task.FromResult reply

    member private limits.EndOldest(subject, own: string, most: int, errand) : Task<SessionError option> =
        task {
            match! limits.Live(subject, errand) with
            | Error error -> return Some error
            | Ok sessions ->
                // The newest N are the same for whoever counts last.
                let tooMany = sessions |> List.sortByDescending signedInAt |> List.skip (min most sessions.Length)
                let mutable failure = None
                let mutable isOver = false

                for session in tooMany do
                    match! limits.EndOf(Some subject, session.Id, Limit, errand, CancellationToken.None) with
                    | Ok _ -> isOver <- isOver || session.Id = own
                    | Error error -> failure <- Some error

                // Whatever else failed: its token opens nothing.
                return if isOver then Some(SessionError.LimitExceeded most) else failure
        }

    /// Acknowledged only when, with this one stored, fewer than N others are: so never more than N, whatever the clocks say.
    /// Where several nodes collide the earlier ones wait for the later ones to step back.
    member private limits.StepBack(subject, own: string, most: int, errand) : Task<SessionError option> =
        task {
            let mutable answer = ValueNone
            let mutable attempt = 0

            while answer.IsNone do
                attempt <- attempt + 1

                match! limits.Live(subject, errand) with
                | Error error -> answer <- ValueSome(Some error)
                | Ok sessions ->
                    let mine, others = sessions |> List.partition (fun session -> session.Id = own)

                    let isEarlier (session: Snapshot) =
                        match mine with
                        | [] -> true
                        | mine :: _ -> signedInAt session < signedInAt mine

                    if others.Length < most then
                        answer <- ValueSome None
                    elif attempt = 15 || (others |> List.filter isEarlier).Length >= most then
                        match! limits.End(own, Limit, errand, CancellationToken.None) with
                        | Ok _ -> answer <- ValueSome(Some(SessionError.LimitExceeded most))
                        | Error error -> answer <- ValueSome(Some error)
                    else
                        do! Task.Delay(TimeSpan.FromMilliseconds 20L, access.Limits.Timer)

            return answer.Value
        }
