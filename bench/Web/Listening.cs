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

    /// <summary>Off; metrics; sampled: metrics, and the spans of one trace of a hundred; all: metrics and all spans.</summary>
    public string Switch(string mode)
    {
        _metrics?.Dispose();
        _traces?.Dispose();
        (_metrics, _traces) = (null, null);
        if (mode != "off")
            _metrics = Sdk.CreateMeterProviderBuilder()
                .AddMeter("Session")
                .AddReader(new PeriodicExportingMetricReader(new Nowhere<Metric>(), 1000))
                .Build();
        if (mode is "sampled" or "all")
            _traces = Sdk.CreateTracerProviderBuilder()
                .AddSource("Session")
                .SetSampler(new TraceIdRatioBasedSampler(mode == "all" ? 1 : 0.01))
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
