using System.Net;
using System.Net.Sockets;

namespace Bench.Connections;

/// <summary>Between a node and Redis. While it is cut, the connection that notices come by hangs: nothing that Redis says there arrives.</summary>
internal sealed class Relay : IDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly int _server;
    private readonly Lock _gate = new();
    private readonly List<TcpClient> _channels = [];
    private volatile bool _isCut;

    public Relay(int server)
    {
        _server = server;
        _listener.Start();
        _ = Task.Run(AcceptAsync);
    }

    public string Address => _listener.LocalEndpoint.ToString()!;

    public void Cut() => _isCut = true;

    /// <summary>What hung breaks, and the node may connect anew.</summary>
    public void Mend()
    {
        _isCut = false;
        lock (_gate)
        {
            foreach (var channel in _channels)
                channel.Dispose();
            _channels.Clear();
        }
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
                _ = ServeAsync(await _listener.AcceptTcpClientAsync());
        }
        catch (Exception error) when (error is SocketException or ObjectDisposedException) { }
    }

    private async Task ServeAsync(TcpClient node)
    {
        using var server = new TcpClient { NoDelay = true };
        using (node)
        {
            node.NoDelay = true;
            await server.ConnectAsync(IPAddress.Loopback, _server);
            var isChannel = false;
            var asking = PumpAsync(
                node.GetStream(),
                server.GetStream(),
                bytes =>
                {
                    if (!isChannel && bytes.Span.IndexOf("SUBSCRIBE"u8) >= 0)
                    {
                        Volatile.Write(ref isChannel, true);
                        lock (_gate)
                            _channels.Add(node);
                    }
                    return true;
                }
            );
            var answering = PumpAsync(
                server.GetStream(),
                node.GetStream(),
                _ => !(_isCut && Volatile.Read(ref isChannel))
            );
            await Task.WhenAny(asking, answering);
        }
    }

    private static async Task PumpAsync(NetworkStream from, NetworkStream into, Func<ReadOnlyMemory<byte>, bool> passes)
    {
        var buffer = new byte[65536];
        try
        {
            while (await from.ReadAsync(buffer) is var count && count > 0)
                if (passes(buffer.AsMemory(0, count)))
                    await into.WriteAsync(buffer.AsMemory(0, count));
        }
        catch (Exception error) when (error is IOException or ObjectDisposedException) { }
    }

    public void Dispose() => _listener.Dispose();
}
