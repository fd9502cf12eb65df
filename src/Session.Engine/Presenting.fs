/// Who comes with a token: whether it opens its session, and what that stores. Nearly every request only reads.
namespace Session.Engine

open System
open System.Threading.Tasks
open Session.Domain

/// What a token comes to, as far as that is known before anything is asked of the store.
[<Struct; RequireQualifiedAccess; NoComparison; NoEquality>]
type private Sight =
    /// Nothing to store, to issue or to refuse.
    | Opens of Opened
    /// It lets in, and the next token is due.
    | IsDue
    /// It is confirmed, refused or seen, or there is nothing that it opens.
    | Other

[<Sealed>]
type internal Presenting
    (access: StoreAccess, writers: Writers, renewals: Renewals, settings: EngineSettings, hasher: SecretHasher) =
    let policy, rules = settings.Policy, access.Rules

    /// Under the current server key, or the former one that this session knows the token by.
    let hashFor (token: PresentedToken) state =
        match token.Former with
        | [] -> token.Hash
        | former ->
            token.Hash :: (former |> List.map (fun (struct (hash, _)) -> hash))
            |> List.tryFind (fun hash -> not (Lifecycle.standing hash state).IsUnknown)
            |> Option.defaultValue token.Hash

    /// A request that is only a look moves no deadline, and neither does what it writes later.
    let judge isLook now (hash: SecretHash) arrivedAt state =
        match Rules.decide rules now (Present(hash, arrivedAt)) state with
        | Ok events when isLook -> Ok(events |> List.filter (fun event -> not event.IsWasSeen))
        | judged -> judged

    let seenAt isLook (arrivedAt: DateTimeOffset) = if isLook then DateTimeOffset.MinValue else arrivedAt

    /// `touches`: whether the store is told that the session was seen, where that is due.
    let look (before: Snapshot) (token: PresentedToken) arrivedAt mayIssue touches isLook keys : Sight =
        let now = access.Now
        let hash = hashFor token before.State

        match judge isLook now hash arrivedAt before.State with
        | Error _ -> Sight.Other
        | Ok events ->
            let isRead = access.IsRead(before, events, touches)

            // What a touch would store is not due where it only reads, so the session ends when the record says, and not later.
            let counted = if isRead then List.filter Event.isNoTouch events else events
            let after = List.fold Lifecycle.evolve before.State counted

            if
                mayIssue
                && before.IsOpen
                && Lifecycle.letsIn events after
                && Lifecycle.isRenewalDue policy now after
            then
                Sight.IsDue
            elif isRead then
                let shown = if counted.IsEmpty then before else { before with State = after }

                Sight.Opens
                    { Snapshot = shown
                      Grant = Lifecycle.grant hash (seenAt isLook arrivedAt) after
                      Issued = None
                      IsRenewal = false
                      Keys = keys }
            else
                Sight.Other

    /// Whether the client of this tombstone has gone on to a new session: it knows no token any more, and whoever comes with
    /// one, for the answer was lost, begins anew.
    let isLeft state =
        match state with
        | Destroyed(live, _, _)
        | Expired(live, _, _, _) -> live.Secret.Equals Unchecked.defaultof<SecretHash>
        | Absent
        | Created _
        | Active _
        | Regenerated _ -> false

    /// Confirms, issues, touches, or refuses.
    let planOf (token: PresentedToken) arrivedAt mayIssue isLook (keys: BearerKeys | null) =
        // One secret for all attempts: whichever of them is stored, this is what it gives out.
        let mutable minted: Secret | null = null

        let mint () =
            match minted with
            | null ->
                let secret = Secret.Mint()
                minted <- secret

                match keys, secret.KeyWith(hasher, token.Id) with
                | null, _
                | _, null -> ()
                | keys, key -> keys.Offer(secret.HashWith(hasher, token.Id), key)

                secret
            | secret -> secret

        let opened hash issued (snapshot: Snapshot) : Result<Opened, SessionError> =
            Ok
                { Snapshot = snapshot
                  Grant = Lifecycle.grant hash (seenAt isLook arrivedAt) snapshot.State
                  Issued = issued
                  IsRenewal = issued.IsSome
                  Keys = keys }

        let refusedBy (snapshot: Snapshot) : Result<Opened, SessionError> =
            match snapshot.State with
            | Expired(_, kind, at, _) -> Error(SessionError.Ended(ByTime kind, at))
            | _ -> Error(SessionError.Refused Outdated)

        { Decide =
            fun now state ->
                let hash = hashFor token state

                match judge isLook now hash arrivedAt state with
                | Error Guess when isLeft state -> Error SessionError.NoSession
                | Error refusal -> Error(SessionError.ofRefusal refusal)
                | Ok events ->
                    let after = List.fold Lifecycle.evolve state events

                    if not (Lifecycle.letsIn events after) then
                        Ok(struct (events, refusedBy))
                    elif mayIssue && Lifecycle.isRenewalDue policy now after then
                        let secret = mint ()
                        let grant = Lifecycle.grant hash arrivedAt after

                        match Rules.decide rules now (Renew(secret.HashWith(hasher, token.Id), grant)) after with
                        | Ok issued -> Ok(struct (events @ issued, opened hash (Some(IssuedToken(token.Id, secret)))))
                        | Error _ -> Ok(struct (events, opened hash None))
                    else
                        Ok(struct (events, opened hash None)) }

    let settle
        (loaded: Result<Snapshot, SessionError>)
        isDue
        (token: PresentedToken)
        arrivedAt
        isLook
        keys
        (errand: Errand)
        cancel
        =
        let answerOf reply =
            match reply with
            | Reply.Done answer
            | Reply.Partly(answer, _) -> answer
            | Reply.Failed error ->
                match error with
                | SessionError.Refused Outdated -> access.Note(errand, OutdatedNotice, token.Id)
                | SessionError.Refused Guess -> access.Note(errand, RefusedNotice RefusalReason.Guessed, token.Id)
                | SessionError.Unreadable reason -> access.Note(errand, UnreadableNotice reason, token.Id)
                | _ -> ()

                Error error

        let plan mayIssue = planOf token arrivedAt mayIssue isLook keys

        /// `touches`: not where a renewal may still hold the record, which a touch would wait for.
        let unrenewed loaded touches =
            match loaded with
            | Error error -> Task.FromResult(answerOf (Reply.Failed error))
            | Ok before ->
                match look before token arrivedAt false touches isLook keys with
                | Sight.Opens opened -> Task.FromResult(Ok opened)
                | Sight.IsDue
                | Sight.Other ->
                    task {
                        let start = ValueSome before
                        let! reply = writers.Run(token.Id, plan false, start, keys, TimeSpan.Zero, errand, cancel)
                        return answerOf reply
                    }

        task {
            match loaded with
            | Error error -> return answerOf (Reply.Failed error)
            | Ok before ->
                let! renewed =
                    if isDue then
                        let isIssued (answer: Result<Opened, SessionError>) = Result.exists _.Issued.IsSome answer
                        let renew own = writers.RunIfFree(before, plan true, keys, own, cancel)
                        renewals.Try(errand, isIssued, renew)
                    else
                        Task.FromResult Renewed.NotBegun

                match renewed with
                // It may be undone. The client keeps the old token, which opens then as now: with the new one in its place it
                // would have none.
                | Renewed.Answered(Reply.Partly(answer, _)) -> return Result.map Plans.withoutIssued answer
                | Renewed.Answered reply -> return answerOf reply
                | Renewed.NotBegun -> return! unrenewed loaded true
                | Renewed.PutOff ->
                    let! found = access.Load(token.Id, keys, errand, cancel)
                    return! unrenewed found false
        }

    let present
        (token: PresentedToken)
        arrivedAt
        mayIssue
        isLook
        (errand: Errand)
        cancel
        : ValueTask<Result<Opened, SessionError>> =
        let keys: BearerKeys | null =
            match token.Key with
            | null -> null
            | key -> BearerKeys.Of(token.Hash, key, token.Former)

        let go loaded : ValueTask<Result<Opened, SessionError>> =
            let sight =
                match loaded with
                | Ok before -> look before token arrivedAt mayIssue true isLook keys
                | Error _ -> Sight.Other

            match sight with
            | Sight.Opens opened -> ValueTask<_>(Ok opened)
            | Sight.IsDue -> ValueTask<_>(task = settle loaded true token arrivedAt isLook keys errand cancel)
            | Sight.Other -> ValueTask<_>(task = settle loaded false token arrivedAt isLook keys errand cancel)

        let loading = access.BeginLoad(token.Id, cancel)

        // A store in this process answers at once: no state machine then.
        if loading.IsCompletedSuccessfully then
            go (access.Read(token.Id, loading.Result, keys))
        else
            ValueTask<_>(
                task =
                    task {
                        let mutable loaded = Error SessionError.NoSession

                        try
                            let! record = errand.Await(loading, cancel)
                            loaded <- access.Read(token.Id, record, keys)
                        with error ->
                            loaded <- Error(access.NotLoaded(error, cancel))

                        return! go loaded
                    }
            )

    /// Opens the session of a token, confirms it on its first use, and issues the next token when a renewal is due and
    /// the response can still carry one. A guess costs one load and changes nothing.
    member _.Present
        (token: PresentedToken, arrivedAt, mayIssue, errand: Errand, cancel)
        : ValueTask<Result<Opened, SessionError>> =
        present token arrivedAt mayIssue false errand cancel

    /// The same for a request that is no activity of its user: it moves no deadline and is issued no token.
    member _.Look(token: PresentedToken, arrivedAt, errand: Errand, cancel) : ValueTask<Result<Opened, SessionError>> =
        present token arrivedAt false true errand cancel

    /// The one or the other.
    member presenting.Ask
        (token: PresentedToken, isLook: bool, arrivedAt, mayIssue, errand: Errand, cancel)
        : ValueTask<Result<Opened, SessionError>> =
        if isLook then
            presenting.Look(token, arrivedAt, errand, cancel)
        else
            presenting.Present(token, arrivedAt, mayIssue, errand, cancel)
