using System.Runtime.CompilerServices;
using Npgsql;
using Session.Engine;

namespace Session.Stores.Postgres;

/// <summary>The records: each verb one statement.</summary>
internal sealed class Records(IStatementRunner runner, Statements statements)
{
    public ValueTask<StoredRecord?> LoadAsync(string id, CancellationToken cancellationToken) =>
        runner.QueryAsync(statements.Load, [Parameter.Of(id)], Rows.One, cancellationToken);

    public ValueTask<List<StoredRecord>> LoadManyAsync(IEnumerable<string> ids, CancellationToken cancellationToken) =>
        runner.QueryAsync(statements.LoadMany, [Parameter.Of(string.Join(' ', ids))], Rows.All, cancellationToken);

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<WriteResult> InsertAsync(StoredRecord record, CancellationToken cancellationToken)
    {
        var subject = Rows.Bytes(record.Subject);
        var isSignIn = subject is not null && record.Kind != RecordKind.Ended;
        var parameters = Rows.Parameters(record, subject, isSignIn ? 1 : 0);
        if (isSignIn)
            parameters[8] = Parameter.Of(Stripes.Of(subject!));

        var sql = statements.Insert(record.IsDurable, isSignIn);
        var reply = await runner
            .ExecuteAsync(sql, parameters, record.IsDurable, cancellationToken)
            .ConfigureAwait(false);
        return !reply.HasCome ? WriteResult.Unknown
            : reply.Rows == 0 ? WriteResult.Conflict
            : Taken(reply);
    }

    /// <summary>Replaces a record, only if its version is the one that is expected.</summary>
    /// <param name="record">What takes the place of the record that is stored.</param>
    /// <param name="expected">Its version.</param>
    /// <param name="mustLast">Whether it must last whatever the record says.</param>
    /// <param name="cancellationToken">Stops it before it is sent.</param>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<WriteResult> ReplaceAsync(
        StoredRecord record,
        long expected,
        bool mustLast,
        CancellationToken cancellationToken
    )
    {
        var subject = Rows.Bytes(record.Subject);
        // Only a record that was not the subject's before can be missing in a list that was read before it.
        var isSignIn =
            subject is not null && record.Kind != RecordKind.Ended && record.Basis?.Subject != record.Subject;
        mustLast |= record.IsDurable;
        var sql = statements.Replace(mustLast, isSignIn);
        while (true)
        {
            var parameters = Rows.Parameters(record, subject, isSignIn ? 2 : 1);
            parameters[8] = Parameter.Of(expected);
            if (isSignIn)
                parameters[9] = Parameter.Of(Stripes.Of(subject!));
            var reply = await runner.ExecuteAsync(sql, parameters, mustLast, cancellationToken).ConfigureAwait(false);
            if (!reply.HasCome)
                return WriteResult.Unknown;
            if (reply.Rows > 0)
                return Taken(reply);

            var stored = await runner
                .QueryAsync(statements.Exists, [Parameter.Of(record.Id)], Rows.Number, CancellationToken.None)
                .ConfigureAwait(false);
            if (stored is null)
                return WriteResult.Absent;
            if (stored != expected)
                return WriteResult.Conflict;
            // It came between the two, and is the one that was meant.
        }
    }

    public ValueTask<List<StoredRecord>> BySubjectAsync(
        string subject,
        string? after,
        int limit,
        CancellationToken cancellationToken
    ) =>
        runner.QueryAsync(
            statements.BySubject,
            [Parameter.Of(Rows.Bytes(subject)), Parameter.Of(after ?? ""), Parameter.Of((long)limit)],
            Rows.All,
            cancellationToken
        );

    public ValueTask<List<StoredRecord>> EnumerateAsync(
        string? after,
        int limit,
        CancellationToken cancellationToken
    ) =>
        runner.QueryAsync(
            statements.Enumerate,
            [Parameter.Of(after ?? ""), Parameter.Of((long)limit)],
            Rows.All,
            cancellationToken
        );

    public async ValueTask<long> CountAsync(CancellationToken cancellationToken) =>
        await runner.QueryAsync(statements.Count, [], Rows.Number, cancellationToken).ConfigureAwait(false) ?? 0;

    /// <summary>A write whose answer is a failure or nothing.</summary>
    public async ValueTask RunAsync(string sql, NpgsqlParameter[] parameters, CancellationToken cancellationToken)
    {
        var reply = await runner.ExecuteAsync(sql, parameters, false, cancellationToken).ConfigureAwait(false);
        if (!reply.HasCome)
            throw new TimeoutException(
                "PostgreSQL did not say whether it carried out a statement: the connection broke, or PostgresStoreOptions.OperationTimeout was over."
            );
    }

    private static WriteResult Taken(WriteReply reply) =>
        reply.IsKept ? WriteResult.Written : WriteResult.Unacknowledged;
}
