/// What the dashboard shows besides, and who may see it.
namespace Session.AspNetCore

open System
open Microsoft.AspNetCore.Authorization
open Microsoft.AspNetCore.Http

/// What the dashboard shows besides.
[<RequireQualifiedAccess>]
type DashboardSettings<'T> =
    {
        /// The heading. Default: Sessions.
        Title: string
        /// The text of a session's data, for the page of that session. Default: None, and no data is shown. It is encoded.
        ShowData: ('T -> string) option
        /// Whether live sessions are counted, once a minute, also in a store that looks at each of them for that: for small ones.
        /// Default: false, and only stores that count cheaply (Redis, memory) are asked.
        AlwaysCount: bool
    }

/// On the endpoints of a dashboard.
[<Sealed>]
type internal DashboardEndpoint(dataType: Type, pattern: string) =
    /// Somebody is chosen who may see it: that anybody is signed in is not enough.
    static member IsGuarded(endpoint: Endpoint) =
        let chooses (data: IAuthorizeData) = not (String.IsNullOrEmpty data.Policy && String.IsNullOrEmpty data.Roles)

        isNull (endpoint.Metadata.GetMetadata<IAllowAnonymous>())
        && (not (isNull (endpoint.Metadata.GetMetadata<AuthorizationPolicy>()))
            || endpoint.Metadata.GetOrderedMetadata<IAuthorizeData>() |> Seq.exists chooses)

    member _.Refusal =
        String.Concat(
            [| "The dashboard of the sessions of "
               dataType.Name
               " at '"
               pattern
               "' says nobody who may see it: add .RequireAuthorization(\"Operators\") to MapSessionDashboard, with a policy or roles of your own. That somebody is signed in is not enough. (In Development it opens without.)" |]
        )

    member endpoint.Verify(mapped: Endpoint) =
        if not (DashboardEndpoint.IsGuarded mapped) then
            invalidOp endpoint.Refusal
