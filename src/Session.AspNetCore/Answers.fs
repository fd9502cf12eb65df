/// What the session answers in place of an endpoint: as the framework would, and with nothing of what the endpoint has said.
namespace Session.AspNetCore

open System
open System.Diagnostics
open System.Globalization
open System.IO
open System.Text.Json
open System.Threading.Tasks
open Microsoft.AspNetCore.Authentication
open Microsoft.AspNetCore.Authorization
open Microsoft.AspNetCore.Diagnostics
open Microsoft.AspNetCore.Http
open Microsoft.AspNetCore.Http.Features
open Microsoft.AspNetCore.Mvc
open Microsoft.AspNetCore.WebUtilities
open Microsoft.Extensions.DependencyInjection
open Microsoft.Extensions.Options
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

    /// The schemes that are to ask for a sign-in: those of the endpoint, else the one that the application has named for
    /// challenges, else that of the sessions which are missing, else the application's default. None: there is none.
    let private schemes (context: HttpContext) (dataType: Type | null) : Task<string list> =
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

                let chosen =
                    match context.RequestServices.GetService<IOptions<AuthenticationOptions>>() with
                    | null -> None
                    | options -> Option.ofObj options.Value.DefaultChallengeScheme

                let ours =
                    match context.RequestServices.GetService<SessionSchemes>() with
                    | null -> None
                    | schemes -> schemes.Of dataType

                if not named.IsEmpty then
                    return named
                else
                    match Option.orElse ours chosen with
                    | Some scheme -> return [ scheme ]
                    | None ->
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

    let private json (context: HttpContext) (status: int) (detail: string) (reason: string | null) : byte array =
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

         match reason with
         | null -> ()
         | reason -> writer.WriteString(ChallengeReason.Parameter, reason)

         writer.WriteString("traceId", traceId)
         writer.WriteEndObject())

        buffer.ToArray()

    let private problem (context: HttpContext) (status: int) (detail: string) (reason: string | null) : Task =
        task {
            match context.RequestServices.GetService<IProblemDetailsService>() with
            | null ->
                context.Response.ContentType <- "application/problem+json"
                do! context.Response.Body.WriteAsync(ReadOnlyMemory(json context status detail reason))
            | service ->
                let details = ProblemDetails(Status = Nullable status, Detail = detail)

                match reason with
                | null -> ()
                | reason -> details.Extensions[ChallengeReason.Parameter] <- reason

                let said =
                    ProblemDetailsContext(
                        HttpContext = context,
                        ProblemDetails = details,
                        AdditionalMetadata =
                            (match context.GetEndpoint() with
                             | null -> null
                             | endpoint -> endpoint.Metadata)
                    )

                // False: nothing that the client accepts. The status says it, as the framework's own does.
                let! _ = service.TryWriteAsync said
                ()
        }

    let hasUnflushed (context: HttpContext) =
        let writer = (context.Features.GetRequiredFeature<IHttpResponseBodyFeature>()).Writer
        writer.CanGetUnflushedBytes && writer.UnflushedBytes > 0L

    /// What was written and not flushed cannot be taken back: the answer is broken off. Where a token is owed to the client it ends
    /// with these bytes under its status, for an abort might be faster than the headers.
    let breakOff (context: HttpContext) : Task =
        if TokenOwed.IsNoted context then context.Response.CompleteAsync() else Task.FromResult(context.Abort())

    /// A 401 asks for a sign-in where the application has a scheme for that. Where that sends nobody to a page, and for whatever
    /// else there is to say, the body is a page of the application's (status code pages), or a problem (RFC 9457). Headers
    /// that the session has set so far stay: what they say is stored.
    let private answer
        (context: HttpContext)
        (dataType: Type | null)
        (status: int)
        (detail: string)
        (stale: TimeSpan voption)
        : Task =
        task {
            if context.Response.HasStarted then
                context.Abort()
            elif hasUnflushed context then
                forget context
                context.Response.StatusCode <- status
                do! breakOff context
            else
                forget context
                context.Response.StatusCode <- status

                if status = 503 then
                    context.Response.Headers.RetryAfter <- StringValues "1"

                let! asking = if status = 401 then schemes context dataType else Task.FromResult []

                for scheme in asking do
                    let properties = AuthenticationProperties()

                    match stale with
                    | ValueSome maxAge ->
                        properties.SetParameter(ChallengeReason.Parameter, ChallengeReason.StaleSignIn)
                        properties.SetParameter(ChallengeReason.MaxAge, Nullable maxAge)
                    | ValueNone -> ()

                    do! context.ChallengeAsync(scheme, properties)

                let reason: string | null = if stale.IsSome then ChallengeReason.StaleSignIn else null
                let status = context.Response.StatusCode

                match stale with
                | ValueSome maxAge when status = 401 ->
                    let seconds = (int64 maxAge.TotalSeconds).ToString CultureInfo.InvariantCulture

                    context.Response.Headers.Append(
                        "WWW-Authenticate",
                        StringValues(
                            String.Concat("Session error=\"", ChallengeReason.StaleSignIn, "\", max_age=", seconds)
                        )
                    )
                | _ -> ()

                let hasPage =
                    match context.Features.Get<IStatusCodePagesFeature>() with
                    | null -> false
                    | pages -> pages.Enabled

                if status >= 400 && not hasPage && not context.Response.HasStarted then
                    do! problem context status detail reason
        }

    /// In place of an endpoint, or of what is left of it.
    let write (context: HttpContext) (status: int) (detail: string) : Task = answer context null status detail ValueNone

    /// The same, of sessions of this data.
    let writeOf (dataType: Type) (context: HttpContext) (status: int) (detail: string) : Task =
        answer context dataType status detail ValueNone

    /// What a session operation failed with.
    let failed (context: HttpContext) error : Task =
        let struct (status, detail) = SessionFailure.describe error
        write context status detail

    /// Somebody is signed in, and it is too long ago: another sign-in is asked for, and the client is told why.
    let stale (dataType: Type) (context: HttpContext) (maxAge: TimeSpan) : Task =
        answer
            context
            dataType
            401
            "The sign-in of this session is too long ago for this: sign in again."
            (ValueSome maxAge)

    /// In place of an answer whose headers are being written at this moment, when it is too late for a body of ours.
    let withhold (context: HttpContext) (status: int) : unit =
        forget context
        context.Response.StatusCode <- status

        if status = 503 then
            context.Response.Headers.RetryAfter <- StringValues "1"
