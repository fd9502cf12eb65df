using Npgsql;

namespace Session.Stores.Postgres;

/// <summary>Data sources that the store makes for itself.</summary>
internal static class DataSources
{
    private const int DefaultHostRecheckSeconds = 10;
    private const int DefaultCancellationTimeout = 2000;

    /// <exception cref="ArgumentException">It is no connection string of Npgsql.</exception>
    public static NpgsqlDataSource Open(string connectionString, TimeSpan operationTimeout)
    {
        try
        {
            var settings = new NpgsqlConnectionStringBuilder(connectionString);
            settings.ApplicationName ??= "session-store";
            settings.Timeout = Math.Min(settings.Timeout, Seconds(operationTimeout));
            // The store leaves nothing behind on a connection: there is nothing to reset.
            settings.NoResetOnClose = true;
            // A failover is seen after a second, not after ten.
            if (settings.HostRecheckSeconds == DefaultHostRecheckSeconds)
                settings.HostRecheckSeconds = 1;
            if (settings.CancellationTimeout == DefaultCancellationTimeout)
                settings.CancellationTimeout = 500;

            var isFleet = settings.Host?.Contains(',', StringComparison.Ordinal) == true;
            if (isFleet)
                settings.Remove("Target Session Attributes");
            var builder = new NpgsqlSlimDataSourceBuilder(settings.ConnectionString);
            builder.EnableTransportSecurity();
            builder.EnableIntegratedSecurity();
            // Only the primary: a standby may not have heard of a logout yet.
            return isFleet
                ? builder.BuildMultiHost().WithTargetSession(TargetSessionAttributes.Primary)
                : builder.Build();
        }
        catch (Exception error) when (error is ArgumentException or FormatException or NotSupportedException)
        {
            // Without the string: it may have a password in it.
            throw new ArgumentException(
                $"PostgresStoreOptions.ConnectionString is no connection string of Npgsql, such as Host=localhost;Database=app: {error.Message}",
                error
            );
        }
    }

    /// <summary>Where it leads to, in a form that is equal for two that lead to the same place. Without a password.</summary>
    public static string Location(NpgsqlDataSource source)
    {
        var settings = new NpgsqlConnectionStringBuilder(source.ConnectionString);
        var hosts = (settings.Host ?? "localhost")
            .Split(',', StringSplitOptions.TrimEntries)
            .Select(host =>
                host.Contains(':', StringComparison.Ordinal) && !host.StartsWith('/') ? host : $"{host}:{settings.Port}"
            )
            .Select(host => host.ToLowerInvariant())
            .Order(StringComparer.Ordinal);
        return $"{string.Join(',', hosts)}/{settings.Database ?? settings.Username}";
    }

    /// <summary>The driver counts in whole seconds.</summary>
    public static int Seconds(TimeSpan time) => Math.Max(1, (int)Math.Ceiling(time.TotalSeconds));
}
