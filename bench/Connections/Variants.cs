namespace Bench.Connections;

internal static class Variants
{
    public const string Ours = "ours";
    public const string OurHub = "our-hub";

    /// <summary>Its connections have their session, and do not ask for its end.</summary>
    public const string Unwatched = "unwatched";
    public const string Bare = "bare";
    public const string Cookies = "cookies";
    public const string FrameworkSession = "framework-session";
}
