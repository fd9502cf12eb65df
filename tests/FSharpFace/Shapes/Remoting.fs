/// Fable.Remoting's words on the server, under their own names and namespaces, for functions of one text or of nothing.
namespace Fable.Remoting.Server

type ProtocolImplementation<'context, 'serverImpl> =
    | Empty
    | StaticValue of 'serverImpl
    | FromContext of ('context -> 'serverImpl)

type RemotingOptions<'context, 'serverImpl> =
    { Implementation: ProtocolImplementation<'context, 'serverImpl>
      RouteBuilder: string -> string -> string }

module Remoting =
    let createApi () = { Implementation = Empty; RouteBuilder = sprintf "/%s/%s" }

    let withRouteBuilder builder options = { options with RouteBuilder = builder }

    let fromContext (f: 'context -> 'serverImpl) (options: RemotingOptions<'context, 'serverImpl>) =
        { options with Implementation = FromContext f }

namespace Fable.Remoting.Giraffe

open System
open System.IO
open System.Text.Json
open System.Threading.Tasks
open Fable.Remoting.Server
open Giraffe
open Microsoft.AspNetCore.Http
open Microsoft.FSharp.Reflection

[<AutoOpen>]
module Adapter =
    let rec private jsonOf (value: obj | null) : string =
        match value with
        | null -> "null"
        | value when FSharpType.IsUnion(value.GetType()) && value.GetType().Name.StartsWith "FSharpResult" ->
            let case, fields = FSharpValue.GetUnionFields(value, value.GetType())
            $"""{{"{case.Name}":{jsonOf fields[0]}}}"""
        | value -> JsonSerializer.Serialize value

    type Started =
        static member Of<'a>(work: Async<'a>) : Task<string> =
            task {
                let! value = Async.StartAsTask work
                return jsonOf value
            }

    let internal call (implementation: obj) (field: Reflection.PropertyInfo) (body: string) : Task<string> =
        let argument, answer = FSharpType.GetFunctionElements field.PropertyType

        let given: obj | null =
            if argument = typeof<unit> then null else (nonNull (JsonSerializer.Deserialize<string array> body))[0]

        let func = nonNull (field.GetValue implementation)
        let work = (nonNull (func.GetType().GetMethod("Invoke", [| argument |]))).Invoke(func, [| given |])

        let started =
            (nonNull (typeof<Started>.GetMethod "Of"))
                .MakeGenericMethod(answer.GetGenericArguments())
                .Invoke(null, [| work |])

        nonNull started :?> Task<string>

module Remoting =
    let buildHttpHandler (options: RemotingOptions<HttpContext, 'serverImpl>) : HttpHandler =
        fun next context ->
            task {
                let route (field: Reflection.PropertyInfo) = options.RouteBuilder typeof<'serverImpl>.Name field.Name

                let asked =
                    FSharpType.GetRecordFields typeof<'serverImpl>
                    |> Array.tryFind (fun field -> string context.Request.Path = route field)

                match options.Implementation, asked with
                | FromContext make, Some field ->
                    use reader = new StreamReader(context.Request.Body)
                    let! body = reader.ReadToEndAsync()
                    let! answer = call (box (make context) |> nonNull) field body
                    context.Response.ContentType <- "application/json; charset=utf-8"
                    do! context.Response.WriteAsync answer
                    return! next context
                | _ -> return None
            }
