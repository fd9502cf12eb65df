/// Authorization of a request whose user is not read yet: the session is awaited, and no thread waits for it. Where the store
/// does not answer, nobody is let in and nobody sent to a login page: 503.
namespace Session.AspNetCore

open System
open System.Threading.Tasks
open Microsoft.AspNetCore.Authentication
open Microsoft.AspNetCore.Authorization
open Microsoft.AspNetCore.Authorization.Policy
open Microsoft.Extensions.DependencyInjection

[<Sealed>]
type internal SessionPolicyEvaluator(inner: IPolicyEvaluator) =
    interface IPolicyEvaluator with
        member _.AuthenticateAsync(policy, context) =
            task {
                context.Features.Set<UserOutage> null

                match context.Features.Get<IAuthenticateResultFeature>() with
                | :? DeferredUser as deferred when policy.AuthenticationSchemes.Count = 0 ->
                    let received = Received.Of(TimeProvider.System, context)
                    let! found = deferred.Load()
                    UserOutage.note received context found
                | _ -> ()

                return! inner.AuthenticateAsync(policy, context)
            }

        member _.AuthorizeAsync(policy, result, context, resource) =
            match context.Features.Get<UserOutage>() with
            // Also where the policy lets strangers in: whether this is one nobody knows.
            | outage when not (isNull outage) && not result.Succeeded ->
                Task.FromResult(PolicyAuthorizationResult.Challenge())
            | _ -> inner.AuthorizeAsync(policy, result, context, resource)

[<Sealed>]
type internal SessionAuthorizationResults(inner: IAuthorizationMiddlewareResultHandler) =
    interface IAuthorizationMiddlewareResultHandler with
        member _.HandleAsync(next, context, policy, result) =
            match context.Features.Get<UserOutage>() with
            | null -> inner.HandleAsync(next, context, policy, result)
            | _ when result.Succeeded -> inner.HandleAsync(next, context, policy, result)
            | outage -> Answers.write context outage.Failure.StatusCode outage.Failure.Message

[<RequireQualifiedAccess>]
module internal Evaluating =
    let private made<'Service when 'Service: not struct> (descriptor: ServiceDescriptor) (provider: IServiceProvider) =
        match descriptor.ImplementationInstance, descriptor.ImplementationFactory with
        | (:? 'Service as instance), _ -> instance
        | _, factory when not (isNull factory) -> (Unchecked.nonNull factory).Invoke provider :?> 'Service
        | _ -> ActivatorUtilities.CreateInstance(provider, Unchecked.nonNull descriptor.ImplementationType) :?> 'Service

    /// Around what is registered, or else around the framework's own, which comes later then and finds its place taken.
    let private around<'Service when 'Service: not struct and 'Service: not null>
        (services: IServiceCollection)
        (framework: IServiceProvider -> 'Service)
        (wrap: 'Service -> 'Service)
        =
        let known = services |> Seq.tryFindBack (fun it -> it.ServiceType = typeof<'Service> && not it.IsKeyedService)

        let lifetime, inner =
            match known with
            | Some descriptor ->
                services.Remove descriptor |> ignore
                descriptor.Lifetime, made<'Service> descriptor
            | None -> ServiceLifetime.Transient, framework

        services.Add(
            ServiceDescriptor(
                typeof<'Service>,
                Func<IServiceProvider, obj>(fun it -> Unchecked.nonNull (box (wrap (inner it)))),
                lifetime
            )
        )

    let add (services: IServiceCollection) =
        around<IPolicyEvaluator>
            services
            (fun provider -> PolicyEvaluator(provider.GetRequiredService<IAuthorizationService>()))
            (fun inner -> SessionPolicyEvaluator inner)

        around<IAuthorizationMiddlewareResultHandler>
            services
            (fun _ -> AuthorizationMiddlewareResultHandler())
            (fun inner -> SessionAuthorizationResults inner)
