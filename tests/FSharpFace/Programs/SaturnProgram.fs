module FSharpFace.Programs.SaturnProgram

open Giraffe
open Microsoft.AspNetCore.Builder
open Microsoft.Extensions.DependencyInjection
open Saturn
open Session.AspNetCore
open Session.Engine
open FSharpFace.Programs.GiraffeProgram

type Saturn.Application.ApplicationBuilder with

    /// Sessions with a cart, added as this says.
    [<CustomOperation "use_carts">]
    member _.UseCarts(state: ApplicationState, add: IServiceCollection -> SessionBuilder) =
        let register (services: IServiceCollection) =
            add services |> ignore
            services

        { state with
            ServicesConfig = register :: state.ServicesConfig
            AppConfigs = (fun (app: IApplicationBuilder) -> app.UseSession<Cart>()) :: state.AppConfigs }

let signedIn = pipeline { plug (SessionHandler.requireSignIn<Cart> nobody) }

let account =
    router {
        pipe_through signedIn
        get "/me" (SessionHandler.withSubject<Cart> text)
    }

let webApp =
    router {
        get "/cart" (SessionHandler.withSession<Cart> json)
        postf "/cart/%s" addToCart
        postf "/sign-in/%s" signIn
        post "/sign-out" signOut
        forward "/account" account
    }

let app (settings: SessionSettings -> SessionSettings) address =
    application {
        url address
        use_carts (fun services -> services.AddSession<Cart>(settings).UseMemory())
        use_router webApp
    }
