/// How the session of one request is watched, once somebody asks for its end.
namespace Session.AspNetCore

open System.Threading
open Session.Engine

[<Sealed>]
type internal Watching<'T>(visit: Visit<'T>) =
    let gate = Lock()
    let mutable lease: SessionLease | null = null
    // Of tokens that were handed out before this request signed in: what waits for one of them is to hear of it.
    let mutable former: SessionLease list = []
    let mutable outlivesRequest = false

    let hold (opened: Opened) =
        if visit.Received.TryEnter() then
            try
                let made = visit.Service.OpenSessions.Watch opened
                lease <- made

                if not outlivesRequest then
                    visit.Context.Response.RegisterForDispose made

                made.Token
            finally
                visit.Received.Leave()
        else
            CancellationToken true

    /// Cancelled once the session of this request has ended or was elevated, on any node; watched from the first call to the end
    /// of the request. Without a session: never; where one was found to be over, or not this request's, or the request itself is over: at once.
    member _.Ended: CancellationToken =
        match visit.Presence with
        | Open(opened, _)
        | Locked opened ->
            lock gate (fun () ->
                match lease with
                | null -> hold opened
                | held when held.IsFor opened -> held.Token
                // This request itself has signed in, or begun another session.
                | held ->
                    former <- held :: (former |> List.filter (fun it -> not it.Token.IsCancellationRequested))

                    hold opened)
        | Gone _
        | Shut _
        | CannotRead _ -> CancellationToken true
        | NotRead
        | Nothing
        | Stranger
        | Garbage -> CancellationToken.None

    /// Of a connection that goes on when its request has ended, such as a hub's that is taken up again by another one: until `Stop`.
    /// To be said before anybody asks for `Ended`.
    member _.OutliveRequest() = outlivesRequest <- true

    /// Why `Ended` was cancelled; None: it was not, or nobody has asked for it.
    member _.Cause: EndCause option =
        match visit.Presence, lease with
        | Gone past, _ -> Some(EndCause.Over past.Ending)
        | _, null -> None
        | _, held -> ValueOption.toOption held.Cause

    /// The connection of a hub is over, whose request may never say so.
    member _.Stop() =
        lock gate (fun () ->
            for held in former do
                held.Dispose()

            match lease with
            | null -> ()
            | held -> held.Dispose())
