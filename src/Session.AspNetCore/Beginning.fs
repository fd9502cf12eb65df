/// How a request begins a session: an anonymous one with its first write, or that of a sign-in.
[<RequireQualifiedAccess>]
module internal Session.AspNetCore.Beginning

open System
open System.Threading
open System.Threading.Tasks
open Session.Domain
open Session.Engine

let private nextId (visit: Visit<'T>) () =
    match visit.Service.Settings.GenerateId with
    | Some generate -> generate visit.Context
    | None -> Token.newId ()

/// The browser may hold a session that it did not send (SameSite): a new one would take its place.
let private mayHideOne (visit: Visit<'T>) =
    match visit.Presence with
    | Nothing -> CrossSite.hidesToken visit.Service.Settings visit.Service.Transport visit.Context
    | _ -> false

let beginNew
    (visit: Visit<'T>)
    (subject: string option)
    (tie: ExternalSignIn voption)
    (value: 'T)
    isAsked
    (cancel: CancellationToken)
    : Task<Result<'T, SessionError>> =
    task {
        if not visit.CanIssue then
            return Error SessionError.ResponseStarted
        elif subject.IsNone && mayHideOne visit then
            return visit.RefuseForeign()
        else
            // Whatever throws does so while nothing is changed.
            match visit.Service.Serialize value with
            | Error error -> return Error error
            | Ok bytes ->
                let before = visit.Presence

                let creating = visit.Engine.Requests.Create(nextId visit, subject, bytes, visit.Errand, cancel)

                match! visit.Engine.Externals.Confirmed(tie, creating, visit.Errand) with
                | Reply.Failed error -> return Error error
                | Reply.Partly(created, error) ->
                    visit.GoOn(created, Some value)
                    // Its token goes out, so what was before is left behind as otherwise.
                    let! _ = Leaving.leave visit before isAsked
                    return Error error
                | Reply.Done created ->
                    visit.GoOn(created, Some value)

                    visit.Explain(created.Snapshot.Id, "new session: it is created, and the response carries its token")

                    match before with
                    | Stranger -> EdgeLog.begunBesideStranger visit.Service.Log null visit.Service.Transport.CookieName
                    | _ -> ()

                    match! Leaving.leave visit before isAsked with
                    | None -> return Ok value
                    | Some error ->
                        let cause =
                            match SessionFailure.cause error with
                            | null -> InvalidOperationException "The session before could not be ended." :> exn
                            | cause -> cause

                        return Error(SessionError.Unacknowledged cause)
    }
