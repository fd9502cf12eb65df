module FSharpFace.Programs.RemotingProgram

open Fable.Remoting.Giraffe
open Fable.Remoting.Server
open Giraffe
open Microsoft.AspNetCore.Http
open Session.AspNetCore

type CartApi =
    { items: unit -> Async<string list>
      add: string -> Async<Result<string list, string>>
      signIn: string -> Async<Result<string, string>>
      signOut: unit -> Async<Result<unit, string>>
      me: unit -> Async<Result<string, string>> }

let private said result = result |> Result.mapError (fun (error: SessionError) -> error.Sentence)

let cartApi (ctx: HttpContext) : CartApi =
    { items =
        fun () ->
            async {
                let! cart = Session.tryGet<Cart> ctx |> Async.AwaitTask
                return cart |> Option.map _.Items |> Option.defaultValue []
            }
      add =
        fun sku ->
            async {
                let! cart = Session.update (add sku) ctx |> Async.AwaitTask
                return cart |> Result.map _.Items |> said
            }
      signIn =
        fun name ->
            async {
                let! cart = Session.tryGet<Cart> ctx |> Async.AwaitTask
                let! signedIn = Session.signIn name (defaultArg cart { Items = [] }) ctx |> Async.AwaitTask
                return signedIn |> Result.map (fun _ -> name) |> said
            }
      signOut =
        fun () ->
            async {
                let! ended = Session.destroy<Cart> ctx |> Async.AwaitTask
                return said ended
            }
      me =
        fun () ->
            async {
                match! Session.subject<Cart> ctx |> Async.AwaitTask with
                | Some name -> return Ok name
                | None -> return Error "Sign in first."
            } }

let webApp: HttpHandler =
    Remoting.createApi ()
    |> Remoting.withRouteBuilder (sprintf "/api/%s/%s")
    |> Remoting.fromContext cartApi
    |> Remoting.buildHttpHandler
