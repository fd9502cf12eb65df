using Session.AspNetCore;

namespace Session.CSharp;

/// <summary>On an endpoint that takes a <see cref="Session{T}"/>.</summary>
/// <param name="DataType">The type of the session data.</param>
public sealed record SessionMetadata(Type DataType) : IUsesSessionMetadata;
