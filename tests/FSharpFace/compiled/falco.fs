type Cart = { Items: string list }
let show (cart: Cart) : HttpHandler = Response.ofJson cart
let missing: HttpHandler = Response.withStatusCode 401 >> Response.ofPlainText "no"
let guarded: HttpHandler = SessionEndpoint.requireSessionOr<Cart> missing (SessionEndpoint.withSession show)

let named: HttpHandler =
    SessionEndpoint.requireSignIn<Cart>(SessionEndpoint.withSubjectOr<Cart> missing Response.ofPlainText)

let save: HttpHandler =
    fun ctx ->
        task {
            match! Session.save { Items = [] } ctx with
            | Ok cart -> return! show cart ctx
            | Error SessionError.Conflict -> return! missing ctx
            | Error error -> return! SessionEndpoint.failed error ctx
        }

let endpoints = [ get "/" guarded; get "/me" named; post "/save" save ]
