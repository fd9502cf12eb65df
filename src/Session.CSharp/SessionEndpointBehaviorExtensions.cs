using Session.AspNetCore;
using Session.CSharp;

namespace Microsoft.AspNetCore.Builder;

/// <summary>What requests to an endpoint mean for their session.</summary>
public static class SessionEndpointBehaviorExtensions
{
    /// <summary>Requests to the endpoint do not count as activity: they open the session, move none of its deadlines, not even by a write, and issue no token.</summary>
    /// <remarks>For what a page asks again and again by itself: a page that nobody looks at would otherwise keep its session until the absolute timeout.</remarks>
    /// <typeparam name="TBuilder">The kind of endpoint.</typeparam>
    public static TBuilder NoTouch<TBuilder>(this TBuilder builder)
        where TBuilder : IEndpointConventionBuilder
    {
        builder.Add(endpoint => endpoint.Metadata.Add(new SessionNotTouched()));
        return builder;
    }

    /// <summary>The endpoint is meant for requests that pages of other sites have the browser send: they may change, begin and end sessions there.</summary>
    /// <remarks>Where SameSite keeps the cookie back, a session that begins takes the place of the browser's own. Give the endpoint another defence, or nothing that needs one.</remarks>
    /// <typeparam name="TBuilder">The kind of endpoint.</typeparam>
    /// <param name="builder">The endpoint, or a group of them.</param>
    /// <param name="origins">From which origins, such as <c>https://shop.example</c>; with none, from every one.</param>
    /// <exception cref="ArgumentException">One of them is no origin.</exception>
    public static TBuilder AllowCrossSite<TBuilder>(this TBuilder builder, params string[] origins)
        where TBuilder : IEndpointConventionBuilder
    {
        var allowed = new CrossSiteAllowed(origins);
        builder.Add(endpoint => endpoint.Metadata.Add(allowed));
        return builder;
    }
}
