using System.Security.Authentication;
using StackExchange.Redis;

namespace Session.Stores.Redis;

/// <summary>Why no server can be spoken to, as far as the driver knows, and whether that can mend itself.</summary>
/// <param name="Sentence">The endpoints, the cause, and what to change.</param>
/// <param name="IsFinal">It is a matter of settings: waiting helps nobody.</param>
internal sealed record ConnectionTrouble(string Sentence, bool IsFinal)
{
    /// <summary>Connects once more, in a way that tells why it does not succeed. Null: it did.</summary>
    public static async Task<ConnectionTrouble?> Find(ConfigurationOptions settings)
    {
        var once = settings.Clone();
        once.AbortOnConnectFail = true;
        once.ConnectRetry = 1;
        var where = string.Join(", ", settings.EndPoints.Select(Name));
        try
        {
            var connection = await ConnectionMultiplexer.ConnectAsync(once).ConfigureAwait(false);
            await connection.DisposeAsync().ConfigureAwait(false);
            return null;
        }
        catch (RedisException error)
        {
            var trouble = Of(error, where, settings.Ssl);
            return trouble.IsFinal || await NextFailure(settings).ConfigureAwait(false) is not { } cause
                ? trouble
                : Of(cause, where, settings.Ssl);
        }
    }

    /// <summary>What the driver says when its next attempt fails: that has the cause, where the first exception has none.</summary>
    private static async Task<Exception?> NextFailure(ConfigurationOptions settings)
    {
        var patient = settings.Clone();
        patient.ReconnectRetryPolicy = new LinearRetry(1);
        var failed = new TaskCompletionSource<Exception?>(TaskCreationOptions.RunContinuationsAsynchronously);
        var connection = await ConnectionMultiplexer.ConnectAsync(patient).ConfigureAwait(false);
        try
        {
            connection.ConnectionFailed += (_, e) =>
            {
                if (e.Exception is { } cause)
                    failed.TrySetResult(cause);
            };
            return await failed.Task.WaitAsync(TimeSpan.FromSeconds(3)).ConfigureAwait(false);
        }
        catch (TimeoutException)
        {
            return null;
        }
        finally
        {
            await connection.CloseAsync(allowCommandsToComplete: false).ConfigureAwait(false);
        }
    }

    /// <summary>An endpoint as it is written in a connection string.</summary>
    public static string Name(System.Net.EndPoint place) =>
        place.ToString() is { } text && text.LastIndexOf('/') is var at and >= 0
            ? text[(at + 1)..]
            : place.ToString() ?? "";

    private static ConnectionTrouble Of(Exception error, string where, bool isTls)
    {
        var causes = new List<Exception>();
        for (Exception? cause = error; cause is not null; cause = cause.InnerException)
            causes.Add(cause);
        var all = string.Join(" ", causes.Select(cause => cause.Message));
        // Without the driver's advice on its own settings.
        var reason = causes[^1].Message.Split(" To allow this multiplexer", 2)[0].TrimEnd('.');

        if (IsRefusedPassword(all))
            return new ConnectionTrouble(
                $"Redis at {where} refuses the password or the user name ({reason}): change the connection string, or the server's users.",
                true
            );
        if (causes.OfType<AuthenticationException>().Any())
            return new ConnectionTrouble(
                $"The TLS certificate of Redis at {where} is not trusted ({reason}): trust its issuer on this machine, or by a callback in ConfigurationOptions.",
                true
            );
        var tls = isTls
            ? "; does it answer in TLS at this port? If not, ssl=true must go from the connection string"
            : "; a server that wants TLS needs ssl=true in the connection string";
        return new ConnectionTrouble(
            $"No Redis primary can be reached yet at {where} ({reason}{tls}): requests that need a session get 503 until one is. Its settings were not checked.",
            false
        );
    }

    /// <summary>Whether this is the server's answer to a wrong password, which no waiting changes.</summary>
    public static bool IsFinalCause(Exception error) => IsRefusedPassword(error.ToString());

    /// <summary>Words of the servers themselves.</summary>
    public static bool IsRefusedPassword(string message) =>
        message.Contains("WRONGPASS", StringComparison.Ordinal)
        || message.Contains("NOAUTH", StringComparison.Ordinal)
        || message.Contains("invalid password", StringComparison.Ordinal)
        || message.Contains("without any password configured", StringComparison.Ordinal);
}
