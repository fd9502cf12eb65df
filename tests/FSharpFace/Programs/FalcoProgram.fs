module FSharpFace.Programs.FalcoProgram

open Falco
open Falco.Routing
open Session.AspNetCore

let answer handler result : HttpHandler =
    match result with
    | Ok value -> handler value
    | Error error -> SessionEndpoint.failed error

let addToCart: HttpHandler =
    fun ctx ->
        task {
            let! cart = Session.update (add ((Request.getRoute ctx).GetString "sku")) ctx
            return! answer Response.ofJson cart ctx
        }

let signIn: HttpHandler =
    fun ctx ->
        task {
            let! cart = Session.tryGet<Cart> ctx
            let name = (Request.getRoute ctx).GetString "name"
            let! signedIn = Session.signIn name (defaultArg cart { Items = [] }) ctx
            return! answer Response.ofJson signedIn ctx
        }

let signOut: HttpHandler =
    fun ctx ->
        task {
            let! ended = Session.destroy<Cart> ctx
            return! answer (fun () -> Response.ofPlainText "Bye.") ended ctx
        }

let endpoints =
    [ post "/cart/{sku}" addToCart
      post "/sign-in/{name}" signIn
      post "/sign-out" signOut
      get "/cart" (SessionEndpoint.withSessionOr<Cart> (Response.ofJson { Items = [] }) Response.ofJson)
      get "/me" (SessionEndpoint.withSubject<Cart> Response.ofPlainText) ]
