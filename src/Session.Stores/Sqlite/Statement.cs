using Microsoft.Data.Sqlite;

namespace Session.Stores.Sqlite;

/// <summary>A command of one connection, prepared once. Not safe for concurrent use.</summary>
internal sealed class Statement : IDisposable
{
    private readonly SqliteCommand _command;

    public Statement(SqliteConnection connection, string sql, params ReadOnlySpan<string> names)
    {
        _command = connection.CreateCommand();
        _command.CommandText = sql;
        foreach (var name in names)
            _command.Parameters.Add(new SqliteParameter { ParameterName = name, Value = DBNull.Value });

        _command.Prepare();
    }

    /// <summary>Sets the parameters, in the order of their names.</summary>
    public Statement With(params ReadOnlySpan<object?> values)
    {
        for (var i = 0; i < values.Length; i++)
            _command.Parameters[i].Value = values[i] ?? DBNull.Value;

        return this;
    }

    /// <summary>Runs it and says how many rows it changed.</summary>
    public int Run() => _command.ExecuteNonQuery();

    public SqliteDataReader Read() => _command.ExecuteReader();

    public void Dispose() => _command.Dispose();
}
