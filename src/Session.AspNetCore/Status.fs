/// What a page asks to count down to the end of its session. Asking extends nothing.
namespace Session.AspNetCore

open System
open System.Text
open System.Threading.Tasks
open Microsoft.AspNetCore.Builder
open Microsoft.AspNetCore.Http
open Microsoft.AspNetCore.Routing

[<RequireQualifiedAccess>]
module SessionStatus =
    let private answer<'T> (context: HttpContext) : Task =
        task {
            let request = RequestSession.find<'T> context

            let! loaded = request.Load context.RequestAborted

            // A page that is told of nobody signs its user out.
            match loaded |> Result.bind (fun () -> Nobody.isSure request) with
            | Error error -> raise (SessionFailure.toException error)
            | Ok() ->
                let left =
                    match request.ExpiresAt with
                    | Some at -> int64 (at - request.Service.Clock.GetUtcNow()).TotalSeconds
                    | None -> 0L

                let isSignedIn =
                    match request.Live with
                    | Some live -> live.Subject.IsSome
                    | None -> false

                Sharing.noStore context
                Sharing.keepOut context
                context.Response.ContentType <- "application/json"

                let text =
                    String.Concat(
                        "{\"signedIn\":",
                        (if isSignedIn then "true" else "false"),
                        ",\"expiresIn\":" + string (max 0L left),
                        "}"
                    )

                do!
                    context.Response.Body.WriteAsync(
                        ReadOnlyMemory(Encoding.UTF8.GetBytes text),
                        context.RequestAborted
                    )
        }

    /// A GET that answers `{"signedIn":true,"expiresIn":412}`: whether somebody has signed in to this request's session, and
    /// in how many whole seconds it ends if nothing more happens; 0 without a session. Always 200 while the store answers,
    /// else 503, with ContinueWithoutStore as well; never cached. It moves no deadline and issues no token.
    [<RequiresExplicitTypeArguments>]
    let map<'T> (pattern: string) (endpoints: IEndpointRouteBuilder) : IEndpointConventionBuilder =
        endpoints.MapGet(pattern, RequestDelegate answer<'T>).WithMetadata(SessionNotTouched())
