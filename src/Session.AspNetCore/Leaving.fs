/// How a request ends sessions: its own, or whichever of several tokens is the user's.
[<RequireQualifiedAccess>]
module internal Session.AspNetCore.Leaving

open System.Threading
open System.Threading.Tasks
open Session.Domain
open Session.Engine

/// One that is over already is no failure.
let private endOne (visit: Visit<'T>) (opened: Opened) : Task<SessionError option> =
    task {
        match! visit.Engine.Requests.SignOut(opened, visit.Errand, CancellationToken.None) with
        | Reply.Done _
        | Reply.Failed(SessionError.NoSession | SessionError.Ended _) -> return None
        | Reply.Failed error
        | Reply.Partly(_, error) -> return Some error
    }

/// Ends what each of several tokens opens: whoever planted the others loses sessions of his own. How many were ended,
/// and why not all.
let private endEach (visit: Visit<'T>) : Task<struct (int * SessionError option)> =
    task {
        let struct (tokens, areAll) =
            visit.Received.Touch(
                (fun () -> visit.Service.Transport.AllTokens visit.Context),
                (fun () -> struct ([], false))
            )

        let mutable count = 0
        let mutable failure = if areAll then None else Some(SessionError.Refused Guess)

        for token in tokens do
            let! presented =
                visit.Engine.Presenting.Present(token, visit.ArrivedAt, false, visit.Errand, CancellationToken.None)

            let! ended =
                match presented with
                | Ok session -> endOne visit session
                | Error(SessionError.NoSession | SessionError.Ended _) -> Task.FromResult None
                | Error error -> Task.FromResult(Some error)

            if presented.IsOk && ended.IsNone then
                count <- count + 1

            match failure, ended with
            | Some(SessionError.Unavailable _ | SessionError.Unsure _), _
            | _, None -> ()
            | _, ended -> failure <- ended

        return struct (count, failure)
    }

/// A new session is stored: what a sign-out would end ends, if somebody asked for a new one (ASVS 7.2.4); a session
/// that is over is left behind, so that no late answer about it takes the new token away.
let leave (visit: Visit<'T>) (before: Presence<'T>) isAsked : Task<SessionError option> =
    task {
        match before, Presence.signOut before with
        | Gone { Ending = ByTime _; Id = ValueSome id }, _ ->
            let! _ = visit.Engine.Requests.Leave(id, visit.Errand)
            return None
        | _, EndThis opened when isAsked -> return! endOne visit opened
        | _, EndEachToken when isAsked ->
            let! struct (_, failure) = endEach visit
            return failure
        // What a sign-out could not end is left as it is: the new session was asked for in spite of it.
        | _, (EndThis _ | EndEachToken | NothingToEnd | CannotEnd _) -> return None
    }

/// The user signs out: the session ends and the cookie goes. Nothing to do without a token, or when the session is over.
let signOut (visit: Visit<'T>) (cancel: CancellationToken) : Task<Result<unit, SessionError>> =
    task {
        match Presence.signOut visit.Presence with
        | NothingToEnd -> return Ok()
        | CannotEnd error -> return Error error
        | EndEachToken ->
            let! struct (count, failure) = endEach visit

            // Whichever of them was the user's.
            if count > 0 then
                visit.Close(ValueNone, Absent)

            match failure with
            | Some error -> return Error error
            | None -> return Ok()
        | EndThis opened ->
            let id = ValueSome opened.Snapshot.Id

            match! visit.Engine.Requests.SignOut(opened, visit.Errand, cancel) with
            | Reply.Done snapshot ->
                visit.Close(id, snapshot.State)
                return Ok()
            | Reply.Partly(snapshot, error) ->
                visit.Close(id, snapshot.State)
                return Error error
            | Reply.Failed(SessionError.NoSession | SessionError.Ended _) ->
                visit.Close(id, Absent)
                return Ok()
            | Reply.Failed error -> return visit.Fail error
    }

/// Nobody holds the session that has just been stored: it would stand among its user's devices until it ends by time.
let endLost (visit: Visit<'T>) : Task<SessionError> =
    task {
        match visit.Presence with
        | Open(opened, _) ->
            match! visit.Engine.Requests.SignOut(opened, visit.Errand, CancellationToken.None) with
            | Reply.Done snapshot
            | Reply.Partly(snapshot, _) ->
                visit.Close(ValueSome opened.Snapshot.Id, snapshot.State)
                return SessionError.Unacknowledged(TokenLostException())
            | Reply.Failed(SessionError.NoSession | SessionError.Ended _) ->
                return SessionError.Unacknowledged(TokenLostException())
            // It lives, until it ends by time.
            | Reply.Failed(SessionError.Unavailable cause | SessionError.Unsure cause) ->
                return SessionError.Unacknowledged cause
            | Reply.Failed error -> return error
        | _ -> return SessionError.Unacknowledged(TokenLostException())
    }
