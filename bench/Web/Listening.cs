using System.Diagnostics;
using OpenTelemetry;
using OpenTelemetry.Metrics;
using OpenTelemetry.Trace;

namespace Bench.Web;

/// <summary>OpenTelemetry's SDK, switched while the server runs, so that one process is measured with it and without. What it collects is thrown away: to send it is the exporter's cost, and not the library's.</summary>
internal sealed class Listening
{
    private MeterProvider? _metrics;
    private TracerProvider? _traces;

    /// <summary>
    /// Off; metrics; all: metrics and all spans; app: the spans of the framework, of one trace of a hundred; sampled: that, with
    /// our metrics and our spans within those traces.
    /// </summary>
    public string Switch(string mode)
    {
        _metrics?.Dispose();
        _traces?.Dispose();
        (_metrics, _traces) = (null, null);
        if (mode is "metrics" or "all" or "sampled")
            _metrics = Sdk.CreateMeterProviderBuilder()
                .AddMeter("Session")
                .AddReader(new PeriodicExportingMetricReader(new Nowhere<Metric>(), 1000))
                .Build();
        string[] sources = mode switch
        {
            "all" => ["Session"],
            "app" => ["Microsoft.AspNetCore"],
            "sampled" => ["Microsoft.AspNetCore", "Session"],
            _ => [],
        };
        if (sources.Length > 0)
            _traces = Sdk.CreateTracerProviderBuilder()
                .AddSource(sources)
                .SetSampler(new ParentBasedSampler(new TraceIdRatioBasedSampler(mode == "all" ? 1 : 0.01)))
                .AddProcessor(new BatchActivityExportProcessor(new Nowhere<Activity>()))
                .Build();

        return mode;
    }

    private sealed class Nowhere<T> : BaseExporter<T>
        where T : class
    {
        public override ExportResult Export(in Batch<T> batch)
        {
            foreach (var _ in batch) { }
            return ExportResult.Success;
        }
    }
}
