using System.Diagnostics;
using System.Globalization;
using Bench.Shared;

namespace Bench.Connections;

/// <summary>One server in a process of its own.</summary>
internal sealed class Node : IAsyncDisposable
{
    private readonly Process _process;

    private Node(Process process, int port)
    {
        (_process, Port) = (process, port);
        Client = new HttpClient(new SocketsHttpHandler { UseCookies = false, AllowAutoRedirect = false })
        {
            BaseAddress = new Uri($"http://127.0.0.1:{port}"),
        };
    }

    public int Port { get; }
    public HttpClient Client { get; }

    public static async Task<Node> StartAsync(string variant, string redis, TimeSpan liveCheck)
    {
        var port = Shared.Port.Free();
        var program = Path.Combine(AppContext.BaseDirectory, "Connections.dll");
        var start = Tool.Start("dotnet", program, "node", variant, $"{port}", redis, $"{liveCheck.TotalSeconds}");
        var process = Leftovers.Start(start);
        // Read, so that a full pipe stops nobody; complaints are passed on.
        process.OutputDataReceived += (_, _) => { };
        process.ErrorDataReceived += (_, line) =>
        {
            if (!string.IsNullOrEmpty(line.Data))
                Console.Error.WriteLine($"{variant}: {line.Data}");
        };
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();

        var node = new Node(process, port);
        for (var tries = 0; ; tries++)
        {
            try
            {
                await node.Client.GetStringAsync("/");
                return node;
            }
            catch (HttpRequestException) when (tries < 400 && !process.HasExited)
            {
                await Task.Delay(50);
            }
            catch
            {
                await node.DisposeAsync();
                throw new InvalidOperationException($"The server of {variant} does not start.");
            }
        }
    }

    public async Task<long> LiveBytesAsync() =>
        long.Parse(await Client.GetStringAsync("/memory"), CultureInfo.InvariantCulture);

    public Task StopAsync() => SignalAsync("STOP");

    public Task ContinueAsync() => SignalAsync("CONT");

    private async Task SignalAsync(string signal) =>
        await Tool.SayAsync(Tool.Start("kill", "-" + signal, $"{_process.Id}"));

    public async ValueTask DisposeAsync()
    {
        Client.Dispose();
        await Leftovers.EndAsync(_process);
    }
}
