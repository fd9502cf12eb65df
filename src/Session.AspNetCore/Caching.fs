/// The framework's output cache and sessions: who brings a token gets no answer that was stored for those who bring none,
/// and the answer to a request that opened a session is stored for nobody.
namespace Session.AspNetCore

open System
open System.Threading.Tasks
open Microsoft.AspNetCore.Http
open Microsoft.AspNetCore.OutputCaching
open Microsoft.Extensions.Options

[<Sealed>]
type internal SessionOutputCaching<'T>(service: SessionService<'T>) =
    let key = String.Concat("session ", service.Transport.CookieName)
    let ticketKey = "session of a ticket"

    let usesSession (context: HttpContext) =
        match context.GetEndpoint() with
        | null -> false
        | endpoint ->
            not (isNull (endpoint.Metadata.GetMetadata<IRequireSessionMetadata>()))
            || not (isNull (endpoint.Metadata.GetMetadata<IUsesSessionMetadata>()))

    /// What another session middleware began, and goes on here, comes under a name of its own.
    let bringsAny (context: HttpContext) =
        service.Transport.HasAny context
        || (match service.Former with
            | null -> false
            | former ->
                match former.Find context with
                | null -> false
                | _ -> true)

    let isKeptOut (context: HttpContext) =
        match context.Features[typeof<RequestSession<'T>>] with
        | :? RequestSession<'T> as request when request.IsKeptOut -> true
        | _ -> Sharing.isClaimed context

    /// The cache lets go of the response for good, and a policy that comes after this one cannot allow it again: it takes note of
    /// the response at the first write, while its storage is forbidden, and it keeps none of which a write has failed. This
    /// one can only fail: nothing is written, and whoever is around the cache finds the response as it was.
    let letGo (response: HttpResponse) =
        try
            response.Body.Write([||], 1, 0)
        with _ ->
            ()

    interface IOutputCachePolicy with
        // Policies of endpoints come later, and allow what this one would forbid; the key they leave alone.
        member _.CacheRequestAsync(context, _) =
            let http = context.HttpContext

            if not (Sharing.isAllowed http) && bringsAny http then
                context.CacheVaryByRules.VaryByValues[key] <-
                    // An endpoint that is known to use the session: no answer is stored, so nobody need wait for another's.
                    if usesSession http then http.TraceIdentifier else "there is one"

            // Whoever is known by a ticket: nobody else's answer does for them.
            if Sharing.isClaimed http then
                context.CacheVaryByRules.VaryByValues[ticketKey] <- http.TraceIdentifier

            ValueTask()

        member _.ServeFromCacheAsync(_, _) = ValueTask()

        member _.ServeResponseAsync(context, _) =
            if isKeptOut context.HttpContext then
                context.AllowCacheStorage <- false
                letGo context.HttpContext.Response

            ValueTask()

    interface IPostConfigureOptions<OutputCacheOptions> with
        member caching.PostConfigure(_, options) = options.AddBasePolicy(caching :> IOutputCachePolicy)
