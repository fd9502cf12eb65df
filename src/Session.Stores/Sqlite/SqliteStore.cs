using Session.Engine;

namespace Session.Stores.Sqlite;

/// <summary>
/// Sessions in one SQLite file: they survive a restart and a kill of the process. Several processes on one machine can
/// share the file.
/// </summary>
public sealed class SqliteStore : ISessionStore, IRemovesVersion, IReadsMany, ISessionSignals, IDisposable
{
    private readonly Connections _connections;
    private readonly Signals _signals;

    /// <summary>Checks the settings; the file is opened by <c>Prepare</c>, or at first use.</summary>
    /// <param name="options">The settings. Later changes of them have no effect.</param>
    /// <exception cref="ArgumentException">A setting is out of range.</exception>
    public SqliteStore(SqliteStoreOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        OptionChecks.Require(
            !string.IsNullOrWhiteSpace(options.Path),
            "SqliteStoreOptions.Path must name the database file."
        );
        OptionChecks.Require(
            options.Table is { Length: >= 1 and <= 40 } table
                && table.All(c => char.IsAsciiLetterOrDigit(c) || c == '_'),
            "SqliteStoreOptions.Table must be 1 to 40 of A-Z a-z 0-9 _."
        );
        OptionChecks.Require(
            !options.Table.StartsWith("sqlite_", StringComparison.OrdinalIgnoreCase),
            "SqliteStoreOptions.Table must not start with sqlite_: SQLite keeps these names for itself."
        );
        OptionChecks.Require(
            options.BusyTimeout > TimeSpan.Zero && options.BusyTimeout <= TimeSpan.FromHours(1),
            "SqliteStoreOptions.BusyTimeout must be more than zero and at most one hour."
        );
        OptionChecks.Require(
            Enum.IsDefined(options.Durability),
            "SqliteStoreOptions.Durability must be Normal, Full or Selective."
        );

        var path = FileName.Of(options.Path, options.Directory);
        var file = new DatabaseFile(path, options.Path, options.Table, options.Durability, options.BusyTimeout);
        _connections = new Connections(file, options.BusyTimeout);
        _signals = new Signals(file, _connections, new NoticeBoard(options.Table));
    }

    async ValueTask<StoreReport> ISessionStore.Prepare(CancellationToken cancellationToken)
    {
        var location = await _connections.OpenAsync(cancellationToken).ConfigureAwait(false);
        return new StoreReport(location, true, true, []);
    }

    ValueTask<WriteResult> ISessionStore.Insert(StoredRecord record, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(record);
        return Refusals.Told(
            _connections.WriteAsync(
                record,
                static (writer, record) =>
                    writer
                        .Committing(record.IsDurable)
                        .Insert.With(
                            record.Id,
                            record.Version,
                            (long)record.Kind,
                            record.LastSeen.UtcTicks,
                            record.DueAt.UtcTicks,
                            record.Subject,
                            record.Operation,
                            RecordBody.AsArray(record.Body)
                        )
                        .Run() == 1
                        ? WriteResult.Written
                        : WriteResult.Conflict,
                cancellationToken
            )
        );
    }

    ValueTask<StoredRecord?> ISessionStore.Load(string id, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(id);
        return _connections.ReadAsync(id, static (reader, id) => Rows.One(reader.Load.With(id)), cancellationToken);
    }

    ValueTask<WriteResult> ISessionStore.Replace(
        StoredRecord record,
        long expected,
        CancellationToken cancellationToken
    )
    {
        ArgumentNullException.ThrowIfNull(record);
        return Refusals.Told(
            _connections.WriteAsync(
                (record, expected),
                static (writer, args) =>
                {
                    var (record, expected) = args;
                    var replace = writer
                        .Committing(record.IsDurable)
                        .Replace.With(
                            record.Id,
                            record.Version,
                            (long)record.Kind,
                            record.LastSeen.UtcTicks,
                            record.DueAt.UtcTicks,
                            record.Subject,
                            record.Operation,
                            RecordBody.AsArray(record.Body),
                            expected
                        );
                    if (replace.Run() == 1)
                        return WriteResult.Written;

                    // Once more, in a transaction: another process may have changed the record since.
                    return writer.InTransaction(writer =>
                    {
                        if (replace.Run() == 1)
                            return WriteResult.Written;

                        using var row = writer.Exists.With(record.Id).Read();
                        return row.Read() ? WriteResult.Conflict : WriteResult.Absent;
                    });
                },
                cancellationToken
            )
        );
    }

