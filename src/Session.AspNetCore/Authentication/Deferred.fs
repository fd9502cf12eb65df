/// The framework authenticates its default scheme for every request, whether anybody asks who the user is or not. The session
/// is read only when somebody does: before the endpoint runs where the endpoint says so, else at the first look at
/// HttpContext.User.
namespace Session.AspNetCore

open System
open System.Collections.Concurrent
open System.Runtime.CompilerServices
open System.Security.Claims
open System.Threading.Tasks
open Microsoft.AspNetCore.Authentication
open Microsoft.AspNetCore.Components.Endpoints
open Microsoft.AspNetCore.Http
open Microsoft.AspNetCore.Http.Connections
open Microsoft.AspNetCore.Http.Features.Authentication
open Microsoft.AspNetCore.Http.Metadata
open Microsoft.AspNetCore.SignalR
open Microsoft.Extensions.DependencyInjection
open Microsoft.Extensions.Options

/// That nobody knows who the user of this request is, because the store did not answer. `goesOn`: the settings say to go on.
[<Sealed>]
type internal UserOutage(failure: SessionFailedException, goesOn: bool) =
    member _.Failure = failure
    member _.GoesOn = goesOn

[<RequireQualifiedAccess>]
module internal UserOutage =
    let of' (result: AuthenticateResult | null) : SessionFailedException option =
        match result with
        | null -> None
        | result ->
            match result.Failure with
            | :? SessionFailedException as failure -> Some failure
            | _ -> None

    let private whole (result: AuthenticateResult | null) =
        match result with
        | :? UnknownUser as unknown ->
            match unknown.Outage with
            | :? SessionFailedException as failure -> Some(UserOutage(failure, true))
            | _ -> None
        | _ -> of' result |> Option.map (fun failure -> UserOutage(failure, false))

    let note (received: Received) (context: HttpContext) (result: AuthenticateResult | null) =
        match whole result with
        | Some outage when received.TryEnter() ->
            try
                context.Features.Set outage
            finally
                received.Leave()
        | Some _
        | None -> ()

/// HttpContext.User, and the result of its authentication, known when they are asked for.
[<Sealed>]
type internal DeferredUser(context: HttpContext, scheme: string, mayFail: unit -> bool, waiting: unit -> unit) =
    /// Of whoever has set one before: it stays where the session has no user.
    let before = context.Features.Get<IHttpAuthenticationFeature>()
    let received = Received.Of(TimeProvider.System, context)
    let mutable loading: Task<AuthenticateResult> | null = null
    let mutable isKnown = false
    let mutable user: ClaimsPrincipal | null = null
    let mutable result: AuthenticateResult | null = null

    /// As the framework makes one where it got none.
    let isNobody (user: ClaimsPrincipal | null) =
        match user with
        | null -> true
        | user -> user.Identities |> Seq.forall (fun it -> not it.IsAuthenticated && Seq.isEmpty it.Claims)

    /// What stays true with a nobody of the framework's, which HttpContext.User puts in the place of none: what the schemes that
    /// were asked have noted.
    let outageBehind (value: ClaimsPrincipal | null) : AuthenticateResult | null =
        let noted () : AuthenticateResult | null =
            match context.Features[typeof<UserOutage>] with
            | :? UserOutage as outage when not outage.GoesOn -> AuthenticateResult.Fail outage.Failure
            | _ -> null

        if isNobody value then received.Touch(noted, (fun () -> null)) else null

    let load () =
        task {
            let! found = context.AuthenticateAsync scheme

            // Somebody may have set another one meanwhile.
            if not isKnown then
                isKnown <- true
                result <- found

                user <-
                    match found.Principal with
                    | null ->
                        match before with
                        | null -> null
                        | before -> before.User
                    | principal -> principal

            return found
        }

    /// Reads the session, once.
    member _.Load() : Task<AuthenticateResult> =
        match loading with
        | null ->
            let started = OffContext.start load
            loading <- started
            started
        | started -> started

    /// For those who cannot await: a thread waits while the store answers.
    member private deferred.Know() =
        // Who writes down the user of each request may do so when it is over: nobody has asked, and nothing is read any more.
        if not isKnown && received.IsOver && isNull loading then
            isKnown <- true

            user <-
                match before with
                | null -> null
                | before -> before.User

        if not isKnown then
            let loading = deferred.Load()

            if not loading.IsCompleted then
                waiting ()

            loading.GetAwaiter().GetResult() |> ignore

    interface IHttpAuthenticationFeature with
        member deferred.User
            with get () =
                deferred.Know()

                // Nobody must be taken for a stranger while the store is down, where an answer can still say so.
                match UserOutage.of' result with
                | Some failure when mayFail () -> raise failure
                | _ -> user
            and set value =
                result <- outageBehind value
                isKnown <- true
                user <- value

    interface IAuthenticateResultFeature with
        member deferred.AuthenticateResult
            with get () =
                deferred.Know()
                result
            and set value =
                isKnown <- true
                result <- value

                user <-
                    match value with
                    | null -> null
                    | value -> value.Principal

