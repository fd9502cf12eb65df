using Session.Engine;

namespace Session.Stores.Postgres;

/// <summary>The records as a transaction of the application's sees them, for the ends of sessions. All that it writes must last.</summary>
internal sealed class TransactionStore(IStatementRunner runner, Statements statements) : ISessionStore
{
    private readonly Records _records = new(runner, statements);

    public ValueTask<StoredRecord?> Load(string id, CancellationToken cancellationToken) =>
        _records.LoadAsync(id, cancellationToken);

    public ValueTask<WriteResult> Replace(StoredRecord record, long expected, CancellationToken cancellationToken) =>
        _records.ReplaceAsync(record, expected, mustLast: true, cancellationToken);

    public async ValueTask<StoredPage> BySubject(
        string subject,
        string? after,
        int limit,
        CancellationToken cancellationToken
    ) =>
        Paging.Page(
            await _records
                .BySubjectAsync(subject, after, Paging.OneMoreThan(limit), cancellationToken)
                .ConfigureAwait(false),
            limit
        );

    // It decides nothing, and may wait until the transaction is over.
    public ValueTask Touch(string id, DateTimeOffset at, CancellationToken cancellationToken) =>
        ValueTask.CompletedTask;

    public ValueTask<StoreReport> Prepare(CancellationToken cancellationToken) => throw OnlyEnds();

    public ValueTask<WriteResult> Insert(StoredRecord record, CancellationToken cancellationToken) => throw OnlyEnds();

    public ValueTask Remove(string id, CancellationToken cancellationToken) => throw OnlyEnds();

    public ValueTask<StoredPage> Enumerate(string? after, int limit, CancellationToken cancellationToken) =>
        throw OnlyEnds();

    public ValueTask<long> Count(CancellationToken cancellationToken) => throw OnlyEnds();

    public ValueTask<IReadOnlyList<StoredRecord>> ClaimOverdue(
        DateTimeOffset now,
        TimeSpan lease,
        int limit,
        CancellationToken cancellationToken
    ) => throw OnlyEnds();

    public ValueTask Reschedule(string id, long version, DateTimeOffset dueAt, CancellationToken cancellationToken) =>
        throw OnlyEnds();

    private static NotSupportedException OnlyEnds() => new("Inside a transaction sessions can be listed and ended.");
}
