type Cart = { Items: string list }
let show (cart: Cart) : EndpointHandler = json cart
let missing: EndpointHandler = setStatusCode 401 >=> text "no"
let guarded: EndpointHandler = SessionEndpoint.requireSession<Cart> >=> SessionEndpoint.withSessionOr missing show

let middleware: EndpointMiddleware =
    SessionEndpoint.requireSignIn<Cart> >=> SessionEndpoint.requireSessionOr<Cart> missing

let named: EndpointHandler = middleware >=> SessionEndpoint.withSubject<Cart> text

let save: EndpointHandler =
    fun ctx ->
        task {
            match! Session.save { Items = [] } ctx with
            | Ok cart -> return! show cart ctx
            | Error SessionError.Conflict -> return! missing ctx
            | Error error -> return! SessionEndpoint.failed error ctx
        }

let endpoints = [ GET [ route "/" guarded; route "/me" named ]; POST [ route "/save" save ] ]
