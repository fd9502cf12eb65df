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
    /// it (57P01 to 57P05: it shuts down, or ends this connection) may come while a commit waits for a standby.
    /// </summary>
    public static bool HasNoAnswer(Exception error) =>
        error switch
        {
            PostgresException server => EndsConnection(server),
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

    private static bool EndsConnection(PostgresException error) =>
        error.SqlState.StartsWith("57P", StringComparison.Ordinal) || error.InvariantSeverity is "FATAL" or "PANIC";
}
