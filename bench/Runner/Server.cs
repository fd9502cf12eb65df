using System.Diagnostics;
using System.Globalization;
using Bench.Shared;

namespace Bench.Runner;

/// <summary>A server process of one variant, on a port of its own.</summary>
internal sealed class Server : IAsyncDisposable
{
    private readonly Process _process;

    private Server(Variant variant, Process process, int port)
    {
        (Variant, _process, Port) = (variant, process, port);
        Client = new HttpClient(new SocketsHttpHandler { UseCookies = false, AllowAutoRedirect = false })
        {
            BaseAddress = new Uri($"http://127.0.0.1:{port}"),
        };
    }

    public Variant Variant { get; }
    public int Port { get; }
    public HttpClient Client { get; }

    public double CpuSeconds => Cpu.SecondsOf(_process.Id);

    public static async Task<Server> StartAsync(Variant variant, Workshop workshop, Places places)
    {
        var port = Shared.Port.Free();
        if (variant.Keeps == Variant.Store.Postgres)
            await places.Postgres!.CreateAsync(variant.Name);
        var place = variant.Keeps switch
        {
            Variant.Store.Redis => places.Redis!.Address,
            Variant.Store.Postgres when variant.OnNode => places.Postgres!.Url(variant.Name),
            Variant.Store.Postgres => places.Postgres!.Address(variant.Name),
            Variant.Store.File => Path.Combine(workshop.Scratch, variant.Name + ".db"),
            _ => "",
        };
        var start = Tool.Start(variant.Command(workshop, port, place));
        start.Environment["NODE_ENV"] = "production";
        var process = Leftovers.Start(start);
        // Read, so that a full pipe stops nobody; complaints are passed on.
        process.OutputDataReceived += (_, _) => { };
        process.ErrorDataReceived += (_, line) =>
        {
            if (!string.IsNullOrEmpty(line.Data))
                Console.Error.WriteLine($"{variant.Name}: {line.Data}");
        };
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();

        var server = new Server(variant, process, port);
        for (var tries = 0; ; tries++)
        {
            try
            {
                await server.Client.GetStringAsync("/plain");
                return server;
            }
            catch (HttpRequestException) when (tries < 400 && !process.HasExited)
            {
                await Task.Delay(50);
            }
            catch
            {
                await server.DisposeAsync();
                throw new InvalidOperationException($"The server of {variant.Name} does not start.");
            }
        }
    }

    /// <summary>Bytes since its start; null where nobody counts them.</summary>
    public async Task<long?> AllocatedAsync() =>
        Variant.OnNode ? null : long.Parse(await Client.GetStringAsync("/allocated"), CultureInfo.InvariantCulture);

    public async ValueTask DisposeAsync()
    {
        Client.Dispose();
        await Leftovers.EndAsync(_process);
    }
}
