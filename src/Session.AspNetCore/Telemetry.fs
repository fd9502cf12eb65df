/// Which meter the sessions of an application are measured by, and what its traces may say.
namespace Session.AspNetCore

open System
open System.Diagnostics.Metrics
open Microsoft.Extensions.DependencyInjection
open Microsoft.Extensions.Options
open Session.Engine

/// Settings of telemetry, for all sessions of an application:
/// `services.Configure<SessionTelemetryOptions>(fun (o: SessionTelemetryOptions) -> o.IncludeSessionId <- true)`.
[<Sealed>]
type SessionTelemetryOptions() =
    /// Whether spans carry `session.id`. Default: false. An id opens nothing, but who reads the traces can follow somebody
    /// by it. Metrics never have it.
    member val IncludeSessionId = false with get, set

[<RequireQualifiedAccess>]
module internal SessionTelemetry =
    /// From the application's meters, so that tests and applications in one process are told apart.
    let of'<'T> (provider: IServiceProvider) : Telemetry =
        let showsIds =
            match provider.GetService<IOptions<SessionTelemetryOptions>>() with
            | null -> false
            | options -> options.Value.IncludeSessionId

        match provider.GetService<IMeterFactory>() with
        | null -> Telemetry(Measures.Shared, typeof<'T>.Name, showsIds)
        | meters ->
            let measures = Measures(meters.Create "Session", typeof<'T>.Name)
            measures.ObserveLive()
            Telemetry(measures, typeof<'T>.Name, showsIds)
