/// Endpoints that are asked again and again by a page that nobody looks at: they keep no session alive.
namespace Session.AspNetCore

open Microsoft.AspNetCore.Http

/// On an endpoint whose requests do not count as activity: they open the session and move none of its deadlines.
type INoTouchMetadata = interface end

/// Says so; for `WithMetadata`.
[<Sealed>]
type SessionNotTouched() =
    interface INoTouchMetadata

[<RequireQualifiedAccess>]
module internal NoTouch =
    let private isSaidBy (endpoint: Endpoint | null) =
        match endpoint with
        | null -> false
        | endpoint -> not (isNull (endpoint.Metadata.GetMetadata<INoTouchMetadata>()))

    /// An error page that is served in place of such an endpoint is nobody's activity either.
    let isOn (received: Received) (context: HttpContext) = isSaidBy received.First || isSaidBy (context.GetEndpoint())
