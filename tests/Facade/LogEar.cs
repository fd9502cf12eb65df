using System.Collections.Concurrent;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace Facade;

/// <summary>What the library writes to the log of an application.</summary>
internal sealed class LogEar : ILoggerProvider, ILogger
{
    private readonly ConcurrentQueue<string> _lines = new();

    public void Listen(IServiceCollection services) => services.AddLogging(logging => logging.AddProvider(this));

    public string[] Take()
    {
        var lines = new List<string>();
        while (_lines.TryDequeue(out var line))
            lines.Add(line);

        return [.. lines];
    }

    public ILogger CreateLogger(string categoryName) => categoryName == "Session" ? this : NullLogger.Instance;

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => true;

    public void Log<TState>(
        LogLevel logLevel,
        EventId eventId,
        TState state,
        Exception? exception,
        Func<TState, Exception?, string> formatter
    ) => _lines.Enqueue(formatter(state, exception));

    public void Dispose() { }
}
