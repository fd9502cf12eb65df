/// The handler of the scheme: who the user is, how to sign in and out, and what is answered to whom who may not go on.
namespace Session.AspNetCore

open System
open System.Security.Claims
open System.Text.Encodings.Web
open System.Threading
open System.Threading.Tasks
open Microsoft.AspNetCore.Authentication
open Microsoft.AspNetCore.Http
open Microsoft.AspNetCore.Http.Features.Authentication
open Microsoft.Extensions.Logging
open Microsoft.Extensions.Options
open Microsoft.Extensions.Primitives

[<RequireQualifiedAccess>]
module internal SchemeSignIn =
    /// The data of the session after the sign-in. Another subject's is not handed on.
    let private dataFor
        (options: SessionSchemeOptions<'T>)
        (user: ClaimsPrincipal)
        subject
        (request: RequestSession<'T>)
        =
        let current =
            match request.Live with
            | Some live when live.Subject.IsNone || live.Subject = Some subject -> request.Data
            | _ -> None

        match options.Scheme.Data user current with
        | Some data -> data
        | None ->
            invalidOp (
                String.Concat(
                    "There is no session data for '",
                    subject,
                    "' to begin with: set Data in AddAuthentication().AddSession<",
                    typeof<'T>.Name,
                    ">(…), a function from the principal to the data, or call SignInAsync of the session itself, which takes the data."
                )
            )

    let signIn
        (options: SessionSchemeOptions<'T>)
        (context: HttpContext)
        (user: ClaimsPrincipal)
        (properties: AuthenticationProperties | null)
        : Task =
        task {
            let subject =
                match SessionUser.subject user with
                | Some subject -> subject
                | None ->
                    invalidOp
                        "The principal that signs in has no name identifier and no name, so nobody can tell whose session it would be: give it a ClaimTypes.NameIdentifier."

            let request = RequestSession.find<'T> context

            match! request.Load CancellationToken.None with
            | Error error -> raise (options.ToException error)
            | Ok() -> ()

            let external = RemoteSignIn.from (SessionServiceOf.services<'T> context.RequestServices) user properties

            match! request.SignIn(subject, dataFor options user subject request, external, CancellationToken.None) with
            | Error error -> raise (options.ToException error)
            | Ok _ -> ()
        }

    let signOut (options: SessionSchemeOptions<'T>) (context: HttpContext) : Task =
        task {
            match! (RequestSession.find<'T> context).Destroy CancellationToken.None with
            | Error error -> raise (options.ToException error)
            | Ok() -> ()
        }

[<Sealed>]
type internal SessionAuthenticationHandler<'T>
    (
        options: IOptionsMonitor<SessionSchemeOptions<'T>>,
        loggers: ILoggerFactory,
        encoder: UrlEncoder,
        schemes: SessionSchemes
    ) =
    inherit SignInAuthenticationHandler<SessionSchemeOptions<'T>>(options, loggers, encoder)

    let mutable deferred: DeferredUser | null = null
    let mutable isDeferring = false
    let mutable failure: SessionFailedException option = None

    let note (context: HttpContext) () =
        if schemes.MaySay() then
            let name =
                match context.GetEndpoint() with
                | null -> string context.Request.Path
                | endpoint -> string endpoint.DisplayName

            EdgeLog.userWaitedFor (loggers.CreateLogger "Session") null name typeof<'T>.Name

    /// The store did not answer when somebody asked who the user is: that is no reason to send anybody to a login page.
    let unavailable (context: HttpContext) (failure: SessionFailedException) =
        context.Response.StatusCode <- failure.StatusCode
        context.Response.Headers.RetryAfter <- StringValues "1"
        context.Response.Headers.CacheControl <- StringValues "no-store"

    override this.HandleAuthenticateAsync() =
        let context, options, scheme = this.Context, this.Options, this.Scheme.Name

        task {
            let! result = SessionUser.authenticate scheme options context
            failure <- UserOutage.of' result
            return result
        }

    member private this.Authenticate() : Task<AuthenticateResult> =
        let context, endpointAsks = this.Context, Deferral.isAskedFor typeof<'T> (this.Context.GetEndpoint())

        match deferred with
        | deferred when isDeferring && not (isNull deferred) ->
            isDeferring <- false

            task {
                if endpointAsks then
                    let! _ = (Unchecked.nonNull deferred).Load()
                    ()

                // Whoever asks for the user is told by the deferred one.
                return AuthenticateResult.NoResult()
            }
        | _ ->
            let received = Received.Of(TimeProvider.System, context)

            task {
                let! result = this.AuthenticateAsync()
                UserOutage.note received context result
                return result
            }

    /// Called just before the framework authenticates the default scheme: that it would do for every request.
    member private this.Defer() : Task<bool> =
        let context, scheme, options = this.Context, this.Scheme.Name, this.Options
        let isInside () = not context.Response.HasStarted && not (isNull context.Features[typeof<SessionPassed<'T>>])

        task {
            match! Deferral.throughDefault context scheme options with
            | None -> return false
            | Some asked ->
                match! Deferral.othersFirst context scheme with
                | true -> return true
                | false ->
                    let user = DeferredUser(context, asked, isInside, note context)
                    context.Features.Set<IHttpAuthenticationFeature> user
                    context.Features.Set<IAuthenticateResultFeature> user
                    deferred <- user
                    isDeferring <- true
                    return false
        }

    override this.HandleSignInAsync(user, properties) =
        let context, options = this.Context, this.Options

        // As routing finds it: in whatever case it is written.
        let isLoginPage =
            match options.Scheme.LoginPath with
            | Some page -> this.OriginalPath.Equals(PathString page)
            | None -> false

        // The answer of an identity provider comes from another site, and the handler has made sure by a cookie of its own that this
        // browser asked for it.
        if RemoteSignIn.is properties then
            CrossSite.vouch context

        let received = Received.Of(TimeProvider.System, context)

        task {
            do! SchemeSignIn.signIn options context user properties
            Redirecting.goOn received context isLoginPage options.Scheme.ReturnUrlParameter properties
        }

    override this.HandleSignOutAsync(properties) =
        let context, options = this.Context, this.Options
        let received = Received.Of(TimeProvider.System, context)

        task {
            do! SchemeSignIn.signOut options context
            Redirecting.goOn received context false options.Scheme.ReturnUrlParameter properties
        }

    member private this.Ask(status: int, page: string option, properties: AuthenticationProperties) =
        let parameter = this.Options.Scheme.ReturnUrlParameter
        let pathBase = this.OriginalPathBase
        let current = pathBase.Add(this.OriginalPath).Add(this.Request.QueryString)

        page
        |> Option.map (fun page -> Redirecting.pageOf pathBase page parameter current properties)
        |> Redirecting.ask this.Context status

    override this.HandleChallengeAsync(properties) =
        let context, options = this.Context, this.Options

        // Also where the settings let requests go on without the store: whom nobody knows is not sent to sign in.
        let outage () =
            match context.Features[typeof<RequestSession<'T>>] with
            | :? RequestSession<'T> as request ->
                request.Outage
                |> Option.bind (fun error -> UserOutage.of' (AuthenticateResult.Fail(options.ToException error)))
            | _ -> None

        match Option.orElseWith outage failure with
        | Some failure -> unavailable context failure
        | None -> this.Ask(401, this.Options.Scheme.LoginPath, properties)

        Task.CompletedTask

    override this.HandleForbiddenAsync(properties) =
        this.Ask(403, this.Options.Scheme.AccessDeniedPath, properties)
        Task.CompletedTask

    interface IDefersUser

    interface IAuthenticationRequestHandler with
        member this.InitializeAsync(scheme, context) = this.InitializeAsync(scheme, context)
        member this.AuthenticateAsync() = this.Authenticate()
        member this.ChallengeAsync properties = this.ChallengeAsync properties
        member this.ForbidAsync properties = this.ForbidAsync properties
        member this.HandleRequestAsync() = this.Defer()
