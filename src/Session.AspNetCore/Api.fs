/// The native F# API: curried, HttpContext last, expected failures as values.
namespace Session.AspNetCore

open System
open System.Threading
open System.Threading.Tasks
open Microsoft.AspNetCore.Builder
open Microsoft.AspNetCore.Http
open Session.Domain
open Session.Engine

/// Why `Session.tryUpdate` wrote nothing: the function refused, or the session did.
type UpdateError<'E> =
    | Declined of 'E
    | Failed of SessionError

[<RequireQualifiedAccess>]
module Session =
    let private raiseIfDown error =
        match error with
        | SessionError.NoSession
        | SessionError.Ended _
        | SessionError.Refused _ -> None
        // None is said of a session that is not there. Whoever goes on with it writes over the one that is.
        | error -> raise (SessionFailure.toException error)

    /// The data of the live session, or None. One store call, once per request; none without a token. A store that is
    /// down raises SessionFailedException: the middleware answers 503.
    let tryGet<'T> (context: HttpContext) : Task<'T option> =
        let request = RequestSession.find<'T> context

        task {
            match! request.Load context.RequestAborted with
            | Ok() -> return request.Data
            | Error error -> return raiseIfDown error
        }

    /// The data computed from the data as it is stored, and called again for each conflict: keep the function pure.
    /// Creates the session if there is none.
    let update<'T> (change: 'T option -> 'T) (context: HttpContext) : Task<Result<'T, SessionError>> =
        (RequestSession.find<'T> context).Update(change, context.RequestAborted)

    /// The same; the function may refuse, and nothing is written then: `Declined` with what it gave out.
    let tryUpdate<'T, 'E>
        (change: 'T option -> Result<'T, 'E>)
        (context: HttpContext)
        : Task<Result<'T, UpdateError<'E>>> =
        task {
            match! (RequestSession.find<'T> context).TryUpdate(change, context.RequestAborted) with
            | Ok(Ok data) -> return Ok data
            | Ok(Error refusal) -> return Error(Declined refusal)
            | Error error -> return Error(Failed error)
        }

    /// The data as given. `Conflict` when another write came first since it was read. Creates the session if there is none.
    let save<'T> (data: 'T) (context: HttpContext) : Task<Result<'T, SessionError>> =
        (RequestSession.find<'T> context).Save(data, context.RequestAborted)

    /// A new session; one that was there is destroyed, after the new one is stored.
    let create<'T> (data: 'T) (context: HttpContext) : Task<Result<'T, SessionError>> =
        (RequestSession.find<'T> context).Create(data, CancellationToken.None)

    /// Reads the session again: the data as it is now, None when there is no live session for this request any more.
    let reload<'T> (context: HttpContext) : Task<Result<'T option, SessionError>> =
        let request = RequestSession.find<'T> context

        task {
            match! request.Reload context.RequestAborted with
            | Ok() -> return Ok request.Data
            | Error error -> return Error error
        }

    /// Signs a subject in: new data, a new token, the old one is dead at once (ASVS 7.2.4). Like `regenerate` and `destroy` it
    /// is not given up when the client hangs up.
    let signIn<'T> (subject: string) (data: 'T) (context: HttpContext) : Task<Result<'T, SessionError>> =
        (RequestSession.find<'T> context).SignIn(subject, data, CancellationToken.None)

    /// A new token after a change of privilege; the old one is dead at once.
    let regenerate<'T> (context: HttpContext) : Task<Result<unit, SessionError>> =
        (RequestSession.find<'T> context).Regenerate(None, CancellationToken.None)

    /// Ends the session and expires the cookie. Ok without a token, too, and when it is over already. Error (Refused) when a
    /// token came that does not open the session: nothing was ended.
    let destroy<'T> (context: HttpContext) : Task<Result<unit, SessionError>> =
        (RequestSession.find<'T> context).Destroy CancellationToken.None

    /// The subject of the live session: whose it is, if anybody has signed in.
    let subject<'T> (context: HttpContext) : Task<string option> =
        let request = RequestSession.find<'T> context

        task {
            match! request.Load context.RequestAborted with
            | Ok() -> return request.Live |> Option.bind _.Subject
            | Error error -> return raiseIfDown error
        }

    /// When the subject last signed in; None when nobody has. Compare its age before what needs a fresh sign-in
    /// (ASVS 7.5.1, 7.5.3).
    let authenticatedAt<'T> (context: HttpContext) : Task<DateTimeOffset option> =
        let request = RequestSession.find<'T> context

        task {
            match! request.Load context.RequestAborted with
            | Ok() -> return request.Live |> Option.bind _.AuthenticatedAt
            | Error error -> return raiseIfDown error
        }

    /// The session id: public, safe to log. None without a live session.
    let tryId<'T> (context: HttpContext) : Task<string option> =
        let request = RequestSession.find<'T> context

        task {
            match! request.Load context.RequestAborted with
            | Ok() -> return request.Id
            | Error error -> return raiseIfDown error
        }

/// For Giraffe: an HttpHandler is HttpFunc -> HttpFunc, and an HttpFunc is HttpContext -> Task<HttpContext option>.
[<RequireQualifiedAccess>]
module Giraffe =
    /// Goes on with a live session, an anonymous one as well: it is no authentication. Else runs the first handler, which
    /// ends the pipeline.
    let requireSession<'T>
        (missing: (HttpContext -> Task<HttpContext option>) -> HttpContext -> Task<HttpContext option>)
        : (HttpContext -> Task<HttpContext option>) -> HttpContext -> Task<HttpContext option> =
        fun next context ->
            task {
                match! Session.tryGet<'T> context with
                | Some _ -> return! next context
                | None -> return! missing (fun context -> Task.FromResult(Some context)) context
            }

    /// Goes on with a live session that somebody has signed in to; else runs the first handler, which ends the pipeline.
    let requireSignIn<'T>
        (missing: (HttpContext -> Task<HttpContext option>) -> HttpContext -> Task<HttpContext option>)
        : (HttpContext -> Task<HttpContext option>) -> HttpContext -> Task<HttpContext option> =
        fun next context ->
            task {
                match! Session.subject<'T> context with
                | Some _ -> return! next context
                | None -> return! missing (fun context -> Task.FromResult(Some context)) context
            }

    /// Hands the data of the live session to a handler; without one the handler is skipped.
    let withSession<'T>
        (handler: 'T -> (HttpContext -> Task<HttpContext option>) -> HttpContext -> Task<HttpContext option>)
        : (HttpContext -> Task<HttpContext option>) -> HttpContext -> Task<HttpContext option> =
        fun next context ->
            task {
                match! Session.tryGet<'T> context with
                | Some data -> return! handler data next context
                | None -> return None
            }

/// For Falco, Oxpecker and plain endpoints: a handler is HttpContext -> Task.
[<RequireQualifiedAccess>]
module Endpoint =
    let private unauthorized (context: HttpContext) : Task = Answers.write context 401 "There is no live session."

    /// Runs the handler with a live session, an anonymous one as well: it is no authentication. Else answers 401. Also an
    /// Oxpecker EndpointMiddleware. It asks by itself, wherever the middleware stands; without it the request fails.
    let requireSession<'T> (handler: HttpContext -> Task) : HttpContext -> Task =
        fun context ->
            task {
                match! Session.tryGet<'T> context with
                | Some _ -> do! handler context
                | None -> do! unauthorized context
            }

    /// Runs the handler with a live session that somebody has signed in to; else answers 401.
    let requireSignIn<'T> (handler: HttpContext -> Task) : HttpContext -> Task =
        fun context ->
            task {
                match! Session.subject<'T> context with
                | Some _ -> do! handler context
                | None -> do! unauthorized context
            }

    /// Hands the data of the live session to the handler; else answers 401.
    let withSession<'T> (handler: 'T -> HttpContext -> Task) : HttpContext -> Task =
        fun context ->
            task {
                match! Session.tryGet<'T> context with
                | Some data -> do! handler data context
                | None -> do! unauthorized context
            }

    /// The endpoint's answers are the same for everybody, whatever session it looks at: the output cache and shared caches
    /// may keep them. Without it they keep nothing for which a session was opened.
    let allowSharedCaching (builder: 'Builder :> IEndpointConventionBuilder) : 'Builder =
        builder.Add(fun endpoint -> endpoint.Metadata.Add(SharedCaching()))
        builder
