using System.Net.WebSockets;

namespace Bench.Connections;

internal static class Sockets
{
    /// <summary>Answers each message, until the client leaves or the token is cancelled.</summary>
    public static async Task EchoAsync(HttpContext context, CancellationToken ended)
    {
        using var socket = await context.WebSockets.AcceptWebSocketAsync();
        var buffer = new byte[1024];
        try
        {
            while (socket.State == WebSocketState.Open)
            {
                var message = await socket.ReceiveAsync(buffer.AsMemory(), ended);
                await socket.SendAsync(buffer.AsMemory(0, message.Count), message.MessageType, true, ended);
            }
        }
        catch (Exception error) when (error is OperationCanceledException or WebSocketException)
        {
            // The session is over, or the client has gone: the connection is cut.
        }
    }
}
