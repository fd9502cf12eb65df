/// What documents of the API (OpenAPI) say of endpoints that are guarded by an attribute, whose metadata the library does not
/// write: 401 without a session, 503 while the store is down.
namespace Session.AspNetCore

open Microsoft.AspNetCore.Mvc
open Microsoft.AspNetCore.Mvc.ApiExplorer

[<Sealed>]
type internal SessionApiDescriptions() =
    let isGuarded (described: ApiDescription) =
        let metadata = described.ActionDescriptor.EndpointMetadata
        not (isNull (box metadata)) && metadata |> Seq.exists (fun it -> it :? IRequireSessionMetadata)

    let add (described: ApiDescription) (status: int) =
        let known = described.SupportedResponseTypes

        if known |> Seq.forall (fun it -> it.StatusCode <> status) then
            let response = ApiResponseType(StatusCode = status, Type = typeof<ProblemDetails>)
            response.ApiResponseFormats.Add(ApiResponseFormat(MediaType = "application/problem+json"))
            known.Add response

    interface IApiDescriptionProvider with
        // After the framework's own.
        member _.Order = 0

        member _.OnProvidersExecuting context =
            for described in context.Results do
                if isGuarded described then
                    add described 401
                    add described 503

        member _.OnProvidersExecuted _ = ()
