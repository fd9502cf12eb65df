using System.Net.Sockets;
using Npgsql;

namespace Session.Stores.Postgres;

/// <summary>What an exception of the driver says.</summary>
internal static class Failures
{
    /// <summary>The statement was rolled back for the sake of another one, and may be tried again.</summary>
    public static bool IsTransient(Exception error) =>
        error
            is PostgresException
            {
                SqlState: PostgresErrorCodes.SerializationFailure or PostgresErrorCodes.DeadlockDetected
            };

    /// <summary>
    /// The connection is gone, or the time is up: nobody knows whether the statement took effect. The server's own words for
    /// it (57P01 to 57P05: it shuts down, or ends this connection) may come while a commit waits for a standby. So may those of
    /// a pooler that has lost its server (08…), and those of CockroachDB (40003): all but what says that nothing was done.
    /// </summary>
    public static bool HasNoAnswer(Exception error) =>
        error switch
        {
            PostgresException server => EndsConnection(server) || !IsRefusal(server),
            NpgsqlException or TimeoutException or IOException or SocketException or ObjectDisposedException => true,
            _ => false,
        };

    /// <summary>The connection is gone; another one may work.</summary>
    public static bool IsBroken(Exception error) =>
        error switch
        {
            PostgresException server => EndsConnection(server) || IsReadOnly(error),
            NpgsqlException { InnerException: TimeoutException } => false,
            NpgsqlException or IOException or SocketException => true,
            _ => false,
        };

    /// <summary>
    /// The server is not there, or not yet: it may be, without a change of anything. Of several hosts the driver puts
    /// together what each of them said; it says nothing of those that are standbys, or were away a moment ago.
    /// </summary>
    public static bool IsAway(Exception error, bool hasSeveralHosts) =>
        error switch
        {
            TimeoutException or OperationCanceledException => true,
            NpgsqlException { InnerException: AggregateException all } => all.InnerExceptions.All(IsAwayAlone),
            PostgresException server => server.IsTransient,
            NpgsqlException { InnerException: null } => hasSeveralHosts,
            NpgsqlException driver => driver.IsTransient,
            _ => false,
        };

    /// <summary>Of several hosts what one said that is there, and refuses: a wrong password, a missing database, no TLS.</summary>
    public static Exception? Refusal(Exception error) =>
        error is NpgsqlException { InnerException: AggregateException all }
            ? all.InnerExceptions.FirstOrDefault(one => !IsAwayAlone(one))
            : null;

    /// <summary>The first line of what it says; of several hosts, of what each of them said.</summary>
    public static string Summary(Exception error) =>
        error is NpgsqlException { InnerException: AggregateException all }
            ? string.Join("; ", all.InnerExceptions.Select(Summary).Distinct(StringComparer.Ordinal))
            : error.Message.Split('\n')[0];

    /// <summary>It is a standby, perhaps one that was the primary before.</summary>
    public static bool IsReadOnly(Exception error) =>
        error is PostgresException { SqlState: PostgresErrorCodes.ReadOnlySqlTransaction };

    /// <summary>The role may not do this.</summary>
    public static bool IsForbidden(Exception error) =>
        error is PostgresException { SqlState: PostgresErrorCodes.InsufficientPrivilege };

    /// <summary>Somebody else has made it at the same moment.</summary>
    public static bool IsThere(Exception error) =>
        error
            is PostgresException
            {
                SqlState: PostgresErrorCodes.DuplicateTable
                    or PostgresErrorCodes.DuplicateObject
                    or PostgresErrorCodes.UniqueViolation
            };

    // Of a class or a code of its own, each of which rolls the statement back: data, constraints, state of the transaction
    // (read-only), rights, no such database, rolled back for others, no such table, no room, limits, locks, a cancelled
    // statement, what a trigger says.
    private static readonly string[] Refusing =
    [
        "0A",
        "22",
        "23",
        "25",
        "28",
        "3D",
        "3F",
        "40001",
        "40P01",
        "42",
        "44",
        "53",
        "54",
        "55",
        "57014",
        "P0",
        PostgresErrorCodes.InvalidSqlStatementName,
    ];

    private static bool IsRefusal(PostgresException error) =>
        Refusing.Any(code => error.SqlState.StartsWith(code, StringComparison.Ordinal));

    private static bool IsAwayAlone(Exception error) => IsAway(error, hasSeveralHosts: false);

    private static bool EndsConnection(PostgresException error) =>
        error.SqlState.StartsWith("57P", StringComparison.Ordinal) || error.InvariantSeverity is "FATAL" or "PANIC";
}
