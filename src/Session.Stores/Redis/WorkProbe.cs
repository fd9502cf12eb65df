using Session.Engine;
using StackExchange.Redis;

namespace Session.Stores.Redis;

/// <summary>
/// Does once all that the store will have to do, with a record of its own under keys of its own: what the server forbids or does
/// not know is seen at the start, and not at the first sign-in.
/// </summary>
internal sealed class WorkProbe(RedisLink link, RedisStoreOptions options)
{
    /// <summary>Null: all of it works.</summary>
    /// <exception cref="InvalidOperationException">Something is missing that will not come by itself.</exception>
    public async Task<string?> Run(string where, CancellationToken cancellationToken)
    {
        try
        {
            return await Work(cancellationToken).ConfigureAwait(false)
                ? null
                : $"Redis at {where} answers too slowly for OperationTimeout ({options.OperationTimeout.TotalSeconds:0.#} s): it was not checked what it lets this program do.";
        }
        catch (Exception error)
            when (Cause(error) is RedisServerException && Missing(error.Message, where) is { } sentence)
        {
            throw new InvalidOperationException(sentence, error);
        }
        catch (Exception error) when (Cause(error) is RedisCommandException)
        {
            throw new InvalidOperationException(
                $"The driver cannot send to Redis at {where} what sessions need ({error.Message}): change the connection string, or RedisStoreOptions.Database.",
                error
            );
        }
        catch (Exception error) when (Cause(error) is RedisException or TimeoutException)
        {
            return $"Redis at {where} cannot keep sessions yet ({error.Message}): requests that need one get 503 until it can.";
        }
    }

    private static Exception? Cause(Exception error) => error is StoreRefusedException ? error.InnerException : error;

    private async Task<bool> Work(CancellationToken cancellationToken)
    {
        var keys = new RecordKeys($"{options.Prefix}probe:{Guid.NewGuid():N}:");
        var records = new Records(link, keys, options.JanitorMargin);
        var indexes = new RecordIndexes(link, keys, records);
        var writes = new RecordWrites(link, records, indexes, replicas: null);
        var claims = new OverdueClaims(link, keys, records, indexes);
        var listings = new Listings(link, keys, records);
        var removals = new RecordRemovals(link, records, indexes);
        var now = DateTimeOffset.UtcNow;
        StoredRecord Record(long version, string subject) =>
            new("probe", version, RecordKind.Live, now, now.AddMinutes(-1), subject, version, new byte[1], true);

        var route = await link.Ready(cancellationToken).ConfigureAwait(false);
        try
        {
            var inserted = await writes.Insert(Record(1, "a"), cancellationToken).ConfigureAwait(false);
            var next = new StoredRecord("probe", 2, RecordKind.Live, now, now.AddMinutes(-1), "a", 2, new byte[1]);
            var replaced = await writes.Replace(next, 1, cancellationToken).ConfigureAwait(false);
            var handedOver = await writes.Replace(Record(3, "b"), 2, cancellationToken).ConfigureAwait(false);
            await link.WithinDeadline(records.Touched(route.Database, "probe", now.AddSeconds(1)))
                .ConfigureAwait(false);
            await listings.BySubject("b", null, 1, cancellationToken).ConfigureAwait(false);
            await listings.Enumerate(null, 1, cancellationToken).ConfigureAwait(false);
            await listings.Count(cancellationToken).ConfigureAwait(false);
            await claims.ClaimOverdue(now, TimeSpan.FromMinutes(1), 1, cancellationToken).ConfigureAwait(false);
            await claims.Reschedule("probe", 3, now.AddMinutes(1), cancellationToken).ConfigureAwait(false);
            await removals.RemoveVersion("probe", 3, 3, cancellationToken).ConfigureAwait(false);
            if (route.Waiting is { } waiting)
                await link.WithinDeadline(
                        waiting
                            .GetServer(keys.Record("probe"), flags: CommandFlags.DemandMaster)
                            .ExecuteAsync("WAIT", 0, 1)
                    )
                    .ConfigureAwait(false);
            return inserted != WriteResult.Unknown
                && replaced != WriteResult.Unknown
                && handedOver != WriteResult.Unknown;
        }
        finally
        {
            try
            {
                await removals.Remove("probe", cancellationToken).ConfigureAwait(false);
            }
            catch (Exception error) when (error is RedisException or RedisCommandException or TimeoutException)
            {
                // What was to be found out is on its way to the caller; what is left of the probe has a time to live.
            }
        }
    }

    private static string? Missing(string message, string where)
    {
        if (ConnectionTrouble.IsRefusedPassword(message))
            return $"Redis at {where} wants a password ({message}): put it into the connection string.";
        if (
            message.Contains("NOPERM", StringComparison.Ordinal)
            || message.Contains("ACL failure", StringComparison.OrdinalIgnoreCase)
            || message.Contains("can't run this command", StringComparison.OrdinalIgnoreCase)
        )
            return $"Redis at {where} forbids its user what sessions need ({message}): grant it; the README of this store has a line with all that is needed.";
        if (message.Contains("Lua scripting support disabled", StringComparison.OrdinalIgnoreCase))
            return $"The server at {where} runs no scripts ({message}): start Garnet with --lua --lua-transaction-mode.";
        if (message.Contains("unknown command", StringComparison.OrdinalIgnoreCase))
            return $"Redis at {where} does not know a command that sessions need ({message}): has it been renamed or switched off?";
        if (
            message.Contains("DB index", StringComparison.OrdinalIgnoreCase)
            || message.Contains("SELECT", StringComparison.Ordinal)
        )
            return $"Redis at {where} has no such database ({message}): change RedisStoreOptions.Database, or its setting databases. A cluster has 0 only.";
        return null;
    }
}
