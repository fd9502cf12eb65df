using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Bench.Connections;

/// <summary>One WebSocket as a client has it: with as little of its own as goes, for there are thousands, and each close has its time.</summary>
internal sealed class Line : IDisposable
{
    private const char EndOfHubMessage = '\u001e';
    private readonly Socket _socket;
    private readonly bool _isHub;
    private readonly TaskCompletionSource _closed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly byte[] _buffer = new byte[512];
    private int _length;
    private long _closedAt;
    private int _answers;

    private Line(Socket socket, int port, bool isHub) => (_socket, Port, _isHub) = (socket, port, isHub);

    /// <summary>Of its node.</summary>
    public int Port { get; }

    public Task Closed => _closed.Task;

    /// <summary>By the clock of <see cref="Stopwatch"/>; 0 while it is open.</summary>
    public long ClosedAt => Volatile.Read(ref _closedAt);

    public bool IsOpen => ClosedAt == 0;

    public static async Task<Line> OpenAsync(int port, string path, string cookie)
    {
        var line = new Line(
            new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true },
            port,
            path == "/hub"
        );
        await line._socket.ConnectAsync(new IPEndPoint(IPAddress.Loopback, port));
        var request =
            $"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            + $"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nCookie: {cookie}\r\n\r\n";
        await line._socket.SendAsync(Encoding.ASCII.GetBytes(request));
        await line.ReadHeadAsync();
        _ = Task.Run(line.ReadAsync);
        if (line._isHub)
            await line.SendAsync("""{"protocol":"json","version":1}""");
        return line;
    }

    /// <summary>Whether the server still answers what the client says.</summary>
    public async Task<bool> AnswersAsync()
    {
        var before = Volatile.Read(ref _answers);
        try
        {
            await SendAsync(_isHub ? """{"type":1,"invocationId":"1","target":"Echo","arguments":["tea"]}""" : "tea");
        }
        catch (SocketException)
        {
            return false;
        }
        for (var tries = 0; tries < 500 && IsOpen && Volatile.Read(ref _answers) == before; tries++)
            await Task.Delay(10);
        return Volatile.Read(ref _answers) > before;
    }

    private async Task ReadHeadAsync()
    {
        var end = "\r\n\r\n"u8.ToArray();
        int at;
        while ((at = _buffer.AsSpan(0, _length).IndexOf(end)) < 0)
        {
            var count = await _socket.ReceiveAsync(_buffer.AsMemory(_length));
            if (count == 0)
                throw new IOException("The server closed the connection before it was open.");
            _length += count;
        }
        var status = Encoding.ASCII.GetString(_buffer, 9, 3);
        if (status != "101")
            throw new IOException($"A connection was refused: {status}.");
        Take(at + end.Length);
    }

    private async Task ReadAsync()
    {
        try
        {
            while (!ReadFrames())
            {
                var count = await _socket.ReceiveAsync(_buffer.AsMemory(_length));
                if (count == 0)
                    break;
                _length += count;
            }
        }
        catch (Exception error) when (error is SocketException or ObjectDisposedException) { }
        Volatile.Write(ref _closedAt, Stopwatch.GetTimestamp());
        _closed.SetResult();
        _socket.Dispose();
    }

    /// <summary>True: one of them closes the connection. All frames of these servers are short.</summary>
    private bool ReadFrames()
    {
        while (_length >= 2 && _length >= 2 + (_buffer[1] & 0x7f))
        {
            var size = 2 + (_buffer[1] & 0x7f);
            var kind = _buffer[0] & 0x0f;
            if (kind == 8)
                return true;
            if (kind is 1 or 2 && _buffer.AsSpan(2, size - 2).IndexOf("tea"u8) >= 0)
                Interlocked.Increment(ref _answers);
            Take(size);
        }
        return false;
    }

    private void Take(int count)
    {
        _buffer.AsSpan(count, _length - count).CopyTo(_buffer);
        _length -= count;
    }

    private async Task SendAsync(string text)
    {
        var payload = Encoding.UTF8.GetBytes(_isHub ? text + EndOfHubMessage : text);
        // Masked, as a client's has to be: with zeros, which change nothing.
        byte[] frame = [0x81, (byte)(0x80 | payload.Length), 0, 0, 0, 0, .. payload];
        await _socket.SendAsync(frame);
    }

    public void Dispose() => _socket.Dispose();
}
