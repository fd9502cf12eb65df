/// Whose a response is: what a session was looked at for is nobody else's, and caches are told so.
namespace Session.AspNetCore

open System
open Microsoft.AspNetCore.Http
open Microsoft.AspNetCore.OutputCaching
open Microsoft.AspNetCore.StaticAssets
open Microsoft.Extensions.Primitives

/// On an endpoint whose answers are the same for everybody, whatever session they looked at: caches may keep them. It is
/// the application's word, and there is no other way to give it.
type IAllowSharedCachingMetadata = interface end

/// Allows it; for `WithMetadata`.
[<Sealed>]
type SharedCaching() =
    interface IAllowSharedCachingMetadata

/// On an endpoint that uses a session, for whoever wants to know before it runs.
type IUsesSessionMetadata =
    abstract DataType: Type

/// In the features of a request: its answer is somebody's, though no session of the request's own was opened for it.
[<Sealed; AllowNullLiteral>]
type private Claimed private () =
    static member val Mark = Claimed()

[<RequireQualifiedAccess>]
module internal Sharing =
    let isAllowed (context: HttpContext) =
        match context.GetEndpoint() with
        | null -> false
        | endpoint -> not (isNull (endpoint.Metadata.GetMetadata<IAllowSharedCachingMetadata>()))

    /// The framework's output cache neither stores this response nor answers from what it has. Where the cache's middleware
    /// comes later than this, it asks again (`SessionOutputCaching`).
    let keepOut (context: HttpContext) =
        match context.Features[typeof<IOutputCacheFeature>] with
        | :? IOutputCacheFeature as feature ->
            feature.Context.AllowCacheLookup <- false
            feature.Context.AllowCacheStorage <- false
        | _ -> ()

    let private names (header: string | null) (name: string) =
        match header with
        | null -> false
        | header ->
            header.Split(',', StringSplitOptions.TrimEntries)
            |> Array.exists (fun part -> part = "*" || part.Equals(name, StringComparison.OrdinalIgnoreCase))

    let private has (headers: StringValues) (name: string) =
        // What this library has said itself, as it does more than once an answer.
        if headers.Count = 1 && String.Equals(headers[0], name, StringComparison.Ordinal) then
            true
        else
            let mutable isSaid = false

            for i in 0 .. headers.Count - 1 do
                isSaid <- isSaid || names headers[i] name

            isSaid

    let vary (context: HttpContext) (name: string) =
        let headers = context.Response.Headers

        if not (has headers.Vary name) then
            headers.Vary <- StringValues.Concat(headers.Vary, name)

    // An object of its own: it is told from the same word of the application's.
    let private ours = String("private".AsSpan())

    /// Where the application has said nothing.
    let makePrivate (context: HttpContext) =
        let headers = context.Response.Headers

        if StringValues.IsNullOrEmpty headers.CacheControl then
            headers.CacheControl <- StringValues ours

    // The files of MapStaticAssets are the same for everybody, whoever asks for them.
    let private isAsset (context: HttpContext) =
        match context.GetEndpoint() with
        | null -> false
        | endpoint -> not (isNull (endpoint.Metadata.GetMetadata<StaticAssetDescriptor>()))

    // Those of UseStaticFiles have no endpoint, and look like an invoice that a middleware sends to its user: only the
    // application knows, and says so by a word that shares them. Without one alice's would be bob's in a cache between.
    let private isSharedFile (context: HttpContext) =
        let headers = context.Response.Headers
        let control = headers.CacheControl

        isNull (context.GetEndpoint())
        && not (StringValues.IsNullOrEmpty headers.ETag)
        && not (StringValues.IsNullOrEmpty headers.LastModified)
        && not (StringValues.IsNullOrEmpty headers.AcceptRanges)
        && (has control "public" || has control "immutable")
        && not (has control "private" || has control "no-store")

    /// What was opened for this request by another way than `Session<T>`, such as a ticket of cookie authentication, makes its
    /// answer somebody's, too.
    let claim (context: HttpContext) =
        if not (isAllowed context) && not (isAsset context) then
            context.Features[typeof<Claimed>] <- Claimed.Mark
            keepOut context

            if not context.Response.HasStarted then
                vary context "Cookie"
                makePrivate context

    /// When the headers are written, in case somebody has set theirs meanwhile.
    let claimAgain (context: HttpContext) =
        if isSharedFile context then
            let headers = context.Response.Headers

            if headers.Vary.Count = 1 && headers.Vary[0] = "Cookie" then
                headers.Vary <- StringValues.Empty
        else
            claim context

    let isClaimed (context: HttpContext) = not (isNull context.Features[typeof<Claimed>]) && not (isAllowed context)

    /// RFC 9111 7.3: Set-Cookie does not keep a response out of caches. A stricter header of the application stays.
    let noStore (context: HttpContext) =
        let headers = context.Response.Headers
        let said = string headers.CacheControl
        let current = if obj.ReferenceEquals(said, ours) then "" else said

        if not (current.Contains("no-store", StringComparison.OrdinalIgnoreCase)) then
            let kept =
                current.Split(',', StringSplitOptions.RemoveEmptyEntries ||| StringSplitOptions.TrimEntries)
                |> Array.filter (fun directive ->
                    Array.contains
                        (directive.ToLowerInvariant())
                        [| "private"; "no-cache"; "must-revalidate"; "no-transform" |])

            headers.CacheControl <- StringValues(String.Join(", ", Array.append [| "no-store" |] kept))
