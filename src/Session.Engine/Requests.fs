/// What a request does with its session once it has one: each operation is a plan for the loop, or a few.
namespace Session.Engine

open System
open System.Threading
open System.Threading.Tasks
open Session.Domain

[<Sealed>]
type internal Requests
    (
        access: StoreAccess,
        writers: Writers,
        renewals: Renewals,
        limits: Limits,
        settings: EngineSettings,
        hasher: SecretHasher
    ) =
    let policy, rules = settings.Policy, access.Rules

    let checkSize (data: byte[]) =
        if data.Length > settings.MaxDataBytes then
            Some(SessionError.TooLarge(data.Length, settings.MaxDataBytes))
        else
            None

    let keysOf (secret: Secret) (id: string) make : BearerKeys | null =
        match secret.KeyWith(hasher, id) with
        | null -> null
        | key -> make (secret.HashWith(hasher, id), key)

    /// By a request that was let in before.
    let run (from: Opened) keys plan errand cancel = writers.Change(from.Snapshot, plan, keys, errand, cancel)

    let goesOn (from: Opened) (snapshot: Snapshot) = { from with Snapshot = snapshot; Issued = None }

    /// What holds of a record as it is now; `unknown` where it cannot be read.
    let look (id: string) errand unknown holds : Task<bool> =
        task {
            match! access.Load(id, null, errand, CancellationToken.None) with
            | Error _ -> return unknown
            | Ok found -> return holds access.Now found.State
        }

    /// A new session under an id of `nextId`, of a subject (a sign-in) or anonymous.
    member _.Create
        (nextId: unit -> string, subject: string option, data: byte[], errand, cancel)
        : Task<Reply<Opened>> =
        task {
            use! _turn = limits.TakeTurn(subject, errand)
            let! (refusal: SessionError option) = limits.CanSignIn(subject, "", errand)

            match Option.orElse refusal (checkSize data) with
            | Some error -> return Reply.Failed error
            | None ->
                let secret = Secret.Mint()
                let mutable reply = ValueNone
                let mutable attempt = 0

                while reply.IsNone do
                    attempt <- attempt + 1
                    let id = nextId ()

                    if not (Token.isValidId id) then
                        invalidOp "GenerateId returned an id that is not 1 to 64 of A-Z a-z 0-9 _ -."

                    let keys = keysOf secret id BearerKeys.Create
                    let hash = secret.HashWith(hasher, id)

                    let out (snapshot: Snapshot) =
                        { Snapshot = snapshot
                          // What the request does later counts as of the beginning.
                          Grant = Lifecycle.grant hash (Records.AnyLive snapshot.State).CreatedAt snapshot.State
                          Issued = Some(IssuedToken(id, secret))
                          IsRenewal = false
                          Keys = keys }

                    let plan = Plans.command rules (Create(hash, subject, data)) out
                    let absent = ValueSome(Records.Absent id)

                    match! writers.Run(id, plan, absent, keys, TimeSpan.Zero, errand, cancel) with
                    | Reply.Failed(SessionError.Refused Exists) when attempt < 3 -> ()
                    | Reply.Failed(SessionError.Refused Exists) ->
                        invalidOp
                            "GenerateId returned the id of an existing session, three times: ids must be unique and random."
                    | made -> reply <- ValueSome made

                return! limits.Enforce(subject, reply.Value, errand)
        }

    /// A session that began elsewhere goes on here. Its id and its first token follow from what its client holds: of several
    /// requests that come with that one stores the session, and the others find it (`Exists`). The token is renewed with
    /// the same write, as one that is due for it: the client gets one that follows from nothing. Where none may be issued, or the
    /// store does not acknowledge it, it goes on under the first one until a request comes whose renewal is due.
    member _.Adopt(token: PresentedToken, data: byte[], mayIssue: bool, errand, cancel) : Task<Reply<Opened>> =
        let adopt mayIssue errand =
            let secret = Secret.Mint()
            let next = secret.HashWith(hasher, token.Id)

            let keys: BearerKeys | null =
                match token.Key, secret.KeyWith(hasher, token.Id) with
                | null, _
                | _, null -> null
                | first, second ->
                    let keys = BearerKeys.Create(token.Hash, first)

                    if mayIssue then
                        keys.Offer(next, second)

                    keys

            let dueAtOnce = { policy with RotateEvery = Some TimeSpan.Zero }

            let commands now =
                [ fun _ -> Create(token.Hash, None, data)
                  fun _ -> Present(token.Hash, now)
                  if mayIssue then
                      fun state -> Renew(next, Lifecycle.grant token.Hash now state) ]

            let out (snapshot: Snapshot) =
                { Snapshot = snapshot
                  Grant = Lifecycle.grant token.Hash (Records.AnyLive snapshot.State).CreatedAt snapshot.State
                  Issued = if mayIssue then Some(IssuedToken(token.Id, secret)) else None
                  IsRenewal = mayIssue
                  Keys = keys }

            let decide now before =
                let step (soFar: Result<struct (Event list * State), Refusal>) command =
                    match soFar with
                    | Error refusal -> Error refusal
                    | Ok(struct (events, state)) ->
                        Lifecycle.decide dueAtOnce now (command state) state
                        |> Result.map (fun more -> struct (events @ more, List.fold Lifecycle.evolve state more))

                match List.fold step (Ok(struct ([], before))) (commands now) with
                | Ok(struct (events, _)) -> Ok(struct (events, out))
                | Error refusal -> Error(SessionError.ofRefusal refusal)

            let absent = ValueSome(Records.Absent token.Id)
            writers.Run(token.Id, { Decide = decide }, absent, keys, TimeSpan.Zero, errand, cancel)

        let renewed own =
            task {
                let! reply = adopt true own
                return ValueSome reply
            }

        task {
            match checkSize data with
            | Some error -> return Reply.Failed error
            | None ->
                let! reply =
                    if mayIssue then
                        renewals.Try(errand, _.Issued.IsSome, renewed)
                    else
                        Task.FromResult Renewed.NotBegun

                match reply with
                | Renewed.Answered(Reply.Partly(opened, _)) -> return Reply.Done(Plans.withoutIssued opened)
                | Renewed.Answered reply -> return reply
                | Renewed.NotBegun
                | Renewed.PutOff -> return! adopt false errand
        }

    /// New data computed from the data as it is stored: `change` is called again for each conflict.
    member _.Update(from: Opened, change, errand, cancel) : Task<Reply<struct (Opened * 'result)>> =
        let plan = Plans.update rules settings.MaxDataBytes (Some from.Grant) change (goesOn from)
        run from from.Keys plan errand cancel

    /// Data based on what the request has read: `Conflict` when another write came first.
    member _.Save(from: Opened, data: byte[], errand, cancel) : Task<Reply<Opened>> =
        match checkSize data with
        | Some error -> Task.FromResult(Reply.Failed error)
        | None ->
            let write = Write(data, Some from.Live.Revision, Some from.Grant)
            run from from.Keys (Plans.command rules write (goesOn from)) errand cancel

    member private _.Elevated(from: Opened, command: SecretHash -> Command, errand, cancel) =
        let secret = Secret.Mint()
        let hash = secret.HashWith(hasher, from.Snapshot.Id)

        let keys: BearerKeys | null =
            match from.Keys with
            | null -> null
            | keys -> keysOf secret from.Snapshot.Id keys.Elevate

        let out (snapshot: Snapshot) =
            { Snapshot = snapshot
              Grant = Lifecycle.grant hash from.Grant.ArrivedAt snapshot.State
              Issued = Some(IssuedToken(from.Snapshot.Id, secret))
              IsRenewal = false
              Keys =
                match keys with
                | null -> null
                | keys -> keys.Settled }

        run from keys (Plans.command rules (command hash) out) errand cancel

    /// An elevation to a subject, with new data; the absolute timeout starts anew (ASVS 7.2.4).
    member requests.SignIn(from: Opened, subject: string, data: byte[], errand, cancel) : Task<Reply<Opened>> =
        task {
            use! _turn = limits.TakeTurn(Some subject, errand)
            let! (refusal: SessionError option) = limits.CanSignIn(Some subject, from.Snapshot.Id, errand)

            match Option.orElse refusal (checkSize data) with
            | Some error -> return Reply.Failed error
            | None ->
                let signIn hash = SignIn(subject, data, hash, from.Grant)
                let! reply = requests.Elevated(from, signIn, errand, cancel)
                return! limits.Enforce(Some subject, reply, errand)
        }

    /// An elevation without a sign-in: a new token, the old one is dead at once. With new data, if there is any: a second
    /// factor, another role. The absolute timeout stays.
    member requests.Regenerate(from: Opened, data: byte[] option, errand, cancel) : Task<Reply<Opened>> =
        match Option.bind checkSize data with
        | Some error -> Task.FromResult(Reply.Failed error)
        | None -> requests.Elevated(from, (fun hash -> Elevate(hash, data, from.Grant)), errand, cancel)

    /// The session of a request as it is now, by its id and on the authority of that request. Its token is not looked at
    /// again: it may have been renewed meanwhile, and would look stolen.
    member _.Reload(from: Opened, errand, cancel) : Task<Result<Opened, SessionError>> =
        task {
            match! access.Load(from.Snapshot.Id, from.Keys, errand, cancel) with
            | Error error -> return Error error
            | Ok found ->
                let now = access.Now
                let state = Lifecycle.settle policy now found.State

                match state, Lifecycle.living state, Rules.overdue rules now state with
                | _, ValueSome live, ValueNone when live.Elevations <> from.Grant.Elevations ->
                    return Error(SessionError.Refused Outdated)
                | _, ValueSome _, ValueNone when not found.IsOpen ->
                    return Error(SessionError.Unreadable "the sealed data does not open")
                | _, ValueSome _, ValueNone -> return Ok { from with Snapshot = { found with State = state } }
                | _, _, ValueSome(struct (kind, at))
                | Expired(_, kind, at, _), _, _ -> return Error(SessionError.Ended(ByTime kind, at))
                | Destroyed(_, reason, at), _, _ -> return Error(SessionError.Ended(OnPurpose reason, at))
                | _ -> return Error SessionError.NoSession
        }

    /// Ends the session of a request. A session that is over already is no error.
    member _.SignOut(from: Opened, errand, cancel) : Task<Reply<Snapshot>> =
        let plan = Plans.command rules (Destroy(SignedOut, Some from.Grant)) id
        run from from.Keys plan errand cancel

    /// The client of a session that is over goes on to a new one. Late answers about the old one leave its cookie alone.
    member _.Leave(id: string, errand) : Task<Reply<unit>> =
        writers.Run(id, Plans.command rules Leave ignore, errand, CancellationToken.None)

    /// Whether a response may still carry this token of a renewal: asked when its headers are written. Where nobody can tell
    /// it does not: the old one still works, and the next request is issued another.
    member _.MayHand(id: string, secret: SecretHash, errand) : Task<bool> =
        look id errand false (fun now state -> Plans.mayHand policy now secret state)

    /// Whether a token of a new or an elevated session still opens it. Where nobody can tell it is handed over: every other
    /// one is dead.
    member _.Stands(id: string, secret: SecretHash, errand) : Task<bool> =
        look id errand true (fun now state ->
            let state = Lifecycle.settle policy now state
            let its = Lifecycle.standing secret state
            Lifecycle.isLive state && (its.IsCurrent || its.IsOffered || its.IsPredecessor))

    /// Whether a session that is over still knows this secret, and its client has begun no other one: asked when the headers
    /// are written that would take the cookie from it.
    member _.IsLeftAlone(id: string, secret: SecretHash, errand) : Task<bool> =
        look id errand false (fun _ state -> not (Lifecycle.standing secret state).IsUnknown)
