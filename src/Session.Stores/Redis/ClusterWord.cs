using System.Globalization;
using System.Net;

namespace Session.Stores.Redis;

/// <summary>The Cluster as one of its nodes knows it: what <c>CLUSTER NODES</c> says.</summary>
/// <param name="Server">The node, as the driver knows it.</param>
/// <param name="Id">Its name in the Cluster.</param>
/// <param name="Owners">Which slots belong to whom, by the names of the primaries.</param>
internal sealed record ClusterWord(EndPoint Server, string Id, IReadOnlyList<(int From, int To, string Owner)> Owners)
{
    private const int SlotsFrom = 8;

    /// <summary>How many primaries there are that have slots: the others have no vote.</summary>
    public int Voters { get; } = Owners.Select(range => range.Owner).Distinct(StringComparer.Ordinal).Count();

    /// <summary>Whether it has slots itself.</summary>
    public bool HasVote => Owners.Any(range => range.Owner == Id);

    /// <summary>Who has this slot; null: nobody.</summary>
    public string? OwnerOf(int slot) => Owners.FirstOrDefault(range => range.From <= slot && slot <= range.To).Owner;

    /// <summary>Reads the answer. Null: it does not say which node it is of.</summary>
    public static ClusterWord? Parse(EndPoint server, string text)
    {
        string? self = null;
        var owners = new List<(int, int, string)>();
        foreach (var line in text.Split('\n', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries))
        {
            // The name, the address, flags, whose replica, three numbers, the state of the link; and then the slots.
            var parts = line.Split(' ');
            if (parts.Length < SlotsFrom)
                continue;
            if (parts[2].Split(',').Contains("myself", StringComparer.Ordinal))
                self = parts[0];
            foreach (var slots in parts.AsSpan(SlotsFrom))
                if (Range(slots) is { } range)
                    owners.Add((range.From, range.To, parts[0]));
        }

        return self is null ? null : new ClusterWord(server, self, owners);
    }

    /// <summary>Null: a slot on its way, which belongs to whoever has it still.</summary>
    private static (int From, int To)? Range(string slots)
    {
        var dash = slots.IndexOf('-', StringComparison.Ordinal);
        return
            int.TryParse(dash < 0 ? slots : slots[..dash], CultureInfo.InvariantCulture, out var from)
            && int.TryParse(dash < 0 ? slots : slots[(dash + 1)..], CultureInfo.InvariantCulture, out var to)
            ? (from, to)
            : null;
    }
}
