/// Giraffe's types and a few of its functions under their own names and namespaces: what clashes with it clashes with this.
namespace Giraffe

open System
open System.Text.Json
open System.Text.RegularExpressions
open System.Threading.Tasks
open Microsoft.AspNetCore.Builder
open Microsoft.AspNetCore.Http
open Microsoft.Extensions.Logging

[<AutoOpen>]
module HttpContextExtensions =
    type HttpContext with
        member context.TryGetQueryStringValue(key: string) : string option =
            match context.Request.Query.TryGetValue key with
            | true, value -> Some(string value)
            | _ -> None

[<AutoOpen>]
module Core =
    type HttpFuncResult = Task<HttpContext option>
    type HttpFunc = HttpContext -> HttpFuncResult
    type HttpHandler = HttpFunc -> HttpFunc
    type ErrorHandler = exn -> ILogger -> HttpHandler

    let skipPipeline: HttpFuncResult = Task.FromResult None
    let earlyReturn: HttpFunc = Some >> Task.FromResult

    let compose (first: HttpHandler) (second: HttpHandler) : HttpHandler =
        fun final ->
            let both = final |> second |> first
            fun context -> if context.Response.HasStarted then final context else both context

    let (>=>) = compose

    let rec private chooseFunc (funcs: HttpFunc list) : HttpFunc =
        fun context ->
            task {
                match funcs with
                | [] -> return None
                | first :: rest ->
                    match! first context with
                    | Some context -> return Some context
                    | None -> return! chooseFunc rest context
            }

    let choose (handlers: HttpHandler list) : HttpHandler =
        fun next -> chooseFunc (handlers |> List.map (fun handler -> handler next))

    let private on predicate : HttpHandler =
        fun next context -> if predicate context then next context else skipPipeline

    let GET: HttpHandler = on (fun context -> HttpMethods.IsGet context.Request.Method)
    let POST: HttpHandler = on (fun context -> HttpMethods.IsPost context.Request.Method)

    let setStatusCode (status: int) : HttpHandler =
        fun next context ->
            context.Response.StatusCode <- status
            next context

[<AutoOpen>]
module Routing =
    let private before (context: HttpContext) =
        match context.Items.TryGetValue "giraffe_route" with
        | true, (:? string as part) -> part
        | _ -> ""

    let private rest (context: HttpContext) = (string context.Request.Path).Substring (before context).Length

    /// What is inside is asked about what is left of the path, as in Giraffe.
    let subRoute (path: string) (handler: HttpHandler) : HttpHandler =
        fun next context ->
            if not ((rest context).StartsWith(path, StringComparison.Ordinal)) then
                skipPipeline
            else
                task {
                    let above = before context
                    context.Items["giraffe_route"] <- above + path
                    let! result = handler next context

                    if result.IsNone then
                        context.Items["giraffe_route"] <- above

                    return result
                }

    let route (path: string) : HttpHandler =
        fun next context -> if rest context = path then next context else skipPipeline

    let routef (path: PrintfFormat<_, _, _, _, 'T>) (handler: 'T -> HttpHandler) : HttpHandler =
        let pattern = Regex("^" + path.Value.Replace("%s", "([^/]+)") + "$")

        fun next context ->
            let found = pattern.Match(rest context)
            if found.Success then handler (unbox<'T>(box found.Groups[1].Value)) next context else skipPipeline

[<AutoOpen>]
module ResponseWriters =
    let text (body: string) : HttpHandler =
        fun _ context ->
            task {
                do! context.Response.WriteAsync body
                return Some context
            }

    let json (value: 'T) : HttpHandler =
        fun _ context ->
            task {
                do! context.Response.WriteAsJsonAsync<'T>(value, JsonSerializerOptions JsonSerializerDefaults.Web)
                return Some context
            }

[<RequireQualifiedAccess>]
module Csrf =
    let validateCsrfToken: HttpHandler = fun next context -> next context

[<RequireQualifiedAccess>]
module RequestErrors =
    let notFound (handler: HttpHandler) : HttpHandler = setStatusCode 404 >=> handler

[<AutoOpen>]
module Middleware =
    type IApplicationBuilder with
        member app.UseGiraffe(handler: HttpHandler) : unit =
            let func = handler earlyReturn

            app.Run(fun context ->
                task {
                    match! func context with
                    | Some _ -> ()
                    | None -> context.Response.StatusCode <- 404
                }
                :> Task)

namespace Giraffe.EndpointRouting

open Giraffe

[<AutoOpen>]
module Routers =
    type HttpVerb =
        | GET
        | POST
        | NotSpecified

    type Endpoint =
        | SimpleEndpoint of HttpVerb * string * HttpHandler
        | NestedEndpoint of string * Endpoint list
        | MultiEndpoint of Endpoint list
