namespace Bench.Connections;

/// <summary>One session of a user, with the connections that are open for it.</summary>
internal sealed record Seat(string User, string Cookie, IReadOnlyList<Line> Lines)
{
    /// <summary>What comes before the secret in this library's tokens.</summary>
    public string Id => Cookie[(Cookie.IndexOf('=') + 1)..Cookie.LastIndexOf('.')];
}
