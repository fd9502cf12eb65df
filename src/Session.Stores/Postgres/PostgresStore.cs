using System.Data.Common;
using System.Globalization;
using System.Runtime.ExceptionServices;
using Npgsql;
using Session.Engine;

namespace Session.Stores.Postgres;

/// <summary>
/// Sessions in PostgreSQL: one row each, and each change of it one statement that has the version in its condition. What must
/// last commits synchronously; sessions can be ended inside a transaction of the application's.
/// </summary>
public sealed class PostgresStore
    : ISessionStore,
        IRemovesVersion,
        IJoinsTransaction,
        IReadsMany,
        ISessionSignals,
        IAsyncDisposable,
        IDisposable
{
    private readonly PostgresStoreOptions _options;
    private readonly Names _names;
    private readonly Statements _statements;
    private readonly Link _link;
    private readonly Records _records;
    private readonly OverdueClaims _claims;
    private readonly Signals _signals;

    /// <summary>Checks the settings; <c>Prepare</c>, or the first use, connects.</summary>
    /// <param name="options">The settings. Later changes of them have no effect.</param>
    /// <exception cref="ArgumentException">A setting is out of range, or no server is named.</exception>
    public PostgresStore(PostgresStoreOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        options = options.Copy();
        OptionChecks.RequireOperationTimeout(options.OperationTimeout, nameof(PostgresStoreOptions));
        OptionChecks.Require(
            IsName(options.Schema, 63),
            "PostgresStoreOptions.Schema must be 1 to 63 of A-Z a-z 0-9 _."
        );
        OptionChecks.Require(IsName(options.Table, 40), "PostgresStoreOptions.Table must be 1 to 40 of A-Z a-z 0-9 _.");
        OptionChecks.Require(
            Enum.IsDefined(options.Durability),
            "PostgresStoreOptions.Durability must be Flushed or Applied."
        );
        OptionChecks.Require(
            options.DataSource is not null || !string.IsNullOrWhiteSpace(options.ConnectionString),
            "The PostgreSQL store needs a connection string, such as Host=localhost;Database=app, or PostgresStoreOptions.DataSource."
        );
        OptionChecks.Require(
            options.DataSource is null || !DataSources.Multiplexes(options.DataSource),
            "PostgresStoreOptions.DataSource has Multiplexing=true: statements have no connection to themselves then, and can neither be prepared nor listen. Give the store a data source without it, or a connection string."
        );

        _options = options;
        _names = new Names(options.Schema, options.Table);
        _statements = new Statements(_names, options.Durability, options.FlushRoutineWrites);
        NpgsqlDataSource? own = null;
        var source = options.DataSource;
        if (source is null)
        {
            own = DataSources.Open(options.ConnectionString, options.OperationTimeout);
            source = DataSources.ToPrimary(own);
        }
        _link = new Link(
            source,
            own,
            new Place(_names, _statements, options.CreateTables),
            options.PrepareStatements,
            options.OperationTimeout
        );
        _records = new Records(_link, _statements);
        _claims = new OverdueClaims(_link, _statements);
        _signals = new Signals(_link, _names, options.OperationTimeout);
    }

    async ValueTask<StoreReport> ISessionStore.Prepare(CancellationToken cancellationToken)
    {
        List<string> notes;
        // As it is written, as long as the server cannot say which one it is.
        var place = DataSources.Location(_link.Source);
        try
        {
            // Two ways to write one place lead to the same number.
            var mark = await _link.MarkAsync(cancellationToken).ConfigureAwait(false);
            // A database that was made from this one has the same number.
            place = string.Create(CultureInfo.InvariantCulture, $"{mark:x16}/{DataSources.DatabaseOf(_link.Source)}");
            notes = await ServerProbe.RunAsync(_link, cancellationToken).ConfigureAwait(false);
        }
        catch (NpgsqlException error) when (Failures.Refusal(error) is { } refusal)
        {
            // Whoever reads it can do something about what that host said.
            ExceptionDispatchInfo.Throw(refusal);
            throw;
        }
        catch (Exception error)
            when (!cancellationToken.IsCancellationRequested
                && Failures.IsAway(error, DataSources.HasSeveralHosts(_link.Source))
            )
        {
            notes =
            [
                $"PostgreSQL does not answer: requests that need a session are 503 until it does. {Failures.Summary(error)}",
            ];
        }

        var location = $"postgres:{place}/{_names.Schema}.{_names.Table}";
        return new StoreReport(location, true, true, notes);
    }

    ValueTask<WriteResult> ISessionStore.Insert(StoredRecord record, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(record);
        return _records.InsertAsync(record, cancellationToken);
    }

    ValueTask<StoredRecord?> ISessionStore.Load(string id, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(id);
        return _records.LoadAsync(id, cancellationToken);
    }

    ValueTask<WriteResult> ISessionStore.Replace(
        StoredRecord record,
        long expected,
        CancellationToken cancellationToken
    )
    {
        ArgumentNullException.ThrowIfNull(record);
        return _records.ReplaceAsync(record, expected, mustLast: false, cancellationToken);
    }

    ValueTask ISessionStore.Touch(string id, DateTimeOffset at, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(id);
        return _records.RunAsync(_statements.Touch, [Parameter.Of(id), Parameter.Of(at.UtcTicks)], cancellationToken);
    }

    ValueTask ISessionStore.Remove(string id, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(id);
        return _records.RunAsync(_statements.Remove, [Parameter.Of(id)], cancellationToken);
    }

    ValueTask IRemovesVersion.RemoveVersion(
        string id,
        long version,
        long operation,
        CancellationToken cancellationToken
    )
    {
        ArgumentNullException.ThrowIfNull(id);
        return _records.RunAsync(
            _statements.RemoveVersion,
            [Parameter.Of(id), Parameter.Of(version), Parameter.Of(operation)],
            cancellationToken
        );
    }

    async ValueTask<StoredPage> ISessionStore.BySubject(
        string subject,
        string? after,
        int limit,
        CancellationToken cancellationToken
    )
    {
        ArgumentNullException.ThrowIfNull(subject);
        ArgumentOutOfRangeException.ThrowIfLessThan(limit, 1);
        var found = await _records
            .BySubjectAsync(subject, after, Paging.OneMoreThan(limit), cancellationToken)
            .ConfigureAwait(false);
        return Paging.Page(found, limit);
    }

    async ValueTask<StoredPage> ISessionStore.Enumerate(string? after, int limit, CancellationToken cancellationToken)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(limit, 1);
        var found = await _records
            .EnumerateAsync(after, Paging.OneMoreThan(limit), cancellationToken)
            .ConfigureAwait(false);
        return Paging.Page(found, limit);
    }

    ValueTask<long> ISessionStore.Count(CancellationToken cancellationToken) => _records.CountAsync(cancellationToken);

    ValueTask<IReadOnlyList<StoredRecord>> ISessionStore.ClaimOverdue(
        DateTimeOffset now,
        TimeSpan lease,
        int limit,
        CancellationToken cancellationToken
    )
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(limit, 1);
        return _claims.ClaimAsync(now, lease, limit, cancellationToken);
    }

    ValueTask ISessionStore.Reschedule(
        string id,
        long version,
        DateTimeOffset dueAt,
        CancellationToken cancellationToken
    )
    {
        ArgumentNullException.ThrowIfNull(id);
        return _records.RunAsync(
            _statements.Reschedule,
            [Parameter.Of(id), Parameter.Of(version), Parameter.Of(dueAt.UtcTicks)],
            cancellationToken
        );
    }

    async ValueTask<IReadOnlyList<StoredRecord>> IReadsMany.LoadMany(
        IReadOnlyList<string> ids,
        CancellationToken cancellationToken
    )
    {
        ArgumentNullException.ThrowIfNull(ids);
        return await _records.LoadManyAsync(ids, cancellationToken).ConfigureAwait(false);
    }

    ValueTask ISessionSignals.Publish(IReadOnlyList<string> ids, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(ids);
        return _signals.PublishAsync(ids, cancellationToken);
    }

    ValueTask<IAsyncDisposable> ISessionSignals.Subscribe(Action<string?> heard, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(heard);
        return _signals.SubscribeAsync(heard, cancellationToken);
    }

    async ValueTask<ISessionStore> IJoinsTransaction.Join(
        DbTransaction transaction,
        string subject,
        CancellationToken cancellationToken
    )
    {
        ArgumentNullException.ThrowIfNull(transaction);
        ArgumentNullException.ThrowIfNull(subject);
        if (transaction is not NpgsqlTransaction own)
            throw new ArgumentException(
                $"The sessions are in PostgreSQL, and the transaction is a {transaction.GetType().Name}: hand over the NpgsqlTransaction that the change is made in.",
                nameof(transaction)
            );

        var runner = new TransactionRunner(own, _options.OperationTimeout);
        var mark = await _link.MarkAsync(cancellationToken).ConfigureAwait(false);
        await TransactionGate
            .EnterAsync(runner, own, _names, _statements, mark, _link.Database, subject, cancellationToken)
            .ConfigureAwait(false);
        return new TransactionStore(runner, _statements);
    }

    /// <summary>Closes the connections, if the store made them.</summary>
    public ValueTask DisposeAsync() => _link.DisposeAsync();

    /// <summary>Closes the connections, if the store made them.</summary>
    public void Dispose() => DisposeAsync().AsTask().GetAwaiter().GetResult();

    private static bool IsName(string? name, int most) =>
        name is { Length: >= 1 } && name.Length <= most && name.All(c => char.IsAsciiLetterOrDigit(c) || c == '_');
}
