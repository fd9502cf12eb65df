/// The framework's output cache and sessions: who brings a token gets no answer that was stored for those who bring none,
/// and the answer to a request that opened a session is stored for nobody.
namespace Session.AspNetCore

open System
open System.Threading.Tasks
open Microsoft.AspNetCore.Diagnostics
open Microsoft.AspNetCore.Http
open Microsoft.AspNetCore.OutputCaching
open Microsoft.Extensions.Options

[<Sealed>]
type internal SessionOutputCaching<'T>(service: SessionService<'T>) =
    let key = String.Concat("session ", service.Transport.CookieName)

    let usesSession (context: HttpContext) =
        match context.GetEndpoint() with
        | null -> false
        | endpoint ->
            not (isNull (endpoint.Metadata.GetMetadata<IRequireSessionMetadata>()))
            || not (isNull (endpoint.Metadata.GetMetadata<IUsesSessionMetadata>()))

    let isKeptOut (context: HttpContext) =
        match context.Features[typeof<RequestSession<'T>>] with
        | :? RequestSession<'T> as request -> request.IsKeptOut
        | _ -> false

    /// Begins the response, while its storage is forbidden: the cache lets go of it then for good, and a policy that comes
    /// after this one cannot allow it again. Not where an error still gets a page.
    let letGo (response: HttpResponse) : Task =
        let awaitsPage =
            response.StatusCode >= 400
            && not (isNull (response.HttpContext.Features.Get<IStatusCodePagesFeature>()))

        if response.HasStarted || awaitsPage then
            Task.CompletedTask
        else
            let hasBody = response.StatusCode <> 204 && response.StatusCode <> 304

            if hasBody && not (HttpMethods.IsHead response.HttpContext.Request.Method) then
                response.ContentLength <- response.ContentLength.GetValueOrDefault 0L |> Nullable

            response.Body.FlushAsync()

    interface IOutputCachePolicy with
        // Policies of endpoints come later, and allow what this one would forbid; the key they leave alone.
        member _.CacheRequestAsync(context, _) =
            let http = context.HttpContext

            if service.Transport.HasAny http && not (Sharing.isAllowed http) then
                context.CacheVaryByRules.VaryByValues[key] <-
                    // An endpoint that is known to use the session: no answer is stored, so nobody need wait for another's.
                    if usesSession http then http.TraceIdentifier else "there is one"

            ValueTask()

        member _.ServeFromCacheAsync(_, _) = ValueTask()

        member _.ServeResponseAsync(context, _) =
            if isKeptOut context.HttpContext then
                context.AllowCacheStorage <- false
                ValueTask(letGo context.HttpContext.Response)
            else
                ValueTask()

    interface IPostConfigureOptions<OutputCacheOptions> with
        member caching.PostConfigure(_, options) = options.AddBasePolicy(caching :> IOutputCachePolicy)
