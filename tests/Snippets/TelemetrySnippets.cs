using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using OpenTelemetry.Metrics;
using OpenTelemetry.Trace;
using Session.AspNetCore;

namespace Snippets;

/// <summary>What docs/TELEMETRY.md shows, word by word.</summary>
public static class TelemetrySnippets
{
    public sealed record Cart(string[] Items);

    public static void Seen(WebApplicationBuilder builder, WebApplication app)
    {
        builder
            .Services.AddOpenTelemetry()
            .WithMetrics(metrics => metrics.AddMeter("Session"))
            .WithTracing(traces => traces.AddSource("Session"));
        builder.Services.AddHealthChecks().AddSessions<Cart>();
        app.MapHealthChecks("/health");
    }

    public static void WithIds(WebApplicationBuilder builder)
    {
        builder.Services.Configure<SessionTelemetryOptions>(o => o.IncludeSessionId = true);
    }
}
