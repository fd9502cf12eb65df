using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;

namespace Session.Stores.Testing;

/// <summary>
/// Stands between a store and its server, lets so many requests through, and is gone from then on: to the server this looks as if
/// the store's process had been killed between two requests. For <see cref="StoreContractOptions.Crashing"/>.
/// </summary>
public sealed class CrashingProxy : IAsyncDisposable
{
    private readonly IPEndPoint _server;
    private readonly Framing _framing;
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _stopped = new();
    private readonly ConcurrentBag<TcpClient> _clients = [];
    private readonly ConcurrentBag<Task> _served = [];
    private int _left;

    /// <summary>Where the first request in some bytes ends.</summary>
    /// <param name="bytes">What a client has sent so far.</param>
    /// <param name="counts">Whether it is one of the store's requests; what a driver says by itself is none.</param>
    /// <returns>The length of the first request; 0 as long as it is not whole.</returns>
    public delegate int Framing(ReadOnlyMemory<byte> bytes, out bool counts);

    /// <summary>Listens at once.</summary>
    /// <param name="server">The server.</param>
    /// <param name="framing">Tells the requests of its protocol apart.</param>
    /// <param name="requests">How many of them get through.</param>
    public CrashingProxy(IPEndPoint server, Framing framing, int requests)
    {
        ArgumentNullException.ThrowIfNull(server);
        ArgumentNullException.ThrowIfNull(framing);
        ArgumentOutOfRangeException.ThrowIfNegative(requests);
        (_server, _framing, _left) = (server, framing, requests);
        _listener.Start();
        Port = ((IPEndPoint)_listener.LocalEndpoint).Port;
        _stopped.Token.Register(_listener.Stop);
        _ = Task.Run(() => Ignoring(Accept));
    }

    /// <summary>The port of 127.0.0.1 at which the store finds it.</summary>
    public int Port { get; }

    /// <summary>Lets nothing through any more, and waits until the server has carried out what came through.</summary>
    public async ValueTask DisposeAsync()
    {
        await _stopped.CancelAsync().ConfigureAwait(false);
        foreach (var client in _clients)
            client.Dispose();
        await Task.WhenAll(_served).ConfigureAwait(false);
    }

    private async Task Accept()
    {
        while (true)
        {
            var client = await _listener.AcceptTcpClientAsync(_stopped.Token).ConfigureAwait(false);
            client.NoDelay = true;
            _clients.Add(client);
            _served.Add(Ignoring(() => Serve(client)));
        }
    }

    private async Task Serve(TcpClient client)
    {
        using var upstream = new TcpClient { NoDelay = true };
        await upstream.ConnectAsync(_server).ConfigureAwait(false);
        var (toServer, toClient) = (upstream.GetStream(), client.GetStream());
        var answers = Ignoring(() => HandBack(toServer, toClient));
        await Ignoring(() => HandOn(toClient, toServer)).ConfigureAwait(false);
        client.Dispose();
        upstream.Client.Shutdown(SocketShutdown.Send);
        await answers.ConfigureAwait(false);
    }

    // To the end, also when nobody listens any more: what was sent has been carried out by then.
    private async Task HandBack(NetworkStream server, NetworkStream client)
    {
        var bytes = new byte[65_536];
        while (await server.ReadAsync(bytes).ConfigureAwait(false) is var length and > 0)
            if (!_stopped.IsCancellationRequested)
                await Ignoring(() => client.WriteAsync(bytes.AsMemory(0, length)).AsTask()).ConfigureAwait(false);
    }

    private async Task HandOn(NetworkStream client, NetworkStream server)
    {
        var waiting = new List<byte>();
        var bytes = new byte[65_536];
        while (await client.ReadAsync(bytes, _stopped.Token).ConfigureAwait(false) is var length and > 0)
        {
            waiting.AddRange(bytes.AsSpan(0, length));
            var whole = waiting.ToArray().AsMemory();
            while (_framing(whole, out var counts) is var until and > 0)
            {
                if (!MayPass(counts))
                    return;
                await server.WriteAsync(whole[..until]).ConfigureAwait(false);
                whole = whole[until..];
            }

            waiting = [.. whole.Span];
        }
    }

    private bool MayPass(bool counts)
    {
        if ((counts ? Interlocked.Decrement(ref _left) : Volatile.Read(ref _left)) >= 0)
            return true;
        _stopped.Cancel();
        return false;
    }

    private static async Task Ignoring(Func<Task> work)
    {
        try
        {
            await work().ConfigureAwait(false);
        }
        catch (Exception error)
            when (error is IOException or SocketException or ObjectDisposedException or OperationCanceledException)
        {
            // The other side is gone, as it may be at any time.
        }
    }
}
