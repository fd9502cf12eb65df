using Npgsql;

namespace Session.Stores.Postgres;

/// <summary>Data sources that the store makes for itself.</summary>
internal static class DataSources
{
    private const int DefaultHostRecheckSeconds = 10;
    private const int DefaultCancellationTimeout = 2000;

    // Where the driver asks a connection of several hosts which server it leads to, it cuts off the fraction of what is left
    // of a second: none is left then, and none means for ever.
    private const int LeastForOneOfSeveral = 2;

    /// <summary>Of several hosts all of them: the caller takes what <see cref="ToPrimary"/> gives, and disposes of this.</summary>
    /// <exception cref="ArgumentException">It is no connection string of Npgsql.</exception>
    public static NpgsqlDataSource Open(string connectionString, TimeSpan operationTimeout)
    {
        try
        {
            var settings = new NpgsqlConnectionStringBuilder(connectionString);
            settings.ApplicationName ??= "session-store";
            var hosts = settings.Host?.Split(',').Length ?? 1;
            settings.Timeout = ConnectTimeout(settings.Timeout, operationTimeout, hosts);
            // For what the driver sends by itself: it prepares a statement without looking at the statement's own limit.
            settings.CommandTimeout = Seconds(operationTimeout);
            // The store leaves nothing behind on a connection: there is nothing to reset.
            settings.NoResetOnClose = true;
            // A statement has a connection to itself: it is prepared there, has its own limit of time, and hears the server's warnings.
            settings.Multiplexing = false;
            // A failover is seen after a second, not after ten.
            if (settings.HostRecheckSeconds == DefaultHostRecheckSeconds)
                settings.HostRecheckSeconds = 1;
            if (settings.CancellationTimeout == DefaultCancellationTimeout)
                settings.CancellationTimeout = 500;

            if (hosts > 1)
                settings.Remove("Target Session Attributes");
            var builder = new NpgsqlSlimDataSourceBuilder(settings.ConnectionString);
            builder.EnableTransportSecurity();
            builder.EnableIntegratedSecurity();
            return hosts > 1 ? builder.BuildMultiHost() : builder.Build();
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

    /// <summary>Of several hosts only the primary: a standby may not have heard of a logout yet.</summary>
    public static NpgsqlDataSource ToPrimary(NpgsqlDataSource source) =>
        source is NpgsqlMultiHostDataSource hosts ? hosts.WithTargetSession(TargetSessionAttributes.Primary) : source;

    /// <summary>Whether statements of several callers go over one connection.</summary>
    public static bool Multiplexes(NpgsqlDataSource source) =>
        new NpgsqlConnectionStringBuilder(source.ConnectionString).Multiplexing;

    /// <summary>Whether it looks for its server among several.</summary>
    public static bool HasSeveralHosts(NpgsqlDataSource source) =>
        new NpgsqlConnectionStringBuilder(source.ConnectionString).Host?.Contains(',', StringComparison.Ordinal)
        == true;

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
        return $"{string.Join(',', hosts)}/{DatabaseOf(source)}";
    }

    public static string? DatabaseOf(NpgsqlDataSource source)
    {
        var settings = new NpgsqlConnectionStringBuilder(source.ConnectionString);
        return settings.Database ?? settings.Username;
    }

    // The hosts are tried one after the other. One whose machine is lost answers nothing, not even that nobody listens: it
    // must not use up the time of a request before the next one is asked.
    private static int ConnectTimeout(int given, TimeSpan operationTimeout, int hosts)
    {
        var most =
            hosts > 1
                ? Math.Max(LeastForOneOfSeveral, (int)(operationTimeout.TotalSeconds / hosts))
                : Seconds(operationTimeout);
        // To the driver zero is for ever.
        if (given == 0 || given > most)
            return most;
        return hosts > 1 ? Math.Max(LeastForOneOfSeveral, given) : given;
    }

    /// <summary>The driver counts in whole seconds.</summary>
    public static int Seconds(TimeSpan time) => Math.Max(1, (int)Math.Ceiling(time.TotalSeconds));
}
