type Cart = { Items: string list }
let show (cart: Cart) : HttpHandler = json cart
let missing: HttpHandler = setStatusCode 401 >=> text "no"
let guarded: HttpHandler = SessionHandler.requireSession<Cart> missing >=> SessionHandler.withSession show
let named: HttpHandler = SessionHandler.requireSignIn<Cart> missing >=> SessionHandler.withSubject<Cart> text
let failed (error: SessionError) : HttpHandler = SessionHandler.failed error >=> text "never"

let save (next: HttpFunc) (ctx: HttpContext) =
    task {
        match! Session.save { Items = [] } ctx with
        | Ok _ -> return! next ctx
        | Error SessionError.Conflict -> return! missing next ctx
        | Error error -> return! failed error next ctx
    }

let app: HttpHandler = choose [ route "/" >=> guarded; route "/me" >=> named; route "/save" >=> save ]
