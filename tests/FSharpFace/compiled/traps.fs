module Traps

open System
open System.Threading.Tasks
open Microsoft.AspNetCore.Builder
open Microsoft.AspNetCore.Http
open Microsoft.Extensions.DependencyInjection
open Session.AspNetCore

type Cart = { Items: string list }
type Visit = { Pages: int }

let context: HttpContext = DefaultHttpContext()
let provider: IServiceProvider = context.RequestServices
let handler: HttpContext -> Task = fun _ -> Task.CompletedTask
let skip: (HttpContext -> Task<HttpContext option>) -> HttpContext -> Task<HttpContext option> = id

// A type argument that was forgotten.
let forgotten () =
    //! must be given explicit type argument
    let a = Session.tryGet context
    //! must be given explicit type argument
    let b = Session.read context
    //! must be given explicit type argument
    let c = Session.reload context
    //! must be given explicit type argument
    let d = Session.regenerate context
    //! must be given explicit type argument
    let e = Session.destroy context
    //! must be given explicit type argument
    let f = Session.subject context
    //! must be given explicit type argument
    let g = Session.tryId context
    //! must be given explicit type argument
    let h = Session.createdAt context
    //! must be given explicit type argument
    let i = Session.authenticatedAt context
    //! must be given explicit type argument
    let j = Session.expiresAt context
    //! must be given explicit type argument
    let k = Session.state context
    //! must be given explicit type argument
    let l = Session.origin context
    //! must be given explicit type argument
    let m = Sessions.list "ada" context
    //! must be given explicit type argument
    let n = Sessions.find "id" context
    //! must be given explicit type argument
    let o = Sessions.findOwn "id" context
    //! must be given explicit type argument
    let p = Sessions.destroy "id" context
    //! must be given explicit type argument
    let q = Sessions.destroyAll "ada" context
    //! must be given explicit type argument
    let r = Sessions.destroyAllBut "id" "ada" context
    //! must be given explicit type argument
    let s = Sessions.destroyEvery context
    //! must be given explicit type argument
    let t = SessionServices.destroyAll "ada" provider
    //! must be given explicit type argument
    let u = SessionHandler.requireSession skip
    //! must be given explicit type argument
    let v = SessionHandler.requireSignIn skip
    //! must be given explicit type argument
    let w = SessionEndpoint.requireSession handler
    //! must be given explicit type argument
    let x = SessionEndpoint.requireSignInOr handler handler
    //! must be given explicit type argument
    let y = SessionEndpoint.withSubject (fun _ -> handler)
    ()

// Words that do not come without the name of their type.
let words () =
    //! is not defined
    let a = Conflict
    //! is not defined
    let b = Active
    //! is not defined
    let c = Expired
    //! is not defined
    let d = Declined ""
    //! is not defined
    let e = Failed SessionError.Conflict
    //! is not defined
    let f = SignedIn
    //! is not defined
    let g = NothingChanged
    //! is not defined
    let h = RefuseNew
    ()

// Of another kind of sessions.
let add (services: IServiceCollection) =
    let hear (event: SessionEvent<Visit>) (_: IServiceProvider) : Task = Task.CompletedTask
    //! Visit
    services.AddSession<Cart>(id, onEvent = hear) |> ignore

// A null where there is none.
let signIn (form: IFormCollection) (name: string | null) =
    //! Nullness warning
    Session.signIn name { Items = [] } context

// A case that was not thought of.
let hear (event: SessionEvent<Cart>) =
    //! Incomplete pattern matches
    match event with
    | SessionEvent.Created _ -> "created"
    | SessionEvent.Expired _ -> "expired"

let origin (origin: Session.Origin) =
    //! Incomplete pattern matches
    match origin with
    | Session.Origin.New -> "new"
    | Session.Origin.Resumed -> "resumed"

// A slip of the pen.
let settings (settings: SessionSettings) =
    //! IdleTimout
    { settings with IdleTimout = TimeSpan.FromHours 1 }

// The data, and not an option of it.
let update (context: HttpContext) : Task<Result<Cart, SessionError>> =
    //! option
    Session.update (fun (cart: Cart) -> cart) context
