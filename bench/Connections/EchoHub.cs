using Microsoft.AspNetCore.SignalR;

namespace Bench.Connections;

internal sealed class EchoHub : Hub
{
    public string Echo(string said) => said;
}
