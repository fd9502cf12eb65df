/// Falco's types and a few of its functions under their own names and namespaces: what clashes with it clashes with this.
namespace Falco

open System.Text.Json
open System.Threading.Tasks
open Microsoft.AspNetCore.Builder
open Microsoft.AspNetCore.Http
open Microsoft.AspNetCore.Routing

[<AutoOpen>]
module Core =
    type HttpResponseModifier = HttpContext -> HttpContext
    type HttpHandler = HttpContext -> Task

    type HttpVerb =
        | GET
        | POST
        | ANY

type HttpEndpoint =
    { Pattern: string
      Handlers: (HttpVerb * HttpHandler) seq
      Configure: EndpointBuilder -> EndpointBuilder }

type RequestData(values: RouteValueDictionary) =
    member _.GetString(name: string) = string values[name]

[<RequireQualifiedAccess>]
module Request =
    let getRoute (context: HttpContext) = RequestData context.Request.RouteValues

[<RequireQualifiedAccess>]
module Response =
    let withStatusCode (status: int) : HttpResponseModifier =
        fun context ->
            context.Response.StatusCode <- status
            context

    let ofPlainText (body: string) : HttpHandler = fun context -> context.Response.WriteAsync body

    let ofJson (value: 'T) : HttpHandler =
        fun context -> context.Response.WriteAsJsonAsync<'T>(value, JsonSerializerOptions JsonSerializerDefaults.Web)

module Routing =
    let private one verb pattern (handler: HttpHandler) : HttpEndpoint =
        { Pattern = pattern; Handlers = [ verb, handler ]; Configure = id }

    let get pattern handler = one GET pattern handler
    let post pattern handler = one POST pattern handler
    let any pattern handler = one ANY pattern handler

[<AutoOpen>]
module Extensions =
    type WebApplication with
        member app.UseFalco(endpoints: HttpEndpoint seq) : WebApplication =
            for endpoint in endpoints do
                for verb, handler in endpoint.Handlers do
                    let verbs =
                        match verb with
                        | GET -> [ "GET" ]
                        | POST -> [ "POST" ]
                        | ANY -> []

                    app.MapMethods(endpoint.Pattern, verbs, RequestDelegate handler) |> ignore

            app
