/// The framework's antiforgery tokens, bound to session and elevation: one of before a sign-in, of another session or of
/// another user is refused.
namespace Session.AspNetCore

open System
open System.Collections.Generic
open System.Threading.Tasks
open Microsoft.AspNetCore.Antiforgery
open Microsoft.AspNetCore.Http
open Microsoft.Extensions.DependencyInjection
open Microsoft.Extensions.DependencyInjection.Extensions
open Session.Engine

/// What the sessions of one kind of data add to an antiforgery token.
[<Interface>]
type internal IAntiforgeryMark =
    abstract Of: HttpContext -> ValueTask<string>

    /// Whether what `Of` has said of a request without a session is known.
    abstract IsSure: HttpContext -> Result<unit, SessionError>

[<Sealed>]
type internal AntiforgeryMark<'T>(service: SessionService<'T>) =
    let markOf (request: RequestSession<'T>) (loaded: Result<unit, SessionError>) =
        match loaded, request.Id, request.Live with
        | Error error, _, _ -> raise (SessionFailure.toException error)
        | Ok(), Some id, Some live when live.Subject.IsNone && live.Elevations = 0 -> String.Concat("~", id)
        | Ok(), Some id, Some live -> String.Concat(id, ".", string live.Elevations)
        | Ok(), _, _ -> ""

    interface IAntiforgeryMark with
        member _.Of context =
            if not service.IsMounted then
                ValueTask<string> ""
            else
                let request = RequestSession.find<'T> context
                let loading = request.Load context.RequestAborted

                if loading.IsCompletedSuccessfully then
                    ValueTask<string>(markOf request loading.Result)
                else
                    ValueTask<string>(
                        task =
                            task {
                                let! loaded = loading
                                return markOf request loaded
                            }
                    )

        member _.IsSure context = if service.IsMounted then Nobody.isSure (RequestSession.find<'T> context) else Ok()

[<Sealed>]
type internal SessionAntiforgery(marks: IEnumerable<IAntiforgeryMark>) =
    let marks = Seq.toArray marks

    /// The framework asks without waiting. The middleware has read the session by then where the endpoint says that it
    /// validates tokens, and so has, mostly, whoever shows a form.
    let markOf (context: HttpContext) (mark: IAntiforgeryMark) =
        let asked = OffContext.start (fun () -> mark.Of context)

        if asked.IsCompletedSuccessfully then asked.Result else asked.AsTask().GetAwaiter().GetResult()

    let isAnonymous (mark: string) = mark.StartsWith '~'

    /// Whoever has not signed in may lose his session or begin one while the form is open. He may not change it for another.
    let fits (issued: string) (now: string) =
        String.Equals(issued, now, StringComparison.Ordinal)
        || issued = "" && isAnonymous now
        || now = "" && isAnonymous issued

    interface IAntiforgeryAdditionalDataProvider with
        member _.GetAdditionalData context = String.Join('|', Array.map (markOf context) marks)

        member _.ValidateAdditionalData(context, additionalData) =
            let issued = additionalData.Split '|'

            let isValid = issued.Length = marks.Length && Array.forall2 fits issued (Array.map (markOf context) marks)

            // The form may well be this user's.
            if not isValid then
                for mark in marks do
                    match mark.IsSure context with
                    | Ok() -> ()
                    | Error error -> raise (SessionFailure.toException error)

            isValid

[<RequireQualifiedAccess>]
module internal Antiforgery =
    /// An application that has its own keeps it; the framework's, which adds nothing, gives way, whichever came first.
    let bind<'T> (services: IServiceCollection) =
        services.TryAddEnumerable(ServiceDescriptor.Singleton<IAntiforgeryMark, AntiforgeryMark<'T>>())

        let isFrameworks (service: ServiceDescriptor) =
            service.ServiceType = typeof<IAntiforgeryAdditionalDataProvider>
            && not service.IsKeyedService
            && not (isNull service.ImplementationType)
            && (nonNull service.ImplementationType).Assembly = typeof<IAntiforgery>.Assembly

        for service in services |> Seq.filter isFrameworks |> Seq.toArray do
            services.Remove service |> ignore

        services.TryAddSingleton<IAntiforgeryAdditionalDataProvider, SessionAntiforgery>()

    /// Whether the endpoint's tokens are looked at before it runs, and by ours.
    let isAsked (context: HttpContext) (endpoint: Endpoint) =
        let method = context.Request.Method

        (HttpMethods.IsPost method || HttpMethods.IsPut method || HttpMethods.IsPatch method)
        && (match endpoint.Metadata.GetMetadata<IAntiforgeryMetadata>() with
            | null -> false
            | metadata -> metadata.RequiresValidation)
        && (context.RequestServices.GetService<IAntiforgeryAdditionalDataProvider>() :? SessionAntiforgery)
