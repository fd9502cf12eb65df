/// Saturn's types and a few of its operations under their own names and namespaces: what clashes with it clashes with this.
namespace Saturn

open System
open System.Threading.Tasks
open Giraffe
open Microsoft.AspNetCore.Builder
open Microsoft.AspNetCore.Hosting
open Microsoft.Extensions.DependencyInjection
open Microsoft.Extensions.Hosting
open Microsoft.Extensions.Logging

[<AutoOpen>]
module Pipeline =
    type PipelineBuilder internal () =
        member _.Yield(_: unit) : HttpHandler = fun next context -> next context

        [<CustomOperation("plug")>]
        member _.Plug(state: HttpHandler, plug: HttpHandler) : HttpHandler = state >=> plug

    let pipeline = PipelineBuilder()

[<AutoOpen>]
module Router =
    type RouterState = { Routes: HttpHandler list; Pipelines: HttpHandler list }

    type RouterBuilder internal () =
        let on (state: RouterState) route = { state with Routes = state.Routes @ [ route ] }

        member _.Yield(_: unit) : RouterState = { Routes = []; Pipelines = [] }

        member _.Run(state: RouterState) : HttpHandler =
            List.foldBack (fun pipe rest -> rest >=> pipe) state.Pipelines (fun next context -> next context)
            >=> choose state.Routes

        [<CustomOperation("get")>]
        member _.Get(state, path: string, action: HttpHandler) : RouterState = on state (GET >=> route path >=> action)

        [<CustomOperation("post")>]
        member _.Post(state, path: string, action: HttpHandler) : RouterState =
            on state (POST >=> route path >=> action)

        [<CustomOperation("postf")>]
        member _.PostF(state, path: PrintfFormat<_, _, _, _, 'f>, action: 'f -> HttpHandler) : RouterState =
            on state (POST >=> routef path action)

        [<CustomOperation("pipe_through")>]
        member _.PipeThrough(state: RouterState, pipe: HttpHandler) : RouterState =
            { state with Pipelines = pipe :: state.Pipelines }

        [<CustomOperation("forward")>]
        member _.Forward(state, path: string, action: HttpHandler) : RouterState = on state (subRoute path action)

    let router = RouterBuilder()

[<AutoOpen>]
module Application =
    type ApplicationState =
        { Router: HttpHandler option
          Urls: string list
          AppConfigs: (IApplicationBuilder -> IApplicationBuilder) list
          ServicesConfig: (IServiceCollection -> IServiceCollection) list }

    type ApplicationBuilder internal () =
        member _.Yield(_: unit) : ApplicationState = { Router = None; Urls = []; AppConfigs = []; ServicesConfig = [] }

        // The configuration of the application that was written last is the first in the pipeline, as in Saturn.
        member _.Run(state: ApplicationState) : IHostBuilder =
            Host
                .CreateDefaultBuilder()
                .ConfigureLogging(fun (log: ILoggingBuilder) -> log.ClearProviders() |> ignore)
                .ConfigureServices(fun (services: IServiceCollection) ->
                    for configure in List.rev state.ServicesConfig do
                        configure services |> ignore)
                .ConfigureWebHostDefaults(fun host ->
                    host
                        .UseUrls(List.toArray state.Urls)
                        .Configure(fun (app: IApplicationBuilder) ->
                            for configure in state.AppConfigs do
                                configure app |> ignore

                            state.Router |> Option.iter (fun router -> app.UseGiraffe router))
                    |> ignore)

        [<CustomOperation("use_router")>]
        member _.Router(state: ApplicationState, handler: HttpHandler) : ApplicationState =
            { state with Router = Some handler }

        [<CustomOperation("app_config")>]
        member _.AppConfig(state: ApplicationState, config) : ApplicationState =
            { state with AppConfigs = config :: state.AppConfigs }

        [<CustomOperation("service_config")>]
        member _.ServiceConfig(state: ApplicationState, config) : ApplicationState =
            { state with ServicesConfig = config :: state.ServicesConfig }

        [<CustomOperation("url")>]
        member _.Url(state: ApplicationState, url: string) : ApplicationState = { state with Urls = url :: state.Urls }

    let application = ApplicationBuilder()