/// On the handlers of sessions.
type internal IDefersUser = interface end

/// Which of the sessions an endpoint asks for, each looked for once.
[<Sealed>]
type internal Asking(endpoint: Endpoint) =
    let known = ConcurrentDictionary<Type, bool>()

    member _.Of(dataType: Type, lookFor: Type -> Endpoint -> bool) =
        match known.TryGetValue dataType with
        | true, answer -> answer
        | false, _ -> known.GetOrAdd(dataType, lookFor dataType endpoint)

[<RequireQualifiedAccess>]
module internal Deferral =
    let private known = ConditionalWeakTable<Endpoint, Asking>()

    let private lookFor (dataType: Type) (endpoint: Endpoint) =
        endpoint.Metadata
        |> Seq.exists (fun it ->
            match it with
            | :? IUsesSessionMetadata as uses -> uses.DataType = dataType
            | :? IParameterBindingMetadata as parameter ->
                parameter.ParameterInfo.ParameterType = typeof<ClaimsPrincipal>
            // These look at the user of every request.
            | :? HubMetadata
            | :? NegotiateMetadata
            | :? ComponentTypeMetadata -> true
            | _ -> false)

    /// Whether the endpoint says that it looks at its user.
    let isAskedFor (dataType: Type) (endpoint: Endpoint | null) =
        match endpoint with
        | null -> false
        | endpoint -> known.GetValue(endpoint, (fun it -> Asking it)).Of(dataType, lookFor)

    let private target (options: AuthenticationSchemeOptions) (context: HttpContext) =
        Option.ofObj options.ForwardAuthenticate
        |> Option.orElseWith (fun () ->
            match options.ForwardDefaultSelector with
            | null -> None
            | select -> Option.ofObj (select.Invoke context))
        |> Option.orElse (Option.ofObj options.ForwardDefault)

    /// The name of the default scheme, if asking it asks this one, whose options these are.
    let throughDefault (context: HttpContext) (scheme: string) (options: AuthenticationSchemeOptions) =
        task {
            let services = context.RequestServices

            match! services.GetRequiredService<IAuthenticationSchemeProvider>().GetDefaultAuthenticateSchemeAsync() with
            | null -> return None
            | it when it.Name = scheme ->
                match target options context with
                | Some other when other <> scheme -> return None
                | _ -> return Some scheme
            | it when it.HandlerType = typeof<PolicySchemeHandler> ->
                let policy = services.GetRequiredService<IOptionsMonitor<PolicySchemeOptions>>().Get it.Name

                match target policy context, target options context with
                | Some first, None when first = scheme -> return Some it.Name
                | _ -> return None
            | _ -> return None
        }

    /// Other handlers that answer requests by themselves (an identity provider's callbacks) come first: they may ask who the
    /// user is, and are to hear it. True: one of them has answered.
    let othersFirst (context: HttpContext) (scheme: string) : Task<bool> =
        task {
            let services = context.RequestServices
            let! all = services.GetRequiredService<IAuthenticationSchemeProvider>().GetRequestHandlerSchemesAsync()
            let later = all |> Seq.skipWhile (fun it -> it.Name <> scheme) |> Seq.filter (fun it -> it.Name <> scheme)
            let handlers = services.GetRequiredService<IAuthenticationHandlerProvider>()
            let mutable isHandled = false

            for it in List.ofSeq later do
                if not isHandled then
                    match! handlers.GetHandlerAsync(context, it.Name) with
                    | :? IDefersUser -> ()
                    | :? IAuthenticationRequestHandler as handler ->
                        let! answered = handler.HandleRequestAsync()
                        isHandled <- answered
                    | _ -> ()

            return isHandled
        }
