using Npgsql;

namespace Session.Stores.Postgres;

/// <summary>
/// Hears that a commit was not waited for: whoever cancels the wait for a synchronous standby (an administrator, a timeout of
/// a driver) gets a success, and beside it a warning that a failover may undo it.
/// </summary>
internal sealed class StandbyWarning
{
    public bool HasCome { get; private set; }

    public static StandbyWarning ListenTo(NpgsqlConnection connection)
    {
        var warning = new StandbyWarning();
        connection.Notice += warning.Hear;
        return warning;
    }

    // The text is in the language of the server, the name of its function is not.
    private void Hear(object sender, NpgsqlNoticeEventArgs notice) =>
        HasCome |= notice.Notice is { Routine: "SyncRepWaitForLSN" };
}
