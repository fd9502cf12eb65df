/// An endpoint that needs a session runs only when the middleware has looked at it. Where the middleware is missing, or
/// stands where no endpoint is known yet, the request fails: a forgotten line must not open the door.
namespace Session.AspNetCore

open System
open System.Collections.Generic
open System.Runtime.CompilerServices
open System.Threading.Tasks
open Microsoft.AspNetCore.Authorization
open Microsoft.AspNetCore.Builder
open Microsoft.AspNetCore.Http
open Microsoft.AspNetCore.Http.Metadata
open Microsoft.AspNetCore.Mvc
open Microsoft.AspNetCore.Routing
open Microsoft.AspNetCore.Routing.Matching
open Session.Domain

/// That the middleware for this data has let the request in, and to which endpoint: a request can be routed anew.
[<Sealed>]
type internal SessionAdmission(endpoint: Endpoint, dataType: Type, earlier: SessionAdmission | null) =
    member _.Is(other: Endpoint, required: Type | null) : bool =
        obj.ReferenceEquals(endpoint, other) && (isNull required || required = dataType)
        || (match earlier with
            | null -> false
            | earlier -> earlier.Is(other, required))

/// `isChecked`: the endpoint's own delegate asks for the admission.
[<Sealed>]
type internal SessionRequirement(dataType: Type | null, signedIn: bool, isChecked: bool) =
    member _.IsChecked = isChecked

    interface IRequireSessionMetadata with
        member _.DataType = dataType
        member _.SignedIn = signedIn

[<Sealed>]
type internal SignedInWithin(maxAge: TimeSpan) =
    interface ISignedInWithinMetadata with
        member _.MaxAge = maxAge

