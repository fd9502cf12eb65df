/// Guards in Giraffe's words: an HttpHandler is HttpFunc -> HttpFunc, and an HttpFunc is HttpContext -> Task<HttpContext option>.
/// The types are spelled out, so that they are Giraffe's own without a reference to it. Saturn's are the same.
namespace Session.AspNetCore

open System
open System.Threading.Tasks
open Microsoft.AspNetCore.Http

/// HttpHandlers for Giraffe and Saturn, composed by `>=>`. While the store does not answer all of them are a 503, with
/// ContinueWithoutStore as well: nobody knows then whether there is a session.
[<RequireQualifiedAccess>]
module SessionHandler =
    let private finish: HttpContext -> Task<HttpContext option> = Some >> Task.FromResult

    /// Goes on with what there is, and with the other one where it is known that there is nothing; else 503.
    let inline private elseRun<'T, 'found>
        ([<InlineIfLambda>] ask: HttpContext -> Task<'found option>)
        ([<InlineIfLambda>] missing: unit -> Task<HttpContext option>)
        ([<InlineIfLambda>] handler: 'found -> Task<HttpContext option>)
        (context: HttpContext)
        : Task<HttpContext option> =
        task {
            match! ask context with
            | Some found -> return! handler found
            | None ->
                match Nobody.isSure (RequestSession.find<'T> context) with
                | Ok() -> return! missing ()
                | Error error ->
                    do! Answers.failed context error
                    return Some context
        }

    let private skip () : Task<HttpContext option> = Task.FromResult None

    /// Goes on with a live session, an anonymous one as well: it is no authentication. Else runs the first handler, which
    /// ends the pipeline: `SessionHandler.requireSession<Cart> (setStatusCode 401 >=> text "No session.") >=> …`.
    [<RequiresExplicitTypeArguments>]
    let requireSession<'T>
        (missing: (HttpContext -> Task<HttpContext option>) -> HttpContext -> Task<HttpContext option>)
        : (HttpContext -> Task<HttpContext option>) -> HttpContext -> Task<HttpContext option> =
        fun next context ->
            elseRun<'T, 'T> Session.tryGet<'T> (fun () -> missing finish context) (fun _ -> next context) context

    /// Goes on with a live session that somebody has signed in to; else runs the first handler, which ends the pipeline.
    [<RequiresExplicitTypeArguments>]
    let requireSignIn<'T>
        (missing: (HttpContext -> Task<HttpContext option>) -> HttpContext -> Task<HttpContext option>)
        : (HttpContext -> Task<HttpContext option>) -> HttpContext -> Task<HttpContext option> =
        fun next context ->
            elseRun<'T, string> Session.subject<'T> (fun () -> missing finish context) (fun _ -> next context) context

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
        fun next context -> elseRun<'T, 'T> Session.tryGet<'T> skip (fun data -> handler data next context) context

    /// Hands the subject of the live session to a handler; where nobody has signed in the handler is skipped.
    [<RequiresExplicitTypeArguments>]
    let withSubject<'T>
        (handler: string -> (HttpContext -> Task<HttpContext option>) -> HttpContext -> Task<HttpContext option>)
        : (HttpContext -> Task<HttpContext option>) -> HttpContext -> Task<HttpContext option> =
        fun next context ->
            elseRun<'T, string> Session.subject<'T> skip (fun subject -> handler subject next context) context

    /// Answers with an error as the middleware would (status, problem+json or a challenge, no-store), and ends the pipeline.
    let failed
        (error: SessionError)
        : (HttpContext -> Task<HttpContext option>) -> HttpContext -> Task<HttpContext option> =
        fun _ context ->
            task {
                do! Answers.failed context error
                return Some context
            }
