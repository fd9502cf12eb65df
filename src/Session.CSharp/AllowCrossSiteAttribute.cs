using Session.AspNetCore;

namespace Session.CSharp;

/// <summary>The endpoint is meant for requests that pages of other sites have the browser send: they may change, begin and end sessions there.</summary>
/// <remarks>Where SameSite keeps the cookie back, a session that begins takes the place of the browser's own. Give the endpoint another defence, or nothing that needs one.</remarks>
[AttributeUsage(AttributeTargets.Class | AttributeTargets.Method)]
public sealed class AllowCrossSiteAttribute : Attribute, IAllowCrossSiteMetadata
{
    /// <summary>For these origins, such as <c>https://shop.example</c>; with none, for every one.</summary>
    /// <exception cref="ArgumentException">One of them is no origin.</exception>
    public AllowCrossSiteAttribute(params string[] origins) =>
        Origins = ((IAllowCrossSiteMetadata)new CrossSiteAllowed(origins)).Origins;

    /// <summary>From which origins; empty: from every one.</summary>
    public IReadOnlyList<string> Origins { get; }
}
