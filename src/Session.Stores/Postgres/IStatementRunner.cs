using Npgsql;

namespace Session.Stores.Postgres;

/// <summary>Sends statements: each as a transaction of its own, or all inside the application's.</summary>
internal interface IStatementRunner
{
    /// <summary>A statement that changes nothing.</summary>
    ValueTask<T> QueryAsync<T>(
        string sql,
        NpgsqlParameter[] parameters,
        Func<NpgsqlDataReader, ValueTask<T>> read,
        CancellationToken cancellationToken
    );

    /// <summary>A statement that changes rows; an exception says that it has changed none. Of what must last it is known afterwards whether the standbys that were asked for have it.</summary>
    ValueTask<WriteReply> ExecuteAsync(
        string sql,
        NpgsqlParameter[] parameters,
        bool mustLast,
        CancellationToken cancellationToken
    );
}
