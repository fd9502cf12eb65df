using Microsoft.Data.Sqlite;

namespace Session.Stores.Sqlite;

/// <summary>The path of the database file, from what an application names it by.</summary>
internal static class FileName
{
    /// <summary>A path, or a connection string with a path in it; null: a name that SQLite has for no file.</summary>
    /// <exception cref="ArgumentException">The connection string says something that this store does not do.</exception>
    public static string? Of(string named, string? directory)
    {
        var path = Parse(named) is { } settings ? FromConnectionString(settings) : named;
        // A database in memory, or a URI: SQLite has names for them.
        if (path.StartsWith(':') || path.StartsWith("file:", StringComparison.OrdinalIgnoreCase))
            return null;
        return directory is null ? Path.GetFullPath(path) : Path.GetFullPath(path, Path.GetFullPath(directory));
    }

    private static string FromConnectionString(SqliteConnectionStringBuilder settings)
    {
        if (!string.IsNullOrEmpty(settings.Password))
            throw new ArgumentException(
                "The connection string of the session database has a password, and this store does not encrypt its file: leave it out, and protect the sessions with ProtectWithDataProtection or SealToBearer."
            );
        if (settings.Mode is not (SqliteOpenMode.ReadWriteCreate or SqliteOpenMode.ReadWrite))
            throw new ArgumentException(
                $"The connection string of the session database says Mode={settings.Mode}: sessions need a file that can be written. Leave Mode out, or keep the sessions in memory with UseMemory."
            );
        return InDataDirectory(settings.DataSource);
    }

    // The driver's own word for the folder of the application's data. It would know it at the beginning of a path, and is given a
    // whole one.
    private const string DataDirectory = "|DataDirectory|";

    private static string InDataDirectory(string path)
    {
        if (!path.StartsWith(DataDirectory, StringComparison.OrdinalIgnoreCase))
            return path;
        var folder = AppContext.GetData("DataDirectory") is string { Length: > 0 } said
            ? said
            : AppContext.BaseDirectory;
        return Path.Join(folder, path[DataDirectory.Length..]);
    }

    /// <summary>Null: it is no connection string.</summary>
    private static SqliteConnectionStringBuilder? Parse(string named)
    {
        try
        {
            var settings = new SqliteConnectionStringBuilder(named);
            return string.IsNullOrEmpty(settings.DataSource) ? null : settings;
        }
        catch (ArgumentException)
        {
            return null;
        }
    }
}
