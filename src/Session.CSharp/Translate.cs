using System.Diagnostics;
using Microsoft.Extensions.DependencyInjection;
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

    internal static SessionState ToSessionState(this Phase phase) =>
        phase switch
        {
            Phase.None => SessionState.None,
            Phase.Created => SessionState.Created,
            Phase.Active => SessionState.Active,
            Phase.Regenerated => SessionState.Regenerated,
            Phase.Destroyed => SessionState.Destroyed,
            Phase.Expired => SessionState.Expired,
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

    internal static SessionEndCause ToSessionEndCause(this EndCause cause) =>
        cause switch
        {
            EndCause.Over { Item: Ending.OnPurpose why } => why.Item switch
            {
                { IsSignedOut: true } => SessionEndCause.SignedOut,
                { IsRevoked: true } => SessionEndCause.Revoked,
                { IsReplayed: true } => SessionEndCause.Replayed,
                { IsLimit: true } => SessionEndCause.Limit,
                _ => throw new UnreachableException(),
            },
            EndCause.Over { Item: Ending.ByTime why } => why.Item switch
            {
                { IsUnconfirmed: true } => SessionEndCause.Unconfirmed,
                { IsIdle: true } => SessionEndCause.Idle,
                { IsAbsolute: true } => SessionEndCause.Absolute,
                _ => throw new UnreachableException(),
            },
            { IsElevated: true } => SessionEndCause.Elevated,
            { IsOtherSubject: true } => SessionEndCause.OtherSubject,
            { IsRemoved: true } => SessionEndCause.Removed,
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
            { IsContended: true }
            or SessionError.Unavailable
            or SessionError.Unsure
            or SessionError.Unacknowledged
            or SessionError.Incomplete
            or SessionError.NewerData => new SessionUnavailableException(
                status,
                message,
                SessionFailure.cause(error),
                !SessionErrorModule.outcome(error).IsNothingChanged
            ),
            SessionError.LimitReached => new SessionLimitException(status, message),
            SessionError.TooLarge or SessionError.Unwritable => new SessionDataException(
                status,
                message,
                SessionFailure.cause(error)
            ),
            { IsCrossSite: true } => new SessionCrossSiteException(status, message),
            { IsResponseStarted: true } => new InvalidOperationException(message),
            { IsInvalidSubject: true } => new ArgumentException(message),
            _ => new SessionEndedException(status, message),
        };
    }

    /// <summary>Refuses what no session can be of, before anything happens.</summary>
    internal static void ThrowUnlessSubject(string subject)
    {
        ArgumentNullException.ThrowIfNull(subject);
        if (!Engine.Subject.isValid(subject))
        {
            var (_, message) = SessionFailure.describe(SessionError.InvalidSubject);
            throw new ArgumentException(message, nameof(subject));
        }
    }

    internal static SessionInfo ToInfo(Snapshot snapshot, SessionEngine engine)
    {
        var live = Lifecycle.liveOf(snapshot.State)!.Value;
        return new SessionInfo(
            SessionId.Of(snapshot.Id),
            live.Subject?.Value,
            snapshot.State.ToSessionState(),
            live.CreatedAt,
            live.AuthenticatedAt?.Value,
            live.LastSeen,
            engine.Deadline(snapshot.State).Value.Item2
        );
    }

    /// <summary>What hears of this notice, or null.</summary>
    internal static FSharpOption<FSharpFunc<IServiceProvider, Task>>? HandlerOf<T>(
        SessionEvents<T> events,
        Notice notice
    )
        where T : class
    {
        var handler = notice.Kind switch
        {
            { IsCreatedNotice: true } => For<T, SessionCreatedContext<T>>(events.OnCreated, it => new(it)),
            { IsRenewedNotice: true } => Regenerated(SessionRegenerationReason.Renewal),
            { IsElevatedNotice: true } => Regenerated(SessionRegenerationReason.Elevation),
            { IsSignedInNotice: true } => Regenerated(SessionRegenerationReason.SignIn),
            { IsReplayedNotice: true } => For<T, SessionReplayedContext<T>>(events.OnReplayed, it => new(it)),
            { IsOutdatedNotice: true } => For<T, SessionOutdatedContext<T>>(events.OnOutdated, it => new(it)),
            NoticeKind.RefusedNotice why => For<T, SessionRefusedContext<T>>(
                events.OnRefused,
                it => new(it, ReasonOf(why.reason))
            ),
            NoticeKind.UnreadableNotice why => For<T, SessionUnreadableContext<T>>(
                events.OnUnreadable,
                it => new(it, why.reason)
            ),
            NoticeKind.DestroyedNotice why => For<T, SessionDestroyedContext<T>>(
                events.OnDestroyed,
                it => new(it, ReasonOf(why.Item))
            ),
            NoticeKind.ExpiredNotice why => For<T, SessionExpiredContext<T>>(
                events.OnExpired,
                it => new(it, ReasonOf(why.Item))
            ),
            _ => throw new UnreachableException(),
        };

        var isSignIn = notice.Kind.IsSignedInNotice || (notice.Kind.IsCreatedNotice && notice.Subject is not null);
        var signedIn = isSignIn ? For<T, SessionSignedInContext<T>>(events.OnSignedIn, it => new(it)) : null;
        if ((handler ?? signedIn) is not { } first)
            return null;

        var second = handler is null ? null : signedIn;
        return FSharpOption<FSharpFunc<IServiceProvider, Task>>.Some(
            FuncConvert.FromFunc(
                (IServiceProvider services) =>
                {
                    var told = new Told<T>(
                        SessionId.Of(notice.Id),
                        notice.Subject?.Value,
                        Read<T>(notice, services),
                        notice.At,
                        services
                    );
                    return second is null ? first(told) : BothAsync(first, second, told);
                }
            )
        );

        Func<Told<T>, Task>? Regenerated(SessionRegenerationReason why) =>
            For<T, SessionRegeneratedContext<T>>(events.OnRegenerated, it => new(it, why));
    }

    private static Func<Told<T>, Task>? For<T, TContext>(Func<TContext, Task>? handler, Func<Told<T>, TContext> about)
        where T : class => handler is null ? null : it => handler(about(it));

    /// <summary>The second is told although the first one fails.</summary>
    private static async Task BothAsync<T>(Func<Told<T>, Task> first, Func<Told<T>, Task> second, Told<T> told)
        where T : class
    {
        try
        {
            await first(told).ConfigureAwait(false);
        }
        finally
        {
            await second(told).ConfigureAwait(false);
        }
    }

    /// <summary>The event still matters where its data cannot be read, whatever the application's serializer throws: that is logged there.</summary>
    private static T? Read<T>(Notice notice, IServiceProvider services)
        where T : class
    {
        var data = services.GetRequiredService<SessionService<T>>().Deserialize(notice.Data);
        return data.IsOk ? data.ResultValue?.Value : null;
    }

    private static SessionRefusalReason ReasonOf(RefusalReason reason) =>
        reason switch
        {
            { IsGuessed: true } => SessionRefusalReason.Guess,
            { IsDuplicated: true } => SessionRefusalReason.Duplicate,
            { IsMalformed: true } => SessionRefusalReason.Malformed,
            _ => throw new UnreachableException(),
        };

    private static SessionEndReason ReasonOf(DestroyReason reason) =>
        reason switch
        {
            { IsSignedOut: true } => SessionEndReason.SignedOut,
            { IsRevoked: true } => SessionEndReason.Revoked,
            { IsReplayed: true } => SessionEndReason.Replayed,
            { IsLimit: true } => SessionEndReason.Limit,
            _ => throw new UnreachableException(),
        };

    private static SessionExpiryReason ReasonOf(ExpiryKind kind) =>
        kind switch
        {
            { IsUnconfirmed: true } => SessionExpiryReason.Unconfirmed,
            { IsIdle: true } => SessionExpiryReason.Idle,
            { IsAbsolute: true } => SessionExpiryReason.Absolute,
            _ => throw new UnreachableException(),
        };
}
