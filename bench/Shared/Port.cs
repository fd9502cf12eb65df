using System.Net;
using System.Net.Sockets;

namespace Bench.Shared;

public static class Port
{
    public static int Free()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}
