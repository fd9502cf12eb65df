using System.Runtime.CompilerServices;
using Microsoft.Data.Sqlite;
using Session.Engine;

namespace Session.Stores.Sqlite;

/// <summary>What a failure of the write of a record says.</summary>
internal static class Refusals
{
    // SQLite's result codes for what has not begun, or was rolled back: no right to, a lock that somebody else holds, a file
    // that takes no writes, a full disk, no file, no database. Not an I/O error: what a disk has failed at may be there once it is read again.
    private static readonly int[] Codes = [3, 5, 6, 8, 13, 14, 26];

    /// <summary>The answer to a write.</summary>
    /// <exception cref="StoreRefusedException">It has changed nothing.</exception>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public static async ValueTask<WriteResult> Told(ValueTask<WriteResult> write)
    {
        try
        {
            return await write.ConfigureAwait(false);
        }
        catch (Exception error) when (IsSure(error))
        {
            throw new StoreRefusedException(
                error.Message,
                IsWait(error) ? new TimeoutException(error.Message, error) : error
            );
        }
    }

    // Somebody else's lock was waited for in vain: whoever ends many sessions does not wait so long for each.
    private static bool IsWait(Exception error) => error is SqliteException { SqliteErrorCode: 5 or 6 };

    // A file that is gone, or that is not the store's, is found out before anything is written.
    private static bool IsSure(Exception error) =>
        error switch
        {
            SqliteException failure => Codes.Contains(failure.SqliteErrorCode),
            InvalidOperationException or IOException or UnauthorizedAccessException => error
                is not ObjectDisposedException,
            _ => false,
        };
}
