using System.Diagnostics;
using System.Globalization;
using Npgsql;

namespace Bench.Shared;

/// <summary>A PostgreSQL server of this run alone, with its default settings: every commit that waits, waits for the disk.</summary>
public sealed class PostgresServer : IAsyncDisposable
{
    private const string Packages = "/usr/lib/postgresql";

    private readonly Process _process;
    private readonly string _folder;
    private readonly int _port;

    private PostgresServer(Process process, string folder, int port) =>
        (_process, _folder, _port) = (process, folder, port);

    /// <summary>The folder of its programs, which Debian keeps outside of the path; null: it is not there.</summary>
    public static string? Programs =>
        Directory.Exists(Packages)
            ? Directory
                .GetDirectories(Packages)
                .Select(version => Path.Combine(version, "bin"))
                .Where(folder => File.Exists(Path.Combine(folder, "initdb")))
                .Order(StringComparer.Ordinal)
                .LastOrDefault()
            : null;

    /// <summary>A connection string of Npgsql, to a database that no other variant uses.</summary>
    public string Address(string database) => $"Host=127.0.0.1;Port={_port};Username=postgres;Database={database}";

    /// <summary>The same for Node.</summary>
    public string Url(string database) => $"postgres://postgres@127.0.0.1:{_port}/{database}";

    public static async Task<PostgresServer> StartAsync()
    {
        var folder = Leftovers.NewFolder();
        var port = Port.Free();
        var data = Path.Combine(folder, "data");
        if (IsRoot)
            await Tool.SayAsync(Tool.Start("chown", "postgres:postgres", folder));
        await Tool.SayAsync(Command("initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8"));
        var process = Leftovers.Start(
            Command(
                "postgres",
                "-D",
                data,
                "-p",
                $"{port}",
                "-c",
                "listen_addresses=127.0.0.1",
                "-c",
                $"unix_socket_directories={folder}",
                "-c",
                "max_connections=300",
                "-c",
                "shared_preload_libraries=pg_stat_statements"
            )
        );
        process.OutputDataReceived += (_, _) => { };
        process.ErrorDataReceived += (_, _) => { };
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        var server = new PostgresServer(process, folder, port);
        for (var tries = 0; ; tries++)
        {
            try
            {
                await server.AskAsync("CREATE EXTENSION IF NOT EXISTS pg_stat_statements");
                await server.CountAsync("none");
                return server;
            }
            catch (NpgsqlException) when (tries < 400 && !process.HasExited)
            {
                await Task.Delay(50);
            }
            catch
            {
                await server.DisposeAsync();
                throw;
            }
        }
    }

    /// <summary>An empty database, in place of one of the same name.</summary>
    public async Task CreateAsync(string database)
    {
        await AskAsync($"DROP DATABASE IF EXISTS \"{database}\" WITH (FORCE)");
        await AskAsync($"CREATE DATABASE \"{database}\"");
    }

    /// <summary>How many statements reach a database during the work. Only then does the server count them.</summary>
    public async Task<long> StatementsDuringAsync(string database, Func<Task> work)
    {
        await CountAsync("top");
        await AskAsync("SELECT pg_stat_statements_reset()");
        await work();
        var count = await AskAsync(
            $"SELECT coalesce(sum(calls), 0) FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid WHERE d.datname = '{database}'"
        );
        await CountAsync("none");
        return Convert.ToInt64(count, CultureInfo.InvariantCulture);
    }

    private async Task CountAsync(string which)
    {
        await AskAsync($"ALTER SYSTEM SET pg_stat_statements.track = '{which}'");
        await AskAsync("SELECT pg_reload_conf()");
        // Each process of the server hears of it by itself.
        await Task.Delay(500);
    }

    private async Task<object?> AskAsync(string sql)
    {
        await using var connection = new NpgsqlConnection(Address("postgres") + ";Pooling=false");
        await connection.OpenAsync();
        await using var command = new NpgsqlCommand(sql, connection);
        return await command.ExecuteScalarAsync();
    }

    public async ValueTask DisposeAsync()
    {
        // With all its processes: they would write to the folder for a moment longer.
        await Tool.SayAsync(Command("pg_ctl", "stop", "-m", "immediate", "-D", Path.Combine(_folder, "data")));
        await Leftovers.EndAsync(_process);
        Leftovers.Remove(_folder);
    }

    private static bool IsRoot => Environment.UserName == "root";

    /// <summary>It refuses to run as root: then it runs as the user that its package has made.</summary>
    private static ProcessStartInfo Command(string program, params string[] arguments)
    {
        var path = Path.Combine(Programs!, program);
        var start = IsRoot
            ? Tool.Start([
                "setpriv",
                "--reuid=postgres",
                "--regid=postgres",
                "--clear-groups",
                "--",
                path,
                .. arguments,
            ])
            : Tool.Start([path, .. arguments]);
        start.WorkingDirectory = "/";
        return start;
    }
}
