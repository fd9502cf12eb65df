using Session.Engine;

namespace Session.Stores.Postgres;

/// <summary>
/// Hands out what is due. The index has when a record is to be looked at, which may be earlier than when it is due: what a sweep
/// finds too early gets its place first, until the first ones are all where they belong.
/// </summary>
internal sealed class OverdueClaims(IStatementRunner runner, Statements statements)
{
    private const int MostAtOnce = 1000;

    public async ValueTask<IReadOnlyList<StoredRecord>> ClaimAsync(
        DateTimeOffset now,
        TimeSpan lease,
        int limit,
        CancellationToken cancellationToken
    )
    {
        var claimed = new List<StoredRecord>();
        while (claimed.Count < limit)
        {
            long count = Math.Min(limit - claimed.Count, MostAtOnce);
            while (await StraightenAsync(now, count, cancellationToken).ConfigureAwait(false)) { }

            var chunk = await runner
                .QueryAsync(
                    statements.Claim,
                    [Parameter.Of(now.UtcTicks), Parameter.Of(count), Parameter.Of((now + lease).UtcTicks)],
                    Rows.All,
                    cancellationToken
                )
                .ConfigureAwait(false);
            // What an UPDATE returns is in no order.
            claimed.AddRange(chunk.OrderBy(record => record.DueAt).ThenBy(record => record.Id, StringComparer.Ordinal));
            if (chunk.Count < count)
                break;
        }
        return claimed;
    }

    /// <summary>Whether one of the first was moved.</summary>
    private async ValueTask<bool> StraightenAsync(DateTimeOffset now, long count, CancellationToken cancellationToken)
    {
        var reply = await runner
            .ExecuteAsync(
                statements.Straighten,
                [Parameter.Of(now.UtcTicks), Parameter.Of(count)],
                false,
                cancellationToken
            )
            .ConfigureAwait(false);
        return reply.Rows > 0;
    }
}