[<RequireQualifiedAccess>]
module SessionGuard =
    /// How long ago the sign-in may be: the shortest time that is said.
    let internal maxAge (endpoint: Endpoint) : TimeSpan =
        let said = endpoint.Metadata.GetOrderedMetadata<ISignedInWithinMetadata>()
        let mutable shortest = TimeSpan.MaxValue

        for i in 0 .. said.Count - 1 do
            shortest <- min shortest said[i].MaxAge

        shortest

    /// At exactly that age it is too old.
    let internal isFresh (maxAge: TimeSpan) (now: DateTimeOffset) (live: Live) : bool =
        maxAge = TimeSpan.MaxValue
        || (match live.AuthenticatedAt with
            | Some at -> now - at < maxAge
            | None -> false)

    let internal admit (context: HttpContext) (endpoint: Endpoint) (dataType: Type) =
        context.Features.Set(SessionAdmission(endpoint, dataType, context.Features.Get<SessionAdmission>()))

    let private sentence (endpoint: Endpoint | null) (required: Type | null) =
        let name =
            match endpoint with
            | null -> "An endpoint"
            | endpoint -> String.Concat("Endpoint '", endpoint.DisplayName, "'")

        let data, call =
            match required with
            | null -> "", "app.UseSession<T>()"
            | required -> String.Concat(" of ", required.Name), String.Concat("app.UseSession<", required.Name, ">()")

        String.Concat(
            [| name
               " needs a session"
               data
               ", and "
               call
               " did not run for it, so nobody would be kept out. Add "
               call
               " before the endpoints, and after app.UseRouting() if the application calls that." |]
        )

    /// As with the framework's authorization: AllowAnonymous anywhere on an endpoint outweighs what it requires.
    let internal isOpenToAll (endpoint: Endpoint | null) =
        match endpoint with
        | null -> false
        | endpoint -> not (isNull (endpoint.Metadata.GetMetadata<IAllowAnonymous>()))

    /// Throws InvalidOperationException unless the middleware has let this request in to this endpoint.
    let verify (context: HttpContext) (requirement: IRequireSessionMetadata) : unit =
        let endpoint = context.GetEndpoint()

        let isAdmitted =
            match endpoint, context.Features.Get<SessionAdmission>() with
            | null, _
            | _, null -> false
            | endpoint, admission -> admission.Is(endpoint, requirement.DataType)

        if isAdmitted then
            // The session may have been opened before the output cache was asked: it is asked now.
            if not (Sharing.isAllowed context) then
                Sharing.keepOut context
        elif not (isOpenToAll endpoint) then
            invalidOp (sentence endpoint requirement.DataType)

    /// What documents of the API say of it: 401 without a session, 503 while the store is down.
    let describe (builder: EndpointBuilder) (status: int) : unit =
        let isSaid (it: obj) =
            match it with
            | :? IProducesResponseTypeMetadata as said -> said.StatusCode = status
            | _ -> false

        if not (Seq.exists isSaid builder.Metadata) then
            builder.Metadata.Add(
                ProducesResponseTypeMetadata(status, typeof<ProblemDetails>, [| "application/problem+json" |])
            )

    /// Marks an endpoint, and has its delegate ask for the admission.
    let require (dataType: Type | null) (signedIn: bool) (builder: EndpointBuilder) : unit =
        describe builder 401
        describe builder 503

        match builder.RequestDelegate with
        | null -> builder.Metadata.Add(SessionRequirement(dataType, signedIn, false))
        | next ->
            let requirement = SessionRequirement(dataType, signedIn, true)
            builder.Metadata.Add requirement

            builder.RequestDelegate <-
                RequestDelegate(fun context ->
                    verify context requirement
                    next.Invoke context)

    // Of the process: whoever adds to an endpoint has no application at hand.
    let mutable private isRecentAsked = false

    /// Endpoints are built when the first request comes. What they lack is to stop the start, so they are built once everything
    /// has started, where there may be such a lack: it takes time.
    let internal buildEndpoints (provider: IServiceProvider) : unit =
        if isRecentAsked then
            match provider.GetService typeof<EndpointDataSource> with
            | :? EndpointDataSource as source -> source.Endpoints |> ignore
            | _ -> ()

    /// The sign-in that the endpoint requires has to be this recent. Without such a requirement nobody would be kept out, and the
    /// application does not start.
    let requireWithin (maxAge: TimeSpan) (builder: IEndpointConventionBuilder) : unit =
        if maxAge <= TimeSpan.Zero then
            invalidArg (nameof maxAge) "Nobody has signed in within no time: give a time longer than zero."

        isRecentAsked <- true
        builder.Add(fun endpoint -> endpoint.Metadata.Add(SignedInWithin maxAge))

        builder.Finally(fun endpoint ->
            let isSignIn (it: obj) =
                match it with
                | :? IRequireSessionMetadata as requirement -> requirement.SignedIn
                | _ -> false

            if not (Seq.exists isSignIn endpoint.Metadata) then
                invalidOp (
                    String.Concat(
                        "SignedInWithin on endpoint '",
                        endpoint.DisplayName,
                        "' says how recent a sign-in has to be, and nothing there requires one: call RequireSignIn<T>() on it, too."
                    )
                ))

    /// Requirements that came as bare metadata, such as attributes on handlers, hubs and controllers.
    let private unchecked (endpoint: Endpoint) =
        let required = endpoint.Metadata.GetOrderedMetadata<IRequireSessionMetadata>()
        let mutable found = false

        for i in 0 .. required.Count - 1 do
            match required[i] with
            | :? SessionRequirement as requirement when requirement.IsChecked -> ()
            | _ -> found <- true

        found && not (isNull endpoint.RequestDelegate)

    let internal needsCheck (endpoint: Endpoint) = unchecked endpoint

    /// The endpoint with a delegate that asks for the admission first.
    let internal behindCheck (endpoint: Endpoint) : Endpoint =
        let required = endpoint.Metadata.GetOrderedMetadata<IRequireSessionMetadata>()
        let next = endpoint.RequestDelegate

        let checking =
            RequestDelegate(fun context ->
                for i in 0 .. required.Count - 1 do
                    verify context required[i]

                match next with
                | null -> Task.CompletedTask
                | next -> next.Invoke context)

        match endpoint with
        | :? RouteEndpoint as route ->
            RouteEndpoint(checking, route.RoutePattern, route.Order, route.Metadata, route.DisplayName)
        | other -> Endpoint(checking, other.Metadata, other.DisplayName)

/// Routing hands out endpoints with bare requirements behind the check. Others are not touched, and cost nothing.
[<Sealed>]
type internal SessionMatcherPolicy() =
    inherit MatcherPolicy()

    let behind = ConditionalWeakTable<Endpoint, Endpoint>()
    // After the policies that bring endpoints of their own, such as those for dynamic controllers.
    override _.Order = Int32.MaxValue

    interface IEndpointSelectorPolicy with
        member _.AppliesToEndpoints(endpoints: IReadOnlyList<Endpoint>) =
            MatcherPolicy.ContainsDynamicEndpoints endpoints || Seq.exists SessionGuard.needsCheck endpoints

        member _.ApplyAsync(_: HttpContext, candidates: CandidateSet) =
            for i in 0 .. candidates.Count - 1 do
                if candidates.IsValidCandidate i then
                    let candidate = candidates[i]

                    if SessionGuard.needsCheck candidate.Endpoint then
                        let replacement = behind.GetValue(candidate.Endpoint, SessionGuard.behindCheck)
                        candidates.ReplaceEndpoint(i, replacement, candidate.Values)

            Task.CompletedTask
