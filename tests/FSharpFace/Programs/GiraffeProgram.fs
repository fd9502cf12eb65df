module FSharpFace.Programs.GiraffeProgram

open Giraffe
open Session.AspNetCore

let answer handler result : HttpHandler =
    match result with
    | Ok value -> handler value
    | Error error -> SessionHandler.failed error

let addToCart sku : HttpHandler =
    fun next ctx ->
        task {
            let! cart = Session.update (add sku) ctx
            return! answer json cart next ctx
        }

let signIn name : HttpHandler =
    fun next ctx ->
        task {
            let! cart = Session.tryGet<Cart> ctx
            let! signedIn = Session.signIn name (defaultArg cart { Items = [] }) ctx
            return! answer json signedIn next ctx
        }

let signOut: HttpHandler =
    fun next ctx ->
        task {
            let! ended = Session.destroy<Cart> ctx
            return! answer (fun () -> text "Bye.") ended next ctx
        }

let nobody: HttpHandler = setStatusCode 401 >=> text "Sign in first."

let webApp: HttpHandler =
    choose
        [ POST >=> routef "/cart/%s" addToCart
          POST >=> routef "/sign-in/%s" signIn
          POST >=> route "/sign-out" >=> signOut
          GET >=> route "/cart" >=> SessionHandler.withSession<Cart> json
          GET
          >=> route "/me"
          >=> SessionHandler.requireSignIn<Cart> nobody
          >=> SessionHandler.withSubject<Cart> text ]
