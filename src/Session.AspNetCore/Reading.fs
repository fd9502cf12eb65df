/// From the token that came to what the request has of a session.
[<RequireQualifiedAccess>]
module internal Session.AspNetCore.Reading

open System
open System.Threading
open System.Threading.Tasks
open Session.Domain
open Session.Engine

/// `id`: of the session that the token named, if it was one.
let private has (visit: Visit<'T>) (id: string | null) presence (why: string) : Result<unit, SessionError> =
    visit.Presence <- presence
    visit.Origin <- Presence.origin presence
    visit.Explain(id, why)
    Ok()

let private whyOver ending =
    match ending with
    | OnPurpose _ -> "no session: it was ended"
    | ByTime Unconfirmed -> "no session: its token was never presented in time"
    | ByTime Idle -> "no session: it was idle for too long"
    | ByTime Absolute -> "no session: it reached its absolute timeout"

let private over (visit: Visit<'T>) (token: PresentedToken) ending at =
    match ending with
    | ByTime _ -> visit.Part(ClearUnlessLeft(token.Id, token.Hash))
    | OnPurpose _ -> ()

    let service = visit.Service
    let isRecent = service.Clock.GetUtcNow() - at < service.Settings.RotationGrace

    let past =
        { visit.Past(ValueSome token.Id, ending, at) with
            IsRecent = isRecent }

    has visit token.Id (Gone past) (whyOver ending)

let private live (visit: Visit<'T>) (opened: Opened) =
    match visit.Service.Deserialize opened.Live.Data with
    | Ok value ->
        visit.Begin(opened, value)

        has
            visit
            opened.Snapshot.Id
            visit.Presence
            (if opened.Issued.IsSome then
                 "live session: the token is due for renewal, and the response carries the next one"
             else
                 "live session")
    | Error(SessionError.Unreadable reason) ->
        visit.Engine.NoteUnreadable(visit.Errand, opened.Snapshot.Id, reason)
        has visit opened.Snapshot.Id (Locked opened) "no session: its data cannot be read"
    | Error error ->
        visit.Explain(opened.Snapshot.Id, "no session here: its data was written by a newer version of the application")

        Error error

/// What a presented token led to: what the request has, or why there is no answer.
let private found (visit: Visit<'T>) (token: PresentedToken) (presented: Result<Opened, SessionError>) =
    match presented with
    | Ok opened -> live visit opened
    | Error(SessionError.Unavailable _ as error) when visit.Service.Settings.ContinueWithoutStore ->
        has visit token.Id (Shut error) "no session: the store is down, and the settings say to go on without"
    | Error(SessionError.Ended(ending, at)) -> over visit token ending at
    | Error(SessionError.Refused _ as error) ->
        has
            visit
            token.Id
            (Shut error)
            "no session: the token does not open it (superseded, or a guess); the cookie is left alone"
    | Error SessionError.NoSession -> has visit token.Id Stranger "no session: none is known under this token"
    | Error(SessionError.Unreadable _ as error) ->
        has visit token.Id (CannotRead error) "no session: its record cannot be read"
    | Error error -> Error error

/// An endpoint that is asked by itself: it moves no deadline, and its client is issued no token.
let private isLook (visit: Visit<'T>) = NoTouch.isOn visit.Received visit.Context

/// What another session middleware began, where the application lets that go on here; else what there is without a token.
let private orFormer (visit: Visit<'T>) (cancel: CancellationToken) (without: unit -> Result<unit, SessionError>) =
    let go (former: FormerSession<'T>) (token: PresentedToken) isLook =
        task {
            visit.KeepOut()

            match! Adopting.present visit former isLook token cancel with
            | Error SessionError.NoSession -> return without ()
            | presented -> return found visit token presented
        }

    let former =
        match visit.Service.Former with
        | null -> null
        | sessions -> sessions.Find visit.Context

    match former with
    | null -> ValueTask<_>(without ())
    | former ->
        match Token.tryParse visit.Engine.Hasher (former.Token.AsSpan()) with
        | ValueSome token -> ValueTask<_>(task = go former token (isLook visit))
        | ValueNone -> ValueTask<_>(without ())

let private begin' (visit: Visit<'T>) (cancel: CancellationToken) : ValueTask<Result<unit, SessionError>> =
    let transport = visit.Service.Transport
    visit.LookAt()

    match transport.Read visit.Context with
    | NothingCame -> orFormer visit cancel (fun () -> has visit null Nothing "no session: the request has no token")
    | Arrival.Garbage ->
        let isDoubled = transport.IsDoubled visit.Context

        let refuse () =
            visit.KeepOut()
            let reason = if isDoubled then RefusalReason.Duplicated else RefusalReason.Malformed
            visit.Engine.NoteRefused(visit.Errand, reason)

            has
                visit
                null
                Presence.Garbage
                "no session: what came under the token's name is no token, or two different ones"

        // The cookie of the other middleware may have had the name that ours has now.
        if isDoubled then ValueTask<_>(refuse ()) else orFormer visit cancel refuse
    | TokenCame token ->
        visit.KeepOut()

        let presenting =
            visit.Engine.Presenting.Ask(token, isLook visit, visit.ArrivedAt, visit.CanIssue, visit.Errand, cancel)

        if presenting.IsCompletedSuccessfully then
            ValueTask<_>(found visit token presenting.Result)
        else
            ValueTask<_>(
                task =
                    task {
                        let! presented = presenting
                        return found visit token presented
                    }
            )

/// One store call, or none without a token. What came is looked at while the request goes on, all of it before the first wait.
let read (visit: Visit<'T>) (cancel: CancellationToken) : ValueTask<Result<unit, SessionError>> =
    visit.Received.Touch(
        (fun () -> begin' visit cancel),
        (fun () ->
            invalidOp
                "The request is over, and the server may use its HttpContext for another one: ask for the session while the request goes on (await GetSessionAsync).")
    )
