/// Oxpecker's types and a few of its functions under their own names and namespaces: what clashes with it clashes with this.
namespace Oxpecker

open System.Threading.Tasks
open Microsoft.AspNetCore.Builder
open Microsoft.AspNetCore.Http
open Microsoft.AspNetCore.Routing

[<AutoOpen>]
module CoreTypes =
    type EndpointHandler = HttpContext -> Task
    type EndpointMiddleware = EndpointHandler -> EndpointHandler

module CoreInternal =
    let inline compose_opImpl (_: ^Op) left right =
        ((^Op or ^left): (static member Compose: ^left * ^right -> ^right) (left, right))

    type Composition =
        static member Compose(first: EndpointHandler, second: EndpointHandler) : EndpointHandler =
            fun context ->
                task {
                    do! first context

                    if not context.Response.HasStarted then
                        do! second context
                }

        static member Compose(middleware: EndpointMiddleware, handler: EndpointHandler) : EndpointHandler =
            fun context -> middleware handler context

        static member Compose(first: EndpointMiddleware, second: EndpointMiddleware) : EndpointMiddleware =
            fun next -> next |> second |> first

[<AutoOpen>]
module Core =
    open CoreInternal
    let inline (>=>) left right = compose_opImpl Unchecked.defaultof<Composition> left right
    let inline (~%) (result: IResult) : EndpointHandler = result.ExecuteAsync

[<AutoOpen>]
module ResponseHandlers =
    let text (body: string) : EndpointHandler = fun context -> context.Response.WriteAsync body
    let json (value: 'T) : EndpointHandler = fun context -> context.Response.WriteAsJsonAsync<'T> value

    let setStatusCode (status: int) : EndpointHandler =
        fun context ->
            context.Response.StatusCode <- status
            Task.CompletedTask

[<AutoOpen>]
module RoutingTypes =
    type HttpVerb =
        | GET
        | POST

        override verb.ToString() =
            match verb with
            | GET -> "GET"
            | POST -> "POST"

    type HttpVerbs =
        | Verbs of HttpVerb seq
        | Any

    type ConfigureEndpoint = IEndpointConventionBuilder -> IEndpointConventionBuilder

    type Endpoint =
        | SimpleEndpoint of HttpVerbs * string * EndpointHandler * ConfigureEndpoint
        | NestedEndpoint of string * Endpoint seq * ConfigureEndpoint
        | MultiEndpoint of Endpoint seq * ConfigureEndpoint

[<AutoOpen>]
module Routers =
    let rec private under verbs endpoint =
        match endpoint with
        | SimpleEndpoint(_, path, handler, configure) -> SimpleEndpoint(verbs, path, handler, configure)
        | NestedEndpoint(path, endpoints, configure) -> NestedEndpoint(path, Seq.map (under verbs) endpoints, configure)
        | MultiEndpoint(endpoints, configure) -> MultiEndpoint(Seq.map (under verbs) endpoints, configure)

    let private verb (it: HttpVerb) (endpoints: Endpoint seq) =
        MultiEndpoint(endpoints |> Seq.map (under (Verbs [ it ])), id)

    let GET: Endpoint seq -> Endpoint = verb HttpVerb.GET
    let POST: Endpoint seq -> Endpoint = verb HttpVerb.POST
    let route (path: string) (handler: EndpointHandler) = SimpleEndpoint(Any, path, handler, id)

    /// Of one text only.
    let routef (path: PrintfFormat<'T, unit, unit, EndpointHandler>) (handler: 'T) =
        let invoke (context: HttpContext) : Task =
            match box handler with
            | :? (string -> EndpointHandler) as handler -> handler (string context.Request.RouteValues["it"]) context
            | _ -> Task.FromException(System.NotSupportedException "Another shape of route.")

        SimpleEndpoint(Any, path.Value.Replace("{%s}", "{it}"), invoke, id)

[<AutoOpen>]
module Middleware =
    type IEndpointRouteBuilder with
        member builder.MapOxpeckerEndpoints(endpoints: Endpoint seq) : unit =
            for endpoint in endpoints do
                match endpoint with
                | SimpleEndpoint(verbs, path, handler, configure) ->
                    let verbs =
                        match verbs with
                        | Verbs verbs -> Seq.map string verbs
                        | Any -> []

                    builder.MapMethods(path, verbs, RequestDelegate handler) |> configure |> ignore
                | NestedEndpoint(_, endpoints, _)
                | MultiEndpoint(endpoints, _) -> builder.MapOxpeckerEndpoints endpoints

    type IApplicationBuilder with
        member app.UseOxpecker(endpoints: Endpoint seq) : IApplicationBuilder =
            app.UseEndpoints(fun builder -> builder.MapOxpeckerEndpoints endpoints)
