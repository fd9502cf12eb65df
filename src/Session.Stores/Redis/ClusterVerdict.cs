using System.Net;

namespace Session.Stores.Redis;

/// <summary>What the nodes of a Cluster say.</summary>
internal sealed class ClusterVerdict(IReadOnlyList<ClusterWord> words)
{
    private readonly ClusterWord[] _votes = [.. words.Where(word => word.HasVote)];

    /// <summary>Whether most primaries have answered.</summary>
    public bool HasMajority => _votes.Length >= Needed;

    private int Needed => words.Select(word => word.Voters).DefaultIfEmpty().Max() / 2 + 1;

    /// <summary>Who has this slot; null: most primaries do not agree, or it did not answer.</summary>
    public EndPoint? OwnerOf(int slot) =>
        Name(slot) is { } owner ? words.FirstOrDefault(word => word.Id == owner)?.Server : null;

    /// <summary>Whether this server has this slot.</summary>
    public bool Has(EndPoint server, int slot) =>
        Name(slot) is { } owner && words.Any(word => word.Id == owner && word.Server.Equals(server));

    private string? Name(int slot) =>
        _votes
            .Select(word => word.OwnerOf(slot))
            .OfType<string>()
            .GroupBy(owner => owner, StringComparer.Ordinal)
            .FirstOrDefault(group => group.Count() >= Needed)
            ?.Key;
}
