using Session.AspNetCore;

namespace Session.CSharp;

/// <summary>The answers of the endpoint are the same for everybody, whatever session they look at: the output cache and shared caches may keep them.</summary>
/// <remarks>Without it the response to a request that opened a session is kept by none. One that hands out a token is kept by none even so.</remarks>
[AttributeUsage(AttributeTargets.Class | AttributeTargets.Method)]
public sealed class AllowSharedCachingAttribute : Attribute, IAllowSharedCachingMetadata;
