using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;

namespace Bench.Shared;

/// <summary>A redis-server of this run alone, without persistence.</summary>
public sealed class RedisServer : IAsyncDisposable
{
    private readonly Process _process;
    private readonly int _port;

    // What connections say to stay alive and what this program asks.
    private static readonly HashSet<string> s_chatter =
    [
        "info",
        "ping",
        "echo",
        "config",
        "client",
        "monitor",
        "hello",
        "auth",
        "select",
        "cluster",
        "sentinel",
        "subscribe",
        "unsubscribe",
        "command",
    ];

    private RedisServer(Process process, int port) => (_process, _port) = (process, port);

    public string Address => $"127.0.0.1:{_port}";

    public double CpuSeconds => Cpu.SecondsOf(_process.Id);

    public static async Task<RedisServer> StartAsync(string folder)
    {
        var port = Port.Free();
        string[] command = ["redis-server", "--port", $"{port}", "--bind", "127.0.0.1", "--dir", folder];
        var process = Leftovers.Start(Tool.Start([.. command, "--save", "", "--appendonly", "no"]));
        process.OutputDataReceived += (_, _) => { };
        process.ErrorDataReceived += (_, _) => { };
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        var server = new RedisServer(process, port);
        for (var tries = 0; ; tries++)
        {
            try
            {
                using var connection = await server.ConnectAsync();
                await connection.AskAsync("PING");
                return server;
            }
            catch (Exception error) when (error is SocketException or IOException && tries < 200 && !process.HasExited)
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

    public Task<RedisConnection> ConnectAsync() => RedisConnection.OpenAsync(_port);

    public static bool IsChatter(string command) => s_chatter.Contains(command.Split('|')[0].ToLowerInvariant());

    /// <summary>How many commands the server has run so far, those inside scripts included.</summary>
    public async Task<long> CommandsRunAsync()
    {
        using var connection = await ConnectAsync();
        var sum = 0L;
        foreach (var line in (await connection.AskAsync("INFO commandstats")).Split('\n'))
        {
            if (!line.StartsWith("cmdstat_", StringComparison.Ordinal))
                continue;
            var name = line[8..line.IndexOf(':')];
            var calls = line[(line.IndexOf("calls=", StringComparison.Ordinal) + 6)..];
            if (!IsChatter(name))
                sum += long.Parse(calls[..calls.IndexOf(',')], CultureInfo.InvariantCulture);
        }
        return sum;
    }

    /// <summary>What its data takes, the allocator's overhead included.</summary>
    public async Task<long> UsedBytesAsync()
    {
        using var connection = await ConnectAsync();
        var line = (await connection.AskAsync("INFO memory"))
            .Split('\n')
            .Single(line => line.StartsWith("used_memory:", StringComparison.Ordinal));
        return long.Parse(line.Split(':')[1], CultureInfo.InvariantCulture);
    }

    public async ValueTask DisposeAsync() => await Leftovers.EndAsync(_process);
}