    async ValueTask ISessionStore.Touch(string id, DateTimeOffset at, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(id);
        await _connections
            .WriteAsync(
                (id, at.UtcTicks),
                static (writer, args) => writer.Committing(isDurable: false).Touch.With(args.id, args.UtcTicks).Run(),
                cancellationToken
            )
            .ConfigureAwait(false);
    }

    async ValueTask ISessionStore.Remove(string id, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(id);
        await _connections
            .WriteAsync(
                id,
                static (writer, id) => writer.Committing(isDurable: false).Remove.With(id).Run(),
                cancellationToken
            )
            .ConfigureAwait(false);
    }

    async ValueTask IRemovesVersion.RemoveVersion(
        string id,
        long version,
        long operation,
        CancellationToken cancellationToken
    )
    {
        ArgumentNullException.ThrowIfNull(id);
        await _connections
            .WriteAsync(
                (id, version, operation),
                static (writer, args) =>
                    writer.Committing(isDurable: false).RemoveVersion.With(args.id, args.version, args.operation).Run(),
                cancellationToken
            )
            .ConfigureAwait(false);
    }

    ValueTask<StoredPage> ISessionStore.BySubject(
        string subject,
        string? after,
        int limit,
        CancellationToken cancellationToken
    )
    {
        ArgumentNullException.ThrowIfNull(subject);
        ArgumentOutOfRangeException.ThrowIfLessThan(limit, 1);
        return _connections.ReadAsync(
            (subject, after: after ?? "", limit),
            static (reader, args) =>
                Paging.Page(
                    Rows.All(reader.BySubject.With(args.subject, args.after, Paging.OneMoreThan(args.limit))),
                    args.limit
                ),
            cancellationToken
        );
    }

    ValueTask<StoredPage> ISessionStore.Enumerate(string? after, int limit, CancellationToken cancellationToken)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(limit, 1);
        return _connections.ReadAsync(
            (after: after ?? "", limit),
            static (reader, args) =>
                Paging.Page(Rows.All(reader.Enumerate.With(args.after, Paging.OneMoreThan(args.limit))), args.limit),
            cancellationToken
        );
    }

    ValueTask<long> ISessionStore.Count(CancellationToken cancellationToken) =>
        _connections.ReadAsync(
            0,
            static (reader, _) =>
            {
                using var row = reader.Count.Read();
                row.Read();
                return row.GetInt64(0);
            },
            cancellationToken
        );

    ValueTask<IReadOnlyList<StoredRecord>> ISessionStore.ClaimOverdue(
        DateTimeOffset now,
        TimeSpan lease,
        int limit,
        CancellationToken cancellationToken
    )
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(limit, 1);
        return _connections.WriteAsync<(long now, long until, int limit), IReadOnlyList<StoredRecord>>(
            (now.UtcTicks, (now + lease).UtcTicks, limit),
            static (writer, args) =>
                writer
                    .Committing(isDurable: false)
                    .InTransaction(writer =>
                    {
                        var claimed = Rows.All(writer.Overdue.With(args.now, args.limit));
                        foreach (var record in claimed)
                            writer.Reschedule.With(record.Id, record.Version, args.until).Run();

                        return claimed;
                    }),
            cancellationToken
        );
    }

    async ValueTask ISessionStore.Reschedule(
        string id,
        long version,
        DateTimeOffset dueAt,
        CancellationToken cancellationToken
    )
    {
        ArgumentNullException.ThrowIfNull(id);
        await _connections
            .WriteAsync(
                (id, version, dueAt.UtcTicks),
                static (writer, args) =>
                    writer.Committing(isDurable: false).Reschedule.With(args.id, args.version, args.UtcTicks).Run(),
                cancellationToken
            )
            .ConfigureAwait(false);
    }

    ValueTask<IReadOnlyList<StoredRecord>> IReadsMany.LoadMany(
        IReadOnlyList<string> ids,
        CancellationToken cancellationToken
    )
    {
        ArgumentNullException.ThrowIfNull(ids);
        return _connections.ReadAsync<IReadOnlyList<string>, IReadOnlyList<StoredRecord>>(
            ids,
            // No character of an id has a meaning of its own in JSON.
            static (reader, ids) => Rows.All(reader.LoadMany.With($"[\"{string.Join("\",\"", ids)}\"]")),
            cancellationToken
        );
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

    /// <summary>
    /// Lets the write that runs end, and closes the file; the last one to close it folds the write-ahead log into it.
    /// </summary>
    public void Dispose()
    {
        _signals.Dispose();
        _connections.Dispose();
    }
}
