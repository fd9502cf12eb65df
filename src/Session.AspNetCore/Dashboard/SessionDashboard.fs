/// Where the dashboard of operators is mapped.
namespace Session.AspNetCore

open System
open Microsoft.AspNetCore.Builder
open Microsoft.AspNetCore.Http
open Microsoft.AspNetCore.Routing
open Microsoft.Extensions.DependencyInjection
open Microsoft.Extensions.Hosting

/// A dashboard of the sessions, for operators: made on the server, without script, with nothing from elsewhere.
[<RequireQualifiedAccess>]
module SessionDashboard =
    let private defaults<'T> : DashboardSettings<'T> =
        { DashboardSettings.Title = "Sessions"
          DashboardSettings.ShowData = None
          DashboardSettings.AlwaysCount = false }

    let private verifyAll (provider: IServiceProvider) =
        match provider.GetService<EndpointDataSource>() with
        | null -> ()
        | source ->
            for endpoint in source.Endpoints do
                match endpoint.Metadata.GetMetadata<DashboardEndpoint>() with
                | null -> ()
                | dashboard -> dashboard.Verify endpoint

    /// The dashboard at `pattern`: counts, what happened lately, a session's life and data only if ShowData says so, the end of
    /// one session or of all of a subject. Say who may see it:
    /// `(app |> SessionDashboard.map<Cart> "/sessions" id).RequireAuthorization "Operators"`; without a policy or roles the
    /// application does not start outside Development. It needs `services.AddAntiforgery()`. No page looks through the store.
    let map<'T>
        (pattern: string)
        (configure: DashboardSettings<'T> -> DashboardSettings<'T>)
        (endpoints: IEndpointRouteBuilder)
        : IEndpointConventionBuilder =
        SessionRegistration.named<'T> "SessionDashboard.map"
        Forms.require "MapSessionDashboard" endpoints
        let provider = endpoints.ServiceProvider
        let service = SessionServiceOf.services<'T> provider
        let settings = configure defaults<'T>

        let isDevelopment =
            match provider.GetService<IHostEnvironment>() with
            | null -> false
            | environment -> environment.IsDevelopment()

        let watch = Watch<'T>(service, provider, settings.AlwaysCount)
        let pages = DashboardPages<'T>(service, watch, settings, isDevelopment)

        if not isDevelopment then
            service.Started.Add(fun () -> verifyAll provider)

        service.Started.Add watch.Start
        service.Stopping.Add watch.Stop
        let group = endpoints.MapGroup pattern
        group.MapGet("", RequestDelegate pages.Home).WithDisplayName("Session dashboard") |> ignore

        group.MapGet("/session/{id}", RequestDelegate pages.Session).WithDisplayName("Session dashboard: session")
        |> ignore

        group.MapPost("/end", RequestDelegate pages.End).WithDisplayName("Session dashboard: end") |> ignore

        group.MapPost("/end-all", RequestDelegate pages.EndAll).WithDisplayName("Session dashboard: end all")
        |> ignore

        let group = group :> IEndpointConventionBuilder
        let mark = DashboardEndpoint(typeof<'T>, pattern)
        group.Add(fun endpoint -> endpoint.Metadata.Add mark)
        group
