/// What the session answers in place of an endpoint: as the framework would, and with nothing of what the endpoint has said.
namespace Session.AspNetCore

open System
open System.Diagnostics
open System.IO
open System.Text.Json
open System.Threading.Tasks
open Microsoft.AspNetCore.Authentication
open Microsoft.AspNetCore.Authorization
open Microsoft.AspNetCore.Diagnostics
open Microsoft.AspNetCore.Http
open Microsoft.AspNetCore.Mvc
open Microsoft.AspNetCore.WebUtilities
open Microsoft.Extensions.DependencyInjection
open Microsoft.Extensions.Primitives

[<RequireQualifiedAccess>]
module internal Answers =
    /// Headers that are about an answer which is not sent. What is about the request or the client stays: cookies, CORS,
    /// Vary, the application's security headers.
    let private ofTheAnswer =
        [| "Accept-Ranges"
           "Age"
           "Cache-Control"
           "CDN-Cache-Control"
           "Content-Digest"
           "Content-Disposition"
           "Content-Encoding"
           "Content-Language"
           "Content-Length"
           "Content-Location"
           "Content-MD5"
           "Content-Range"
           "Content-Type"
           "Digest"
           "ETag"
           "Expires"
           "Last-Modified"
           "Location"
           "Pragma"
           "Refresh"
           "Repr-Digest"
           "Retry-After"
           "Surrogate-Control"
           "Surrogate-Key" |]

    let private forget (context: HttpContext) =
        let response = context.Response

        for name in ofTheAnswer do
            response.Headers.Remove name |> ignore

        // Of a middleware that keeps the body back.
        if response.Body.CanSeek then
            response.Body.SetLength 0L

        response.Headers.CacheControl <- StringValues "no-store"
        Sharing.keepOut context

    /// The schemes that are to ask for a sign-in: those of the endpoint, else the application's default. None: there is none.
    let private schemes (context: HttpContext) : Task<string list> =
        task {
            match context.RequestServices.GetService<IAuthenticationSchemeProvider>() with
            | null -> return []
            | provider ->
                let named =
                    match context.GetEndpoint() with
                    | null -> []
                    | endpoint ->
                        [ for data in endpoint.Metadata.GetOrderedMetadata<IAuthorizeData>() do
                              match data.AuthenticationSchemes with
                              | null -> ()
                              | schemes ->
                                  yield!
                                      schemes.Split(
                                          ',',
                                          StringSplitOptions.TrimEntries ||| StringSplitOptions.RemoveEmptyEntries
                                      ) ]
                        |> List.distinct

                if not named.IsEmpty then
                    return named
                else
                    match! provider.GetDefaultChallengeSchemeAsync() with
                    | null -> return []
                    | scheme -> return [ scheme.Name ]
        }

    let private kindOf status =
        match status with
        | 400 -> "15.5.1"
        | 401 -> "15.5.2"
        | 403 -> "15.5.4"
        | 409 -> "15.5.10"
        | 413 -> "15.5.14"
        | 503 -> "15.6.4"
        | _ -> "15.6.1"

    let private json (context: HttpContext) (status: int) (detail: string) : byte array =
        use buffer = new MemoryStream()

        let traceId =
            match Activity.Current with
            | null -> context.TraceIdentifier
            | activity -> activity.Id |> Option.ofObj |> Option.defaultValue context.TraceIdentifier

        (use writer = new Utf8JsonWriter(buffer)
         writer.WriteStartObject()
         writer.WriteString("type", String.Concat("https://tools.ietf.org/html/rfc9110#section-", kindOf status))
         writer.WriteString("title", ReasonPhrases.GetReasonPhrase status)
         writer.WriteNumber("status", status)
         writer.WriteString("detail", detail)
         writer.WriteString("traceId", traceId)
         writer.WriteEndObject())

        buffer.ToArray()

    let private problem (context: HttpContext) (status: int) (detail: string) : Task =
        task {
            match context.RequestServices.GetService<IProblemDetailsService>() with
            | null ->
                context.Response.ContentType <- "application/problem+json"
                do! context.Response.Body.WriteAsync(ReadOnlyMemory(json context status detail))
            | service ->
                let said =
                    ProblemDetailsContext(
                        HttpContext = context,
                        ProblemDetails = ProblemDetails(Status = Nullable status, Detail = detail),
                        AdditionalMetadata =
                            (match context.GetEndpoint() with
                             | null -> null
                             | endpoint -> endpoint.Metadata)
                    )

                // False: nothing that the client accepts. The status says it, as the framework's own does.
                let! _ = service.TryWriteAsync said
                ()
        }

    /// A 401 asks for a sign-in where the application has a scheme for that; whatever else there is to say is a page of the
    /// application's (status code pages), or a problem (RFC 9457). Headers that the session has set so far stay: what they
    /// say is stored.
    let write (context: HttpContext) (status: int) (detail: string) : Task =
        task {
            if context.Response.HasStarted then
                context.Abort()
            else
                forget context
                context.Response.StatusCode <- status

                if status = 503 then
                    context.Response.Headers.RetryAfter <- StringValues "1"

                let! asking = if status = 401 then schemes context else Task.FromResult []

                for scheme in asking do
                    do! context.ChallengeAsync scheme

                let hasPage =
                    match context.Features.Get<IStatusCodePagesFeature>() with
                    | null -> false
                    | pages -> pages.Enabled

                if asking.IsEmpty && not hasPage then
                    do! problem context status detail
        }
