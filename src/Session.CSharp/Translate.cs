using System.Diagnostics;
using Microsoft.FSharp.Core;
using Session.AspNetCore;
using Session.Domain;
using Session.Engine;

namespace Session.CSharp;

/// <summary>The one place where F# unions become C# enums, exceptions and events.</summary>
internal static class Translate
{
    internal static SessionState ToSessionState(this State state) =>
        state switch
        {
            State.Created => SessionState.Created,
            State.Active => SessionState.Active,
            State.Regenerated => SessionState.Regenerated,
            State.Destroyed => SessionState.Destroyed,
            State.Expired => SessionState.Expired,
            { IsAbsent: true } => SessionState.None,
            _ => throw new UnreachableException(),
        };

    internal static SessionOrigin ToSessionOrigin(this Origin origin) =>
        origin switch
        {
            Origin.New => SessionOrigin.New,
            Origin.Resumed => SessionOrigin.Resumed,
            Origin.Expired => SessionOrigin.Expired,
            Origin.Invalid => SessionOrigin.Invalid,
            _ => throw new UnreachableException(),
        };

    /// <summary>The value, or the failure as an exception.</summary>
    internal static TValue OrThrow<TValue>(this FSharpResult<TValue, SessionError> result) =>
        result.IsOk ? result.ResultValue : throw ToException(result.ErrorValue);

    internal static Exception ToException(SessionError error)
    {
        var (status, message) = SessionFailure.describe(error);
        return error switch
        {
            { IsConflict: true } => new SessionConflictException(status, message),
            { IsContended: true } => new SessionUnavailableException(status, message, null),
            SessionError.Unavailable unavailable => new SessionUnavailableException(status, message, unavailable.Item),
            SessionError.NewerData => new SessionUnavailableException(status, message, null),
            SessionError.LimitReached => new SessionLimitException(status, message),
            SessionError.TooLarge => new SessionDataException(status, message),
            { IsResponseStarted: true } => new InvalidOperationException(message),
            _ => new SessionEndedException(status, message),
        };
    }

    internal static SessionInfo ToInfo(Snapshot snapshot, Policy policy)
    {
        var live = Lifecycle.liveOf(snapshot.State)!.Value;
        return new SessionInfo(
            SessionId.Of(snapshot.Id),
            live.Subject?.Value,
            snapshot.State.ToSessionState(),
            live.CreatedAt,
            live.AuthenticatedAt?.Value,
            live.LastSeen,
            Lifecycle.deadline(policy, snapshot.State).Value.Item2
        );
    }

    internal static Task RaiseAsync<T>(
        SessionEvents<T> events,
        ISessionSerializer<T> serializer,
        IServiceProvider services,
        Notice notice
    )
        where T : class
    {
        var (handler, reason) = notice.Kind switch
        {
            { IsCreatedNotice: true } => (events.OnCreated, ""),
            { IsRenewedNotice: true } => (events.OnRegenerated, "Renewal"),
            { IsElevatedNotice: true } => (events.OnRegenerated, "Elevation"),
            { IsSignedInNotice: true } => (events.OnRegenerated, "SignIn"),
            { IsReplayedNotice: true } => (events.OnReplayed, ""),
            { IsOutdatedNotice: true } => (events.OnOutdated, ""),
            NoticeKind.RefusedNotice refused => (events.OnRefused, Name(refused.reason)),
            NoticeKind.UnreadableNotice unreadable => (events.OnUnreadable, unreadable.reason),
            NoticeKind.DestroyedNotice ended => (events.OnDestroyed, Name(ended.Item)),
            NoticeKind.ExpiredNotice ended => (events.OnExpired, Name(ended.Item)),
            _ => throw new UnreachableException(),
        };

        var signedIn = notice.Kind switch
        {
            { IsSignedInNotice: true } => events.OnSignedIn,
            { IsCreatedNotice: true } when notice.Subject is not null => events.OnSignedIn,
            _ => null,
        };
        if (handler is null && signedIn is null)
            return Task.CompletedTask;

        var context = new SessionEventContext<T>(
            SessionId.Of(notice.Id),
            notice.Subject?.Value,
            Read(serializer, notice.Data),
            reason,
            notice.At,
            services
        );
        if (signedIn is null)
            return handler!(context);

        return handler is null ? signedIn(context) : BothAsync(handler, signedIn, context);
    }

    private static async Task BothAsync<TContext>(
        Func<TContext, Task> first,
        Func<TContext, Task> second,
        TContext context
    )
    {
        try
        {
            await first(context).ConfigureAwait(false);
        }
        finally
        {
            await second(context).ConfigureAwait(false);
        }
    }

    private static string Name(RefusalReason reason) =>
        reason switch
        {
            { IsGuessed: true } => "Guess",
            { IsDuplicated: true } => "Duplicate",
            { IsMalformed: true } => "Malformed",
            _ => throw new UnreachableException(),
        };

    private static T? Read<T>(ISessionSerializer<T> serializer, byte[] data)
        where T : class
    {
        if (data.Length == 0)
            return null;

        try
        {
            return serializer.Deserialize(data);
        }
        catch (Exception error)
            when (error is System.Text.Json.JsonException or FormatException or NotSupportedException)
        {
            // The event still matters; its data was written by another version of the application.
            return null;
        }
    }

    private static string Name(DestroyReason reason) =>
        reason switch
        {
            { IsSignedOut: true } => "SignedOut",
            { IsRevoked: true } => "Revoked",
            { IsReplayed: true } => "Replayed",
            { IsLimit: true } => "Limit",
            _ => throw new UnreachableException(),
        };

    private static string Name(ExpiryKind kind) =>
        kind switch
        {
            { IsUnconfirmed: true } => "Unconfirmed",
            { IsIdle: true } => "Idle",
            { IsAbsolute: true } => "Absolute",
            _ => throw new UnreachableException(),
        };
}
