namespace Session.Stores;

/// <summary>How long a server keeps a record for which no sweeper ever comes.</summary>
internal static class Lifetime
{
    /// <summary>Ten years.</summary>
    public static readonly TimeSpan Longest = TimeSpan.FromDays(3650);

    /// <summary>The time from the last request to when the record is due: never negative, and at most ten years.</summary>
    public static TimeSpan Between(DateTimeOffset lastSeen, DateTimeOffset dueAt)
    {
        var rest = dueAt - lastSeen;
        return rest < TimeSpan.Zero ? TimeSpan.Zero
            : rest > Longest ? Longest
            : rest;
    }

    /// <param name="margin">The setting: how long after its time a record stays.</param>
    /// <param name="options">The name of the class that has it, for the sentence.</param>
    public static void RequireMargin(TimeSpan margin, string options) =>
        OptionChecks.Require(
            margin >= TimeSpan.FromMinutes(10) && margin <= Longest,
            $"{options}.JanitorMargin must be between ten minutes and ten years."
        );
}
