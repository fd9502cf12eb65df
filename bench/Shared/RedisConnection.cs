using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Bench.Shared;

/// <summary>As much of the protocol as is needed to ask for statistics.</summary>
public sealed class RedisConnection : IDisposable
{
    private readonly TcpClient _client;
    private readonly StreamReader _reader;

    private RedisConnection(TcpClient client)
    {
        _client = client;
        _reader = new StreamReader(client.GetStream(), Encoding.Latin1);
    }

    public static async Task<RedisConnection> OpenAsync(int port)
    {
        var client = new TcpClient();
        await client.ConnectAsync(IPAddress.Loopback, port);
        return new RedisConnection(client);
    }

    public async Task<string> AskAsync(string command)
    {
        await _client.GetStream().WriteAsync(Encoding.Latin1.GetBytes(command + "\r\n"));
        var head = await ReadLineAsync();
        if (!head.StartsWith('$') || head == "$-1")
            return head;

        var text = new char[int.Parse(head[1..], CultureInfo.InvariantCulture) + 2];
        await _reader.ReadBlockAsync(text);
        return new string(text, 0, text.Length - 2);
    }

    public async Task<string> ReadLineAsync() =>
        await _reader.ReadLineAsync() ?? throw new IOException("Redis closed the connection.");

    public void Dispose()
    {
        _reader.Dispose();
        _client.Dispose();
    }
}
