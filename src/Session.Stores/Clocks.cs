using System.Globalization;

namespace Session.Stores;

/// <summary>
/// Each node judges by its own clock, and its sweeper ends what is over by it: one that is hours ahead ends the sessions of all
/// nodes. The server's clock is one that each of them can see.
/// </summary>
internal static class Clocks
{
    /// <summary>NTP keeps clocks within a fraction of a second; this much is a mistake.</summary>
    private static readonly TimeSpan s_most = TimeSpan.FromSeconds(5);

    /// <summary>A sentence for the log, or null where the clocks agree.</summary>
    /// <param name="server">Its name in the sentence.</param>
    /// <param name="theirs">The server's time.</param>
    /// <param name="before">The time here before the server was asked.</param>
    public static string? NoteOf(string server, DateTimeOffset theirs, DateTimeOffset before)
    {
        // What it takes to ask is no difference.
        var after = DateTimeOffset.UtcNow;
        if (theirs < before - s_most)
            return Sentence(before - theirs, "ahead of");
        return theirs > after + s_most ? Sentence(theirs - after, "behind") : null;

        string Sentence(TimeSpan difference, string how) =>
            string.Create(
                CultureInfo.InvariantCulture,
                $"The clock of this machine is {TimeSpan.FromSeconds(Math.Round(difference.TotalSeconds)):d' days 'hh':'mm':'ss} {how} that of {server}. Each node ends sessions by its own clock, those of the others as well: have all of them follow one time (NTP)."
            );
    }
}
