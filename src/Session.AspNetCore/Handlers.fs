/// Guards in Giraffe's words: an HttpHandler is HttpFunc -> HttpFunc, and an HttpFunc is HttpContext -> Task<HttpContext option>.
/// The types are spelled out, so that they are Giraffe's own without a reference to it. Saturn's are the same.
namespace Session.AspNetCore

open System
open System.Threading.Tasks
open Microsoft.AspNetCore.Http

/// HttpHandlers for Giraffe and Saturn, composed by `>=>`.
[<RequireQualifiedAccess>]
module SessionHandler =
    let private finish: HttpContext -> Task<HttpContext option> = Some >> Task.FromResult

    /// Where the settings let requests go on without the store nobody knows whether there is a session: 503.
    let private refuse<'T>
        (missing: (HttpContext -> Task<HttpContext option>) -> HttpContext -> Task<HttpContext option>)
        (context: HttpContext)
        =
        task {
            match (RequestSession.find<'T> context).Outage with
            | Some error ->
                do! Answers.failed context error
                return Some context
            | None -> return! missing finish context
        }

    /// Goes on with a live session, an anonymous one as well: it is no authentication. Else runs the first handler, which
    /// ends the pipeline: `SessionHandler.requireSession<Cart> (setStatusCode 401 >=> text "No session.") >=> …`.
    [<RequiresExplicitTypeArguments>]
    let requireSession<'T>
        (missing: (HttpContext -> Task<HttpContext option>) -> HttpContext -> Task<HttpContext option>)
        : (HttpContext -> Task<HttpContext option>) -> HttpContext -> Task<HttpContext option> =
        fun next context ->
            task {
                match! Session.tryGet<'T> context with
                | Some _ -> return! next context
                | None -> return! refuse<'T> missing context
            }

    /// Goes on with a live session that somebody has signed in to; else runs the first handler, which ends the pipeline.
    [<RequiresExplicitTypeArguments>]
    let requireSignIn<'T>
        (missing: (HttpContext -> Task<HttpContext option>) -> HttpContext -> Task<HttpContext option>)
        : (HttpContext -> Task<HttpContext option>) -> HttpContext -> Task<HttpContext option> =
        fun next context ->
            task {
                match! Session.subject<'T> context with
                | Some _ -> return! next context
                | None -> return! refuse<'T> missing context
            }

    /// Goes on with a live session that somebody has signed in to less than this time ago (ASVS 7.5.1); else runs the first
    /// handler, which ends the pipeline.
    [<RequiresExplicitTypeArguments>]
    let requireSignInWithin<'T>
        (maxAge: TimeSpan)
        (missing: (HttpContext -> Task<HttpContext option>) -> HttpContext -> Task<HttpContext option>)
        : (HttpContext -> Task<HttpContext option>) -> HttpContext -> Task<HttpContext option> =
        fun next ->
            requireSignIn<'T> missing (fun context ->
                if RequestSession.isFresh<'T> maxAge context then next context else missing finish context)

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

    /// Hands the subject of the live session to a handler; where nobody has signed in the handler is skipped.
    [<RequiresExplicitTypeArguments>]
    let withSubject<'T>
        (handler: string -> (HttpContext -> Task<HttpContext option>) -> HttpContext -> Task<HttpContext option>)
        : (HttpContext -> Task<HttpContext option>) -> HttpContext -> Task<HttpContext option> =
        fun next context ->
            task {
                match! Session.subject<'T> context with
                | Some subject -> return! handler subject next context
                | None -> return None
            }

    /// Answers with an error as the middleware would (status, problem+json or a challenge, no-store), and ends the pipeline.
    let failed
        (error: SessionError)
        : (HttpContext -> Task<HttpContext option>) -> HttpContext -> Task<HttpContext option> =
        fun _ context ->
            task {
                do! Answers.failed context error
                return Some context
            }
