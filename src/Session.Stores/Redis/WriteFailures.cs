using Session.Engine;
using StackExchange.Redis;

namespace Session.Stores.Redis;

/// <summary>What the failure of a write says: whether something may be stored, now or later.</summary>
internal static class WriteFailures
{
    /// <summary>Whether it was sent, and no answer came.</summary>
    public static bool MayHaveTakenEffect(Exception error) =>
        error switch
        {
            RedisTimeoutException late => !IsUnsent(late.Commandstatus),
            TimeoutException => true,
            RedisConnectionException lost => !IsUnsent(lost.CommandStatus)
                && lost.FailureType is not ConnectionFailureType.UnableToConnect,
            _ => false,
        };

    private static bool IsUnsent(CommandStatus status) =>
        status is CommandStatus.WaitingToBeSent or CommandStatus.WaitingInBacklog;

    /// <summary>Whether the server, or the driver, has said no to it. A script that the server does not have is sent once more, whole.</summary>
    public static bool IsRefusal(Exception error) =>
        error is RedisException or RedisTimeoutException or RedisCommandException
        && !error.Message.StartsWith("NOSCRIPT", StringComparison.Ordinal);

    /// <summary>Of a step that comes before the write of a record: where it fails, nothing was written.</summary>
    public static async ValueTask<T> BeforeWrite<T>(ValueTask<T> step)
    {
        try
        {
            return await step.ConfigureAwait(false);
        }
        catch (Exception error) when (error is RedisException or TimeoutException or RedisCommandException)
        {
            throw new StoreRefusedException(error.Message, error);
        }
    }
}
