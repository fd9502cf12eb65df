using Microsoft.Extensions.Hosting;
using Session.Engine;
using Session.Stores.Sqlite;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Keeps sessions in an SQLite file.</summary>
public static class SessionBuilderSqliteExtensions
{
    /// <summary>Keeps these sessions in the SQLite file <paramref name="path"/>; a missing file is created.</summary>
    /// <param name="builder">What <c>AddSession</c> returned.</param>
    /// <param name="path">
    /// The file, or a connection string that names it (<c>Data Source=sessions.db</c>). A relative path is relative to the content
    /// root of the application.
    /// </param>
    /// <returns>The same builder.</returns>
    public static SessionBuilder UseSqlite(this SessionBuilder builder, string path) =>
        builder.UseSqlite(path, static _ => { });

    /// <summary>Keeps these sessions in the SQLite file <paramref name="path"/>; a missing file is created.</summary>
    /// <param name="builder">What <c>AddSession</c> returned.</param>
    /// <param name="path">
    /// The file, or a connection string that names it (<c>Data Source=sessions.db</c>). A relative path is relative to the content
    /// root of the application.
    /// </param>
    /// <param name="configure">Changes the other settings.</param>
    /// <returns>The same builder.</returns>
    public static SessionBuilder UseSqlite(
        this SessionBuilder builder,
        string path,
        Action<SqliteStoreOptions> configure
    )
    {
        ArgumentNullException.ThrowIfNull(builder);
        ArgumentNullException.ThrowIfNull(configure);
        if (string.IsNullOrWhiteSpace(path))
            throw new ArgumentException("UseSqlite needs the path of the database file.", nameof(path));

        return builder.UseStore(services =>
        {
            var options = new SqliteStoreOptions
            {
                Path = path,
                Table = builder.Place + "s",
                Directory = services.GetService<IHostEnvironment>()?.ContentRootPath,
            };
            configure(options);
            return new SqliteStore(options);
        });
    }
}
