using System.Collections.Concurrent;
using System.Diagnostics.Metrics;

namespace Facade.Telemetry;

/// <summary>What a listener hears of one application's meter <c>Session</c>.</summary>
internal sealed class Heard : IDisposable
{
    private readonly MeterListener _listener = new();
    private readonly ConcurrentQueue<Measured> _all = new();

    /// <param name="scope">The application's meter factory.</param>
    public Heard(IMeterFactory scope)
    {
        _listener.InstrumentPublished = (instrument, listener) =>
        {
            if (instrument.Meter.Name != "Session" || instrument.Meter.Scope != scope)
                return;

            Instruments[instrument.Name] = instrument;
            listener.EnableMeasurementEvents(instrument);
        };
        _listener.SetMeasurementEventCallback<long>((it, value, tags, _) => Add(it, value, tags));
        _listener.SetMeasurementEventCallback<double>((it, value, tags, _) => Add(it, value, tags));
        _listener.Start();
    }

    public ConcurrentDictionary<string, Instrument> Instruments { get; } = new(StringComparer.Ordinal);
    public IEnumerable<Measured> All => _all;

    public void Look() => _listener.RecordObservableInstruments();

    /// <summary>The sum of an instrument's values, where it has this tag.</summary>
    public double Sum(string name, string? tag = null, string? value = null) =>
        _all.Where(it => it.Name == name && (tag is null || it.Tags.GetValueOrDefault(tag) == value))
            .Sum(it => it.Value);

    public int Count(string name, string tag, string value) =>
        _all.Count(it => it.Name == name && it.Tags.GetValueOrDefault(tag) == value);

    public void Dispose() => _listener.Dispose();

    private void Add(Instrument it, double value, ReadOnlySpan<KeyValuePair<string, object?>> tags) =>
        _all.Enqueue(
            new Measured(it.Name, value, tags.ToArray().ToDictionary(tag => tag.Key, tag => (string)tag.Value!))
        );

    internal sealed record Measured(string Name, double Value, Dictionary<string, string> Tags);
}
