/// How a session that another middleware began goes on here: once, however many requests come with it at the same time.
///
/// What its client holds stands for a token of ours, the same in each request. The first request stores the session under it,
/// renewed at once, and its response carries the next token. From there on it is a renewal like any other: parallel requests
/// open the session, a lost response is made up for, and who comes with the old thing after the grace comes with a replay.
/// One that is to be issued no token (NoTouch) stores it without the renewal.
[<RequireQualifiedAccess>]
module internal Session.AspNetCore.Adopting

open System.Threading
open System.Threading.Tasks
open Session.Domain
open Session.Engine

/// No longer than there is time; what it throws is as if our own store had failed.
let private asked (visit: Visit<'T>) (call: Task<'answer>) (cancel: CancellationToken) =
    task {
        try
            let! answer = visit.Errand.Await(ValueTask<'answer>(task = call), cancel)
            return Ok answer
        with error when not cancel.IsCancellationRequested ->
            EdgeLog.formerStoreFailed visit.Service.Log error
            return Error(SessionError.Unavailable error)
    }

let private started (call: unit -> Task<'answer>) : Task<'answer> = task { return! call () }

/// It goes on here only when it is gone there: nothing could tell later that it has ended.
let private goOn (visit: Visit<'T>) (former: FormerSession<'T>) cancel (opened: Opened) =
    task {
        let forget () =
            task {
                do! former.Forget cancel
                return ()
            }

        match! asked visit (started forget) cancel with
        | Error error -> return Error error
        | Ok() ->
            let context = visit.Context

            // Before the parting begins to watch, so that it runs after it: only if the response does carry the token.
            if visit.Received.TryEnter() then
                try
                    if not context.Response.HasStarted then
                        context.Response.OnStarting(fun () ->
                            if visit.Service.Transport.IsHanding context then
                                former.LetGo context

                            Task.CompletedTask)
                finally
                    visit.Received.Leave()

            return Ok opened
    }

/// What the former session leads to: `NoSession` when there is none any more. Where the request is only a look it goes on here
/// under what its client holds, and is renewed with a later request, as any other session.
let present
    (visit: Visit<'T>)
    (former: FormerSession<'T>)
    (isLook: bool)
    (token: PresentedToken)
    (cancel: CancellationToken)
    =
    task {
        let presenting, requests = visit.Engine.Presenting, visit.Engine.Requests

        let ask () =
            task {
                match! presenting.Ask(token, isLook, visit.ArrivedAt, visit.CanIssue, visit.Errand, cancel) with
                | Ok opened -> return! goOn visit former cancel opened
                | Error error -> return Error error
            }

        match! ask () with
        | Error SessionError.NoSession when visit.CanIssue ->
            match! asked visit (started (fun () -> former.Read cancel)) cancel with
            | Error error -> return Error error
            // Another request may have been quicker: it stores it here first, and removes it there then.
            | Ok ValueNone -> return! ask ()
            | Ok(ValueSome value) ->
                match visit.Service.Serialize value with
                | Error error -> return Error error
                | Ok bytes ->
                    match! requests.Adopt(token, bytes, not isLook, visit.Errand, cancel) with
                    | Reply.Done opened -> return! goOn visit former cancel opened
                    | Reply.Failed(SessionError.Refused Exists) -> return! ask ()
                    | Reply.Failed error
                    | Reply.Partly(_, error) -> return Error error
        | answer -> return answer
    }
