open Microsoft.AspNetCore.Builder
open Microsoft.AspNetCore.Http
open Microsoft.Extensions.DependencyInjection
open Session.AspNetCore

type Cart = { Items: string list }

let add sku (cart: Cart option) =
    match cart with
    | Some cart -> { Items = sku :: cart.Items }
    | None -> { Items = [ sku ] }

let answer (result: Result<Cart, SessionError>) (ctx: HttpContext) =
    match result with
    | Ok cart -> ctx.Response.WriteAsJsonAsync cart
    | Error error -> SessionEndpoint.failed error ctx

let addToCart (ctx: HttpContext) =
    task {
        let! cart = Session.update (add (string ctx.Request.RouteValues["sku"])) ctx
        do! answer cart ctx
    }

// After your own check of the password.
let signIn (ctx: HttpContext) =
    task {
        let! cart = Session.tryGet<Cart> ctx
        let! signedIn = Session.signIn (string ctx.Request.RouteValues["name"]) (defaultArg cart { Items = [] }) ctx
        do! answer signedIn ctx
    }

let show (cart: Cart) (ctx: HttpContext) = ctx.Response.WriteAsJsonAsync cart
let name (subject: string) (ctx: HttpContext) = ctx.Response.WriteAsync subject

[<EntryPoint>]
let main args =
    let builder = WebApplication.CreateBuilder args
    builder.Services.AddSession<Cart>(id).UseSqlite("sessions.db") |> ignore
    let app = builder.Build()
    app.UseSession<Cart>() |> ignore
    app.MapPost("/cart/{sku}", RequestDelegate(fun ctx -> addToCart ctx)) |> ignore
    app.MapGet("/cart", RequestDelegate(SessionEndpoint.withSession show)) |> ignore
    app.MapPost("/login/{name}", RequestDelegate(fun ctx -> signIn ctx)) |> ignore
    app.MapGet("/me", RequestDelegate(SessionEndpoint.withSubject<Cart> name)) |> ignore
    app.Run()
    0
