using Session.AspNetCore;

namespace Session.CSharp;

/// <summary>Requests to the endpoint do not count as activity: they open the session, move none of its deadlines, not even by a write, and issue no token.</summary>
/// <remarks>For what a page asks again and again by itself: a page that nobody looks at would otherwise keep its session until the absolute timeout.</remarks>
[AttributeUsage(AttributeTargets.Class | AttributeTargets.Method)]
public sealed class NoTouchAttribute : Attribute, INoTouchMetadata;
