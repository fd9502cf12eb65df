using Npgsql;
using Session.Engine;
using Session.Stores.Postgres;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Keeps sessions in PostgreSQL.</summary>
public static class SessionBuilderPostgresExtensions
{
    /// <summary>Keeps these sessions in PostgreSQL at <paramref name="connectionString"/>.</summary>
    /// <param name="builder">What <c>AddSession</c> returned.</param>
    /// <param name="connectionString">A connection string of Npgsql: <c>Host=localhost;Database=app</c>; several hosts for a primary and its standbys.</param>
    public static SessionBuilder UsePostgres(this SessionBuilder builder, string connectionString) =>
        builder.UsePostgres(connectionString, static _ => { });

    /// <summary>Keeps these sessions in PostgreSQL at <paramref name="connectionString"/>.</summary>
    /// <param name="builder">What <c>AddSession</c> returned.</param>
    /// <param name="connectionString">A connection string of Npgsql.</param>
    /// <param name="configure">Changes the other settings.</param>
    public static SessionBuilder UsePostgres(
        this SessionBuilder builder,
        string connectionString,
        Action<PostgresStoreOptions> configure
    )
    {
        ArgumentNullException.ThrowIfNull(builder);
        ArgumentNullException.ThrowIfNull(configure);
        if (string.IsNullOrWhiteSpace(connectionString))
            throw new ArgumentException(
                "UsePostgres needs a connection string, such as Host=localhost;Database=app.",
                nameof(connectionString)
            );

        return builder.UseStore(_ =>
        {
            var options = new PostgresStoreOptions { ConnectionString = connectionString, Table = builder.Place + "s" };
            configure(options);
            return new PostgresStore(options);
        });
    }

    /// <summary>Keeps these sessions in PostgreSQL, through the <see cref="NpgsqlDataSource"/> that the application has registered.</summary>
    /// <param name="builder">What <c>AddSession</c> returned.</param>
    public static SessionBuilder UsePostgres(this SessionBuilder builder) => builder.UsePostgres(static _ => { });

    /// <summary>Keeps these sessions in PostgreSQL, through the <see cref="NpgsqlDataSource"/> that the application has registered.</summary>
    /// <param name="builder">What <c>AddSession</c> returned.</param>
    /// <param name="configure">Changes the settings.</param>
    public static SessionBuilder UsePostgres(this SessionBuilder builder, Action<PostgresStoreOptions> configure)
    {
        ArgumentNullException.ThrowIfNull(builder);
        ArgumentNullException.ThrowIfNull(configure);
        return builder.UseStore(services =>
        {
            var options = new PostgresStoreOptions { Table = builder.Place + "s" };
            configure(options);
            if (options.DataSource is null && options.ConnectionString.Length == 0)
                options.DataSource =
                    services.GetService<NpgsqlDataSource>()
                    ?? throw new InvalidOperationException(
                        "UsePostgres() without a connection string needs a registered NpgsqlDataSource: register one, or say UsePostgres(\"Host=localhost;Database=app\")."
                    );
            return new PostgresStore(options);
        });
    }

    /// <summary>Keeps these sessions in PostgreSQL, through a data source of the application's own.</summary>
    /// <param name="builder">What <c>AddSession</c> returned.</param>
    /// <param name="dataSource">The data source: the application closes it.</param>
    public static SessionBuilder UsePostgres(this SessionBuilder builder, NpgsqlDataSource dataSource)
    {
        ArgumentNullException.ThrowIfNull(dataSource);
        return builder.UsePostgres(options => options.DataSource = dataSource);
    }
}
