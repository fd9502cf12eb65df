namespace Session.Stores.Testing;

internal enum Verb
{
    Insert,
    Load,
    Replace,
    Touch,
    Remove,
    BySubject,
    Enumerate,
    Count,
    Claim,
    Reschedule,
    RemoveVersion,
}

/// <summary>One random command. What it means exactly follows from the model when it runs, so that it still means something when others are left out.</summary>
/// <param name="Verb">The verb.</param>
/// <param name="Id">Which record.</param>
/// <param name="Subject">Whose, or null.</param>
/// <param name="Kind">0 to 2, for new records.</param>
/// <param name="Off">How far the given version is from the stored one; mostly 0.</param>
/// <param name="Ticks">A time, from the start or from now.</param>
/// <param name="Limit">Page size, or how many to claim.</param>
/// <param name="Body">The body, by its seed.</param>
internal sealed record Command(
    Verb Verb,
    string Id,
    string? Subject,
    int Kind,
    int Off,
    long Ticks,
    int Limit,
    int Body
)
{
    /// <param name="random">Chooses.</param>
    /// <param name="lists">Whether the store lists, counts and claims.</param>
    /// <param name="touches">Whether touch does anything.</param>
    /// <param name="removesVersion">Whether the store is <see cref="Session.Engine.IRemovesVersion"/>.</param>
    public static Command Random(Random random, bool lists, bool touches, bool removesVersion)
    {
        while (true)
        {
            var verb = (Verb)random.Next(11);
            var isThere = verb switch
            {
                Verb.BySubject or Verb.Enumerate or Verb.Count or Verb.Claim or Verb.Reschedule => lists,
                Verb.Touch => touches,
                Verb.RemoveVersion => removesVersion,
                _ => true,
            };
            if (!isThere)
                continue;

            return new Command(
                verb,
                "id-" + (char)('a' + random.Next(8)),
                random.Next(3) switch
                {
                    0 => null,
                    1 => "ada",
                    _ => "bob",
                },
                random.Next(3),
                random.Next(6) switch
                {
                    0 => -1,
                    1 => 1,
                    _ => 0,
                },
                // No two alike, so that the order of claims is fixed.
                random.NextInt64(TimeSpan.TicksPerMinute * 20),
                1 + random.Next(5),
                random.Next()
            );
        }
    }

    /// <summary>Whether a removal names another operation than the stored one.</summary>
    public bool IsOfAnother => Body % 4 == 0;

    public override string ToString() =>
        Verb switch
        {
            Verb.Insert => $"insert {Id} subject {Subject ?? "-"} kind {Kind} due +{TimeSpan.FromTicks(Ticks)}",
            Verb.Replace =>
                $"replace {Id} version {Off:+0;-0;+0} subject {Subject ?? "-"} kind {Kind} due +{TimeSpan.FromTicks(Ticks)}",
            Verb.Touch => $"touch {Id} at {TimeSpan.FromTicks(Ticks)}",
            Verb.BySubject => $"by subject {Subject ?? "ada"}, {Limit} a page",
            Verb.Enumerate => $"enumerate, {Limit} a page",
            Verb.Count => "count",
            Verb.Claim => $"{TimeSpan.FromTicks(Ticks / 4)} later, claim {Limit}",
            Verb.Reschedule => $"reschedule {Id} version {Off:+0;-0;+0} to +{TimeSpan.FromTicks(Ticks)}",
            Verb.RemoveVersion => $"remove {Id} version {Off:+0;-0;+0}{(IsOfAnother ? " by another operation" : "")}",
            _ => $"{Verb.ToString().ToLowerInvariant()} {Id}",
        };
}
