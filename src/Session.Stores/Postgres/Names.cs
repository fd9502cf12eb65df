namespace Session.Stores.Postgres;

/// <summary>The names of the tables, as they stand in statements.</summary>
internal sealed class Names(string schema, string table)
{
    public string Schema => schema;
    public string Table => table;

    /// <summary>The table of the sessions.</summary>
    public string Sessions { get; } = $"\"{schema}\".\"{table}\"";

    /// <summary>The table of the locks.</summary>
    public string Locks { get; } = $"\"{schema}\".\"{table}_locks\"";

    /// <summary>A script that is written for the default names, for these.</summary>
    public string Apply(string script) =>
        script
            .Replace("\"public\".\"sessions", $"\"{schema}\".\"{table}", StringComparison.Ordinal)
            .Replace("INDEX \"sessions", $"INDEX \"{table}", StringComparison.Ordinal);
}
