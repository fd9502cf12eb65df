/// Guards for handlers of the form HttpContext -> Task: Falco, Oxpecker and plain endpoints.
namespace Session.AspNetCore

open System
open System.Threading.Tasks
open Microsoft.AspNetCore.Builder
open Microsoft.AspNetCore.Http

/// Handlers and middlewares for Falco, Oxpecker and plain endpoints. Each asks by itself, wherever the session middleware
/// stands; without that the request fails. The names with `Or` take first what to do without a session; the others
/// answer 401, or with the challenge of the endpoint's authentication scheme. While the store does not answer all of them
/// are a 503, with ContinueWithoutStore as well: nobody knows then whether there is a session.
[<RequireQualifiedAccess>]
module SessionEndpoint =
    /// Runs the second handler with what there is, and the first where it is known that there is nothing; else 503.
    let inline private elseRun<'T, 'found>
        ([<InlineIfLambda>] ask: HttpContext -> Task<'found option>)
        (missing: HttpContext -> Task)
        ([<InlineIfLambda>] handler: 'found -> Task)
        (context: HttpContext)
        : Task =
        task {
            match! ask context with
            | Some found -> do! handler found
            | None ->
                match Nobody.isSure (RequestSession.find<'T> context) with
                | Ok() -> do! missing context
                | Error error -> do! Answers.failed context error
        }

    let private nobody<'T> sentence : HttpContext -> Task =
        fun context -> Answers.writeOf typeof<'T> context 401 sentence

    let private noSession<'T> = nobody<'T> "There is no live session."
    let private noSubject<'T> = nobody<'T> "Nobody is signed in to this session."

    /// Runs the second handler with a live session, an anonymous one as well: it is no authentication. Else the first.
    [<RequiresExplicitTypeArguments>]
    let requireSessionOr<'T> (missing: HttpContext -> Task) (handler: HttpContext -> Task) : HttpContext -> Task =
        fun context -> elseRun<'T, 'T> Session.tryGet<'T> missing (fun _ -> handler context) context

    /// Runs the handler with a live session, an anonymous one as well: it is no authentication. Else answers 401. Also an
    /// Oxpecker EndpointMiddleware: `SessionEndpoint.requireSession<Cart> >=> handler`.
    [<RequiresExplicitTypeArguments>]
    let requireSession<'T> (handler: HttpContext -> Task) : HttpContext -> Task =
        requireSessionOr<'T> noSession<'T> handler

    /// Runs the second handler with a live session that somebody has signed in to; else the first.
    [<RequiresExplicitTypeArguments>]
    let requireSignInOr<'T> (missing: HttpContext -> Task) (handler: HttpContext -> Task) : HttpContext -> Task =
        fun context -> elseRun<'T, string> Session.subject<'T> missing (fun _ -> handler context) context

    /// Runs the handler with a live session that somebody has signed in to; else answers 401.
    [<RequiresExplicitTypeArguments>]
    let requireSignIn<'T> (handler: HttpContext -> Task) : HttpContext -> Task =
        requireSignInOr<'T> noSubject<'T> handler

    /// Runs the second handler with a live session that somebody has signed in to less than this time ago (ASVS 7.5.1);
    /// else the first.
    [<RequiresExplicitTypeArguments>]
    let requireSignInWithinOr<'T>
        (maxAge: TimeSpan)
        (missing: HttpContext -> Task)
        (handler: HttpContext -> Task)
        : HttpContext -> Task =
        requireSignInOr<'T> missing (fun context ->
            if RequestSession.isFresh<'T> maxAge context then handler context else missing context)

    /// Runs the handler with a live session that somebody has signed in to less than this time ago (ASVS 7.5.1); else
    /// answers 401, and says so.
    [<RequiresExplicitTypeArguments>]
    let requireSignInWithin<'T> (maxAge: TimeSpan) (handler: HttpContext -> Task) : HttpContext -> Task =
        requireSignIn<'T>(fun context ->
            if RequestSession.isFresh<'T> maxAge context then
                handler context
            else
                Answers.stale typeof<'T> context maxAge)

    /// Hands the data of the live session to the second handler; without one it runs the first.
    let withSessionOr<'T> (missing: HttpContext -> Task) (handler: 'T -> HttpContext -> Task) : HttpContext -> Task =
        fun context -> elseRun<'T, 'T> Session.tryGet<'T> missing (fun data -> handler data context) context

    /// Hands the data of the live session to the handler; else answers 401.
    let withSession<'T> (handler: 'T -> HttpContext -> Task) : HttpContext -> Task = withSessionOr noSession<'T> handler

    /// Hands the subject of the live session to the second handler; where nobody has signed in it runs the first.
    [<RequiresExplicitTypeArguments>]
    let withSubjectOr<'T>
        (missing: HttpContext -> Task)
        (handler: string -> HttpContext -> Task)
        : HttpContext -> Task =
        fun context -> elseRun<'T, string> Session.subject<'T> missing (fun subject -> handler subject context) context

    /// Hands the subject of the live session to the handler; where nobody has signed in it answers 401.
    [<RequiresExplicitTypeArguments>]
    let withSubject<'T> (handler: string -> HttpContext -> Task) : HttpContext -> Task =
        withSubjectOr<'T> noSubject<'T> handler

    /// Answers with an error as the middleware would: status, problem+json or a challenge, no-store.
    let failed (error: SessionError) : HttpContext -> Task = fun context -> Answers.failed context error

    /// The endpoint's answers are the same for everybody, whatever session it looks at: the output cache and shared caches
    /// may keep them. Without it they keep nothing for which a session was opened.
    let allowSharedCaching (builder: 'Builder :> IEndpointConventionBuilder) : 'Builder =
        builder.Add(fun endpoint -> endpoint.Metadata.Add(SharedCaching()))
        builder

    /// Requests to the endpoint do not count as activity: for what a page asks again and again by itself. They open the
    /// session, move none of its deadlines, not even by a write, and issue no token.
    let noTouch (builder: 'Builder :> IEndpointConventionBuilder) : 'Builder =
        builder.Add(fun endpoint -> endpoint.Metadata.Add(SessionNotTouched()))
        builder

    /// The endpoint is meant for requests that pages of these origins (`https://shop.example`), or with none those of every
    /// origin, have the browser send: they may change, begin and end sessions there. Where SameSite keeps the cookie back, a
    /// session that begins takes the place of the browser's.
    let allowCrossSite (origins: string list) (builder: 'Builder :> IEndpointConventionBuilder) : 'Builder =
        let allowed = CrossSiteAllowed(List.toArray origins)
        builder.Add(fun endpoint -> endpoint.Metadata.Add allowed)
        builder
