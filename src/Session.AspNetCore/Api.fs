/// The native F# API: curried, HttpContext last, expected failures as values.
namespace Session.AspNetCore

open System
open System.Threading
open System.Threading.Tasks
open Microsoft.AspNetCore.Http
open Session.Domain
open Session.Engine

/// Why `Session.tryUpdate` wrote nothing: the function refused, or the session did.
[<RequireQualifiedAccess>]
type UpdateError<'E> =
    /// The function refused, with what it gave out. Nothing was written, and no session was begun.
    | Declined of 'E
    /// The session did not take it.
    | Failed of SessionError

    override error.ToString() =
        match error with
        | UpdateError.Declined refusal -> String.Concat("Declined (", box refusal, ")")
        | UpdateError.Failed error -> String.Concat("Failed (", box error, ")")

/// The session of a request, and the words for it. Each call that changes it is stored when it returns, before the
/// response starts. Reads are given up when the client hangs up; `signIn`, `regenerate`, `destroy` and `create` are not.
/// Calls of one request wait for each other.
[<RequireQualifiedAccess>]
module Session =
    /// How a session ended: on purpose, or by time.
    type Ending = Session.Domain.Ending
    /// Why a session was ended on purpose.
    type DestroyReason = Session.Domain.DestroyReason
    /// Which limit of time ended a session.
    type ExpiryKind = Session.Domain.ExpiryKind
    /// Why the lifecycle refuses something.
    type Refusal = Session.Domain.Refusal
    /// What came in place of a token that opens something.
    type RefusalReason = Session.Engine.RefusalReason
    /// What is true of the store after an operation that failed.
    type Outcome = Session.Engine.Outcome
    /// What becomes of a session when an old token is presented after its grace.
    type OnReplay = Session.Domain.OnReplay
    /// What a sign-in does when the subject has as many sessions as it may have.
    type LimitPolicy = Session.Engine.LimitPolicy

    /// Why a session has a new token.
    [<RequireQualifiedAccess>]
    type RegenerationReason =
        /// A routine renewal was confirmed.
        | Renewal
        /// `Session.regenerate`: a change of privilege.
        | Elevation
        /// `Session.signIn` on a session that was there.
        | SignIn

        override reason.ToString() =
            match reason with
            | RegenerationReason.Renewal -> "Renewal"
            | RegenerationReason.Elevation -> "Elevation"
            | RegenerationReason.SignIn -> "SignIn"

    /// Where in its life the session of a request is.
    [<RequireQualifiedAccess>]
    type State =
        /// There is none for this request.
        | None
        /// A token was issued, and has not come back yet.
        | Created
        /// The client has presented its token.
        | Active
        /// A renewal is under way: two tokens are known.
        | Regenerated
        /// Ended on purpose.
        | Destroyed
        /// Ended by time.
        | Expired

        override state.ToString() =
            match state with
            | State.None -> "None"
            | State.Created -> "Created"
            | State.Active -> "Active"
            | State.Regenerated -> "Regenerated"
            | State.Destroyed -> "Destroyed"
            | State.Expired -> "Expired"

    /// What a request came with.
    [<RequireQualifiedAccess>]
    type Origin =
        /// No token.
        | New
        /// The token of a live session.
        | Resumed
        /// The token of a session that time has ended.
        | Expired
        /// Anything else: no token of ours, a guess, a superseded one, a session ended on purpose or long gone.
        | Invalid

        override origin.ToString() =
            match origin with
            | Origin.New -> "New"
            | Origin.Resumed -> "Resumed"
            | Origin.Expired -> "Expired"
            | Origin.Invalid -> "Invalid"

    /// A live session as its owner's devices page or an operator sees it. Nothing in it is secret, and nothing of its data.
    [<RequireQualifiedAccess>]
    type Info =
        {
            /// The public id: safe to log, to list, to show.
            Id: string
            /// Whose session it is, if anybody has signed in.
            Subject: string option
            /// Created, Active or Regenerated.
            State: State
            /// When it was created (UTC).
            CreatedAt: DateTimeOffset
            /// The last sign-in.
            AuthenticatedAt: DateTimeOffset option
            /// The last request, exact to a sixtieth of the idle timeout (at most one minute).
            LastSeen: DateTimeOffset
            /// When it ends if nothing more happens.
            ExpiresAt: DateTimeOffset
        }

        override info.ToString() = String.Concat(info.Id, " (", info.State, ")")

    let private raiseIfDown error =
        match error with
        | SessionError.NoSession
        | SessionError.Ended _
        | SessionError.Refused _ -> None
        // None is said of a session that is not there. Whoever goes on with it writes over the one that is.
        | error -> raise (SessionFailure.toException error)

    /// What a session is asked for once it has been read.
    let private ask<'T, 'a> (question: RequestSession<'T> -> 'a option) (context: HttpContext) : Task<'a option> =
        let request = RequestSession.find<'T> context

        task {
            match! request.Load context.RequestAborted with
            | Ok() -> return question request
            | Error error -> return raiseIfDown error
        }

    /// The data of the live session, or None. One store call, once per request; none without a token. A store that is
    /// down raises SessionFailedException: the middleware answers 503. (`read` has it as a value.)
    [<RequiresExplicitTypeArguments>]
    let tryGet<'T> (context: HttpContext) : Task<'T option> = ask<'T, 'T> (_.Data) context

    /// The same with a store that is down as a value.
    [<RequiresExplicitTypeArguments>]
    let read<'T> (context: HttpContext) : Task<Result<'T option, SessionError>> =
        let request = RequestSession.find<'T> context

        task {
            match! request.Load context.RequestAborted with
            | Ok() -> return Ok request.Data
            | Error(SessionError.NoSession | SessionError.Ended _ | SessionError.Refused _) -> return Ok None
            | Error error -> return Error error
        }

    /// The data computed from the data as it is stored, and called again for each conflict: keep the function pure.
    /// Begins a session if there is none. Returns the new data.
    let update<'T> (change: 'T option -> 'T) (context: HttpContext) : Task<Result<'T, SessionError>> =
        (RequestSession.find<'T> context).Update(change, context.RequestAborted)

    /// The same; the function may refuse, and nothing is written then, nor a session begun: `UpdateError.Declined` with
    /// what it gave out.
    let tryUpdate<'T, 'E>
        (change: 'T option -> Result<'T, 'E>)
        (context: HttpContext)
        : Task<Result<'T, UpdateError<'E>>> =
        let request = RequestSession.find<'T> context

        task {
            match! request.TryUpdate(change, context.RequestAborted) with
            | Ok(Ok data) -> return Ok data
            | Ok(Error refusal) -> return Error(UpdateError.Declined refusal)
            | Error error -> return Error(UpdateError.Failed error)
        }

    /// The data as given. `SessionError.Conflict` when another write came first since it was read. Begins a session if there
    /// is none.
    let save<'T> (data: 'T) (context: HttpContext) : Task<Result<'T, SessionError>> =
        (RequestSession.find<'T> context).Save(data, context.RequestAborted)

    /// A new session; one that was there is destroyed, after the new one is stored.
    let create<'T> (data: 'T) (context: HttpContext) : Task<Result<'T, SessionError>> =
        (RequestSession.find<'T> context).Create(data, CancellationToken.None)

    /// Reads the session again: the data as it is now, None when there is no live session for this request any more.
    [<RequiresExplicitTypeArguments>]
    let reload<'T> (context: HttpContext) : Task<Result<'T option, SessionError>> =
        let request = RequestSession.find<'T> context

        task {
            match! request.Reload context.RequestAborted with
            | Ok() -> return Ok request.Data
            | Error error -> return Error error
        }

    /// Signs a subject in: new data, a new token, the old one is dead at once (ASVS 7.2.4). A subject is 1 to 1,024 bytes of
    /// UTF-8: any other is `SessionError.InvalidSubject`, and nothing was changed.
    let signIn<'T> (subject: string) (data: 'T) (context: HttpContext) : Task<Result<'T, SessionError>> =
        (RequestSession.find<'T> context).SignIn(subject, data, null, CancellationToken.None)

    /// The same at the end of a sign-in at an identity provider: `Session.signInExternal (ExternalSession(issuer, sid)) "ada" cart`.
    /// A logout there ends this session (docs/BACK-CHANNEL-LOGOUT.md); where it has come already, `SessionError.Ended`. A few store
    /// calls more than `signIn`.
    let signInExternal<'T>
        (external: ExternalSession)
        (subject: string)
        (data: 'T)
        (context: HttpContext)
        : Task<Result<'T, SessionError>> =
        (RequestSession.find<'T> context).SignIn(subject, data, external, CancellationToken.None)

    /// A new token after a change of privilege; the old one is dead at once. (Renewals happen by themselves.)
    [<RequiresExplicitTypeArguments>]
    let regenerate<'T> (context: HttpContext) : Task<Result<unit, SessionError>> =
        (RequestSession.find<'T> context).Regenerate(None, CancellationToken.None)

    /// A new token and new data in one write, after a second factor, say. The data is stored as given: a write of another
    /// request, since it was read, is lost, as with `signIn`.
    let regenerateWith<'T> (data: 'T) (context: HttpContext) : Task<Result<'T, SessionError>> =
        let request = RequestSession.find<'T> context

        task {
            let! answer = request.Regenerate(Some data, CancellationToken.None)
            return answer |> Result.map (fun () -> data)
        }

    /// Ends the session and expires the cookie. Ok without a token, too, and when it is over already.
    /// `SessionError.Refused` when a token came that does not open the session: nothing was ended.
    [<RequiresExplicitTypeArguments>]
    let destroy<'T> (context: HttpContext) : Task<Result<unit, SessionError>> =
        (RequestSession.find<'T> context).Destroy CancellationToken.None

    /// The subject of the live session: whose it is, if anybody has signed in.
    [<RequiresExplicitTypeArguments>]
    let subject<'T> (context: HttpContext) : Task<string option> =
        ask<'T, string> (fun request -> request.Live |> Option.bind _.Subject) context

    /// When the live session was created (UTC).
    [<RequiresExplicitTypeArguments>]
    let createdAt<'T> (context: HttpContext) : Task<DateTimeOffset option> =
        ask<'T, DateTimeOffset> (fun request -> request.Live |> Option.map _.CreatedAt) context

    /// When the subject last signed in (UTC); None when nobody has. Compare its age before what needs a fresh sign-in
    /// (ASVS 7.5.1, 7.5.3).
    [<RequiresExplicitTypeArguments>]
    let authenticatedAt<'T> (context: HttpContext) : Task<DateTimeOffset option> =
        ask<'T, DateTimeOffset> (fun request -> request.Live |> Option.bind _.AuthenticatedAt) context

    /// When the live session ends if nothing more happens (UTC).
    [<RequiresExplicitTypeArguments>]
    let expiresAt<'T> (context: HttpContext) : Task<DateTimeOffset option> =
        ask<'T, DateTimeOffset> (_.ExpiresAt) context

    /// The session id: public, safe to log. None without a live session.
    [<RequiresExplicitTypeArguments>]
    let tryId<'T> (context: HttpContext) : Task<string option> = ask<'T, string> (_.Id) context

    /// Cancelled once the session is over, has been elevated or belongs to another subject: by this request or any other one,
    /// on any node. For what outlives the first byte of its answer: a WebSocket, an event stream. The session is watched from
    /// here to the end of the request. Without one it is never cancelled; of one that is over already it is at once.
    [<RequiresExplicitTypeArguments>]
    let ended<'T> (context: HttpContext) : Task<CancellationToken> =
        let request = RequestSession.find<'T> context

        task {
            match! request.Load context.RequestAborted with
            | Ok() -> ()
            | Error error -> raiseIfDown error |> ignore<unit option>

            return request.Watching.Ended
        }

    /// Why `ended` was cancelled. None: it was not, or nobody has asked for it.
    [<RequiresExplicitTypeArguments>]
    let endedBecause<'T> (context: HttpContext) : EndCause option = (RequestSession.find<'T> context).Watching.Cause

    let private looked<'T> (context: HttpContext) : Task<RequestSession<'T>> =
        let request = RequestSession.find<'T> context

        task {
            match! request.Load context.RequestAborted with
            | Ok() -> return request
            | Error error ->
                raiseIfDown error |> ignore<unit option>
                return request
        }

    /// From now on this request may change sessions although another site had the browser send it: for what has made sure of
    /// its sender in another way, such as the signed answer of an identity provider that comes as a POST.
    let allowCrossSite (context: HttpContext) : unit = CrossSite.vouch context

    /// Where in its life the session of the request is.
    [<RequiresExplicitTypeArguments>]
    let state<'T> (context: HttpContext) : Task<State> =
        task {
            let! request = looked<'T> context

            match request.Phase with
            | Phase.Created -> return State.Created
            | Phase.Active -> return State.Active
            | Phase.Regenerated -> return State.Regenerated
            | Phase.Destroyed -> return State.Destroyed
            | Phase.Expired -> return State.Expired
            | _ -> return State.None
        }

    /// What the request came with: whether to say "your session has expired", say.
    [<RequiresExplicitTypeArguments>]
    let origin<'T> (context: HttpContext) : Task<Origin> =
        task {
            let! request = looked<'T> context

            match request.Origin with
            | Session.AspNetCore.Origin.New -> return Origin.New
            | Session.AspNetCore.Origin.Resumed -> return Origin.Resumed
            | Session.AspNetCore.Origin.Expired -> return Origin.Expired
            | _ -> return Origin.Invalid
        }

/// What an error says of itself, for whoever answers.
[<AutoOpen>]
module SessionErrorExtensions =
    type Session.Engine.SessionError with

        /// The status code that the middleware would answer with: 401 over or refused, 403 from another site, 409 conflict,
        /// 413 too much data, 500 misuse, 503 store or contention.
        member error.Status: int =
            let struct (status, _) = SessionFailure.describe error
            status

        /// A sentence for the client, without ids.
        member error.Sentence: string =
            let struct (_, sentence) = SessionFailure.describe error
            sentence

        /// What is true of the store after it.
        member error.Outcome: Outcome = SessionError.outcome error
