using System.Runtime.InteropServices;
using Microsoft.Data.Sqlite;

namespace Session.Stores.Sqlite;

/// <summary>What SQLite knows of the file under a connection, and its driver does not ask for.</summary>
internal static class FileControl
{
    private const int HasMovedCode = 20;

    /// <summary>Whether the file that is open is no longer the one that its path leads to.</summary>
    public static bool HasMoved(SqliteConnection connection)
    {
        try
        {
            return connection.Handle is { } handle
                && Control(handle.DangerousGetHandle(), 0, HasMovedCode, out var hasMoved) == 0
                && hasMoved != 0;
        }
        catch (Exception error) when (error is DllNotFoundException or EntryPointNotFoundException)
        {
            // Another build of SQLite than the usual one: that the path leads to some file has to do.
            return false;
        }
    }

    [DllImport("e_sqlite3", EntryPoint = "sqlite3_file_control", ExactSpelling = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.AssemblyDirectory | DllImportSearchPath.SafeDirectories)]
    private static extern int Control(nint database, nint name, int operation, out int answer);
}
