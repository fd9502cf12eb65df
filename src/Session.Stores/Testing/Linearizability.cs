namespace Session.Stores.Testing;

/// <summary>
/// Whether a history of one key can be put in an order that respects real time and that a versioned register answers in:
/// the search of Wing and Gong, with what was tried remembered (Lowe).
/// </summary>
internal static class Linearizability
{
    /// <summary>An operation as its client saw it. `Returned` is long.MaxValue when the client never heard: it may have taken effect at any time after, or never.</summary>
    internal sealed record Operation(
        long Called,
        long Returned,
        string Text,
        Func<Register, (bool IsPossible, Register After)[]> Steps
    )
    {
        /// <summary>Why the store answered with an exception, if it did.</summary>
        public string? Failed { get; init; }
    }

    internal enum Verdict
    {
        Holds,
        Violated,

        /// <summary>Too many orders to try: no violation is claimed that is not proved.</summary>
        Undecided,
    }

    /// <summary>The state of the key: absent, or a version written by an operation.</summary>
    internal readonly record struct Register(long Version, long Operation)
    {
        public static Register Absent => new(-1, 0);
        public bool IsAbsent => Version == -1;
    }

    /// <summary>At most 64 operations.</summary>
    public static Verdict Check(IReadOnlyList<Operation> history)
    {
        var gaveUp = false;
        var tried = new HashSet<(ulong Done, Register State)>();
        var all = history.Count == 64 ? ulong.MaxValue : (1UL << history.Count) - 1;
        var open = 0UL;
        for (var i = 0; i < history.Count; i++)
            if (history[i].Returned == long.MaxValue)
                open |= 1UL << i;

        bool Search(ulong done, Register state)
        {
            // What never returned need not have happened.
            if ((done | open) == all)
                return true;
            if (tried.Count > 500_000)
                return gaveUp = true;
            if (!tried.Add((done, state)))
                return false;

            var firstReturn = long.MaxValue;
            for (var i = 0; i < history.Count; i++)
                if ((done & (1UL << i)) == 0)
                    firstReturn = Math.Min(firstReturn, history[i].Returned);

            for (var i = 0; i < history.Count; i++)
            {
                if ((done & (1UL << i)) != 0 || history[i].Called > firstReturn)
                    continue;
                foreach (var (isPossible, after) in history[i].Steps(state))
                    if (isPossible && Search(done | (1UL << i), after))
                        return true;
            }
            return false;
        }

        return !Search(0, Register.Absent) ? Verdict.Violated
            : gaveUp ? Verdict.Undecided
            : Verdict.Holds;
    }
}
