using System.Runtime.CompilerServices;
using Npgsql;
using Session.Engine;

namespace Session.Stores.Postgres;

/// <summary>The records: each verb one statement.</summary>
internal sealed class Records(IStatementRunner runner, Statements statements)
{
    // Another write may come between a statement that changes nothing and the look why.
    private const int MostTries = 5;

    public ValueTask<StoredRecord?> LoadAsync(string id, CancellationToken cancellationToken) =>
        runner.QueryAsync(statements.Load, [Parameter.Of(id)], Rows.One, cancellationToken);

    public ValueTask<List<StoredRecord>> LoadManyAsync(IEnumerable<string> ids, CancellationToken cancellationToken) =>
        runner.QueryAsync(statements.LoadMany, [Parameter.Of(string.Join(' ', ids))], Rows.All, cancellationToken);

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<WriteResult> InsertAsync(StoredRecord record, CancellationToken cancellationToken)
    {
        var subject = Rows.Bytes(record.Subject);
        var isSignIn = subject is not null && record.Kind != RecordKind.Ended;
        var sql = statements.Insert(record.IsDurable, isSignIn);
        for (var tries = 1; ; tries++)
        {
            var parameters = Rows.Parameters(record, subject, isSignIn ? 1 : 0);
            if (isSignIn)
                parameters[8] = Parameter.Of(Stripes.Of(subject!));
            var reply = await WriteAsync(sql, parameters, record.IsDurable, cancellationToken).ConfigureAwait(false);
            if (!reply.HasCome)
                return WriteResult.Unknown;
            if (reply.Rows > 0)
                return Taken(reply);

            if (await VersionAsync(record.Id).ConfigureAwait(false) is not null)
                return WriteResult.Conflict;
            if (tries == MostTries)
                throw NeverTaken(isSignIn);
            // Nothing has its id (any more).
        }
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
        for (var tries = 1; ; tries++)
        {
            var parameters = Rows.Parameters(record, subject, isSignIn ? 2 : 1);
            parameters[8] = Parameter.Of(expected);
            if (isSignIn)
                parameters[9] = Parameter.Of(Stripes.Of(subject!));
            var reply = await WriteAsync(sql, parameters, mustLast, cancellationToken).ConfigureAwait(false);
            if (!reply.HasCome)
                return WriteResult.Unknown;
            if (reply.Rows > 0)
                return Taken(reply);

            var stored = await VersionAsync(record.Id).ConfigureAwait(false);
            if (stored is null)
                return WriteResult.Absent;
            if (stored != expected)
                return WriteResult.Conflict;
            if (tries == MostTries)
                throw NeverTaken(isSignIn);
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

    /// <summary>The write of a record. One that fails has changed nothing: the disk is full, the server a standby, or not there.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<WriteReply> WriteAsync(
        string sql,
        NpgsqlParameter[] parameters,
        bool mustLast,
        CancellationToken cancellationToken
    )
    {
        try
        {
            return await runner.ExecuteAsync(sql, parameters, mustLast, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception error) when (error is not OperationCanceledException)
        {
            throw new StoreRefusedException(error.Message, error);
        }
    }

    /// <summary>The version that is stored under this id, or null. Of a write that was sent: it is not cancelled any more.</summary>
    private ValueTask<long?> VersionAsync(string id) =>
        runner.QueryAsync(statements.Exists, [Parameter.Of(id)], Rows.Number, CancellationToken.None);

    /// <summary>Nothing is in the way of a write, and yet the server does not take it: nobody but its administrator can help.</summary>
    private StoreRefusedException NeverTaken(bool isSignIn)
    {
        var names = statements.Names;
        var kept = $"a trigger, a rule or a policy of the table {names.Sessions} keeps the session store from writing";
        return new StoreRefusedException(
            isSignIn
                ? $"The table {names.Locks} is not whole: a sign-in has to lock a row that is not there. Make its rows again: INSERT INTO {names.Locks} SELECT stripe, 0 FROM generate_series(0, {Stripes.Count - 1}) AS stripe ON CONFLICT DO NOTHING. If none was missing, {kept}."
                : $"PostgreSQL changes no row, and says nothing of why: {kept}. Take it away.",
            null
        );
    }

    private static WriteResult Taken(WriteReply reply) =>
        reply.IsKept ? WriteResult.Written : WriteResult.Unacknowledged;
}
