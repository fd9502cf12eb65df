using Session.AspNetCore;
using Session.CSharp;

namespace Microsoft.AspNetCore.Http;

/// <summary>The session of a request.</summary>
public static class SessionHttpContextExtensions
{
    /// <summary>The session of this request, read from the store on the first call: one store call, none without a token.</summary>
    /// <exception cref="SessionUnavailableException">The store did not answer.</exception>
    /// <exception cref="InvalidOperationException">The request is over: its <c>HttpContext</c> may be another request's.</exception>
    public static ValueTask<Session<T>> GetSessionAsync<T>(
        this HttpContext context,
        CancellationToken cancellationToken = default
    )
        where T : class
    {
        ArgumentNullException.ThrowIfNull(context);
        return Session<T>.OfAsync(context, cancellationToken);
    }

    /// <summary>From now on this request may change sessions although another site had the browser send it.</summary>
    /// <remarks>For what has made sure of its sender in another way, such as the signed answer of an identity provider that comes as a POST. For a whole endpoint: <c>.AllowCrossSite()</c>.</remarks>
    public static void AllowCrossSite(this HttpContext context)
    {
        ArgumentNullException.ThrowIfNull(context);
        CrossSite.vouch(context);
    }
}
