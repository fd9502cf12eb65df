using Session.AspNetCore;
using Session.Testing;

namespace Microsoft.AspNetCore.TestHost;

/// <summary>Clients of a server under test that somebody has signed in with already.</summary>
public static class SignedInServerExtensions
{
    /// <summary>A client that <paramref name="subject"/> has signed in with, of a server that a test has set up by itself; for an <c>IHost</c>: <c>host.GetTestServer()</c>.</summary>
    /// <remarks>The session is a real one, begun on the application's own engine and store. The client keeps its cookies as a browser on HTTPS would. Redirects are not followed.</remarks>
    /// <param name="server">The application's server.</param>
    /// <param name="subject">Whose session it is.</param>
    /// <param name="data">The session's data at the beginning.</param>
    /// <typeparam name="T">The session data.</typeparam>
    /// <exception cref="ArgumentException">No session can be of this subject.</exception>
    /// <exception cref="InvalidOperationException">The application has no sessions of this data.</exception>
    /// <exception cref="SessionFailedException">The store did not take the session, or a limit refuses it.</exception>
    public static HttpClient CreateSignedInClient<T>(this TestServer server, string subject, T data)
        where T : class
    {
        ArgumentNullException.ThrowIfNull(server);
        var jar = SignedIn.Begin(server.Services, subject, data);
        jar.InnerHandler = server.CreateHandler();
        return new HttpClient(jar) { BaseAddress = server.BaseAddress };
    }
}
