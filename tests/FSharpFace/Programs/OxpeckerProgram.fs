module FSharpFace.Programs.OxpeckerProgram

open Oxpecker
open Session.AspNetCore

let answer handler result : EndpointHandler =
    match result with
    | Ok value -> handler value
    | Error error -> SessionEndpoint.failed error

let addToCart sku : EndpointHandler =
    fun ctx ->
        task {
            let! cart = Session.update (add sku) ctx
            return! answer json cart ctx
        }

let signIn name : EndpointHandler =
    fun ctx ->
        task {
            let! cart = Session.tryGet<Cart> ctx
            let! signedIn = Session.signIn name (defaultArg cart { Items = [] }) ctx
            return! answer json signedIn ctx
        }

let signOut: EndpointHandler =
    fun ctx ->
        task {
            let! ended = Session.destroy<Cart> ctx
            return! answer (fun () -> text "Bye.") ended ctx
        }

let endpoints =
    [ POST
          [ routef "/cart/{%s}" addToCart
            routef "/sign-in/{%s}" signIn
            route "/sign-out" signOut ]
      GET
          [ route "/cart" (SessionEndpoint.withSessionOr<Cart> (json { Items = [] }) json)
            route "/me" (SessionEndpoint.requireSignIn<Cart> >=> SessionEndpoint.withSubject<Cart> text) ] ]
