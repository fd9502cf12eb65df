using System.Reflection;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Metadata;
using Microsoft.FSharp.Core;
using Session.AspNetCore;
using Session.Engine;

namespace Session.CSharp;

/// <summary>The session of this request. Each call that changes it is stored when it returns, before the response starts.</summary>
/// <remarks>A parameter of minimal-API handlers and MVC actions; elsewhere <c>await HttpContext.GetSessionAsync&lt;T&gt;()</c>. Not for use by several threads at once.</remarks>
/// <typeparam name="T">The session data: best an immutable record.</typeparam>
public sealed class Session<T> : IBindableFromHttpContext<Session<T>>, IEndpointParameterMetadataProvider
    where T : class
{
    private readonly RequestSession<T> _request;

    private Session(RequestSession<T> request) => _request = request;

    /// <summary>The public id; empty while there is no session.</summary>
    public SessionId Id => SessionId.Of(_request.Id?.Value);

    /// <summary>Where in its life the session is.</summary>
    public SessionState State => _request.Phase.ToSessionState();

    /// <summary>What the request came with.</summary>
    public SessionOrigin Origin => _request.Origin.ToSessionOrigin();

    /// <summary>The data as last read or written by this request; null without a session. To change it, call <see cref="UpdateAsync"/>.</summary>
    public T? Data => _request.Data?.Value;

    /// <summary>Whose session it is: set by <see cref="SignInAsync(string, T, CancellationToken)"/>, and by nothing else.</summary>
    public string? Subject => _request.Live?.Value.Subject?.Value;

    /// <summary>When the session was created; null without one.</summary>
    public DateTimeOffset? CreatedAt => _request.Live?.Value.CreatedAt;

    /// <summary>When the subject last signed in (UTC); null when nobody has. Compare its age before what needs a fresh sign-in (ASVS 7.5.1, 7.5.3).</summary>
    public DateTimeOffset? AuthenticatedAt => _request.Live?.Value.AuthenticatedAt?.Value;

    /// <summary>When it ends if nothing more happens; null without one.</summary>
    public DateTimeOffset? ExpiresAt => _request.ExpiresAt?.Value;

    /// <summary>Cancelled once this session is over, has been elevated or belongs to another subject: by this request or any other one, on any node.</summary>
    /// <remarks>
    /// For what outlives its answer's first byte: a WebSocket, an event stream. The session is watched from the first call to the
    /// end of the request, and not before. Without a session it is never cancelled (<c>RequireSession</c> sees to it that there is
    /// one); of a session that is over already it is cancelled at once. An open connection is no activity: it moves no deadline.
    /// </remarks>
    public CancellationToken Ended => _request.Watching.Ended;

    /// <summary>Why <see cref="Ended"/> was cancelled; null while it is not.</summary>
    public SessionEndCause? EndedBecause => _request.Watching.Cause?.Value.ToSessionEndCause();

    /// <summary>Begins a new session; one that was there is destroyed.</summary>
    /// <exception cref="SessionUnavailableException">The store did not take it, or did not say so: see <see cref="SessionUnavailableException.MayHaveChanged"/>.</exception>
    /// <exception cref="SessionDataException">The data is larger than <c>MaxDataBytes</c>.</exception>
    /// <exception cref="InvalidOperationException">The response has started.</exception>
    public async Task CreateAsync(T data, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(data);
        (await _request.Create(data, cancellationToken).ConfigureAwait(false)).OrThrow();
    }

    /// <summary>Stores the data as given. Begins a session if there is none.</summary>
    /// <exception cref="SessionConflictException">Another write came first: reload, or use <see cref="UpdateAsync"/>.</exception>
    /// <exception cref="SessionEndedException">The session ended meanwhile, or the token does not open it any more.</exception>
    /// <exception cref="SessionUnavailableException">The store did not take it, or did not say so: see <see cref="SessionUnavailableException.MayHaveChanged"/>.</exception>
    public async Task SaveAsync(T data, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(data);
        (await _request.Save(data, cancellationToken).ConfigureAwait(false)).OrThrow();
    }

    /// <summary>Stores what <paramref name="update"/> makes of the stored data (null: there is no session; it begins one), and returns it.</summary>
    /// <remarks>Called again on the fresh data when another write came first: let it have no side effects.</remarks>
    /// <exception cref="SessionEndedException">The session ended meanwhile, or the token does not open it any more.</exception>
    /// <exception cref="SessionUnavailableException">The store did not take it, or did not say so: see <see cref="SessionUnavailableException.MayHaveChanged"/>.</exception>
    /// <exception cref="SessionDataException">The data is larger than <c>MaxDataBytes</c>.</exception>
    public async Task<T> UpdateAsync(Func<T?, T> update, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(update);
        var change = FuncConvert.FromFunc((FSharpOption<T>? data) => update(data?.Value));
        return (await _request.Update(change, cancellationToken).ConfigureAwait(false)).OrThrow();
    }

    /// <summary>Signs a subject in with new data: a new token, the old one is dead at once, the absolute timeout starts anew (ASVS 7.2.4).</summary>
    /// <param name="subject">Whose session it is from now on: 1 to 1,024 bytes of UTF-8, without half of a surrogate pair.</param>
    /// <param name="data">The data; take over from <see cref="Data"/> what the signed-in user is to keep.</param>
    /// <param name="cancellationToken">Stops before the write is sent.</param>
    /// <exception cref="ArgumentException">No session can be of this subject. Nothing was changed.</exception>
    /// <exception cref="SessionEndedException">The session ended meanwhile.</exception>
    /// <exception cref="SessionLimitException">The subject has too many sessions, and the settings refuse another.</exception>
    /// <exception cref="SessionUnavailableException">The store did not take it, or did not say so: see <see cref="SessionUnavailableException.MayHaveChanged"/>.</exception>
    public async Task SignInAsync(string subject, T data, CancellationToken cancellationToken = default)
    {
        Translate.ThrowUnlessSubject(subject);
        ArgumentNullException.ThrowIfNull(data);
        (await _request.SignIn(subject, data, null, cancellationToken).ConfigureAwait(false)).OrThrow();
    }

    /// <summary>The same at the end of a sign-in at an identity provider: <c>SignInAsync("ada", cart, external: (issuer, sid))</c>. A logout there ends this session.</summary>
    /// <remarks>
    /// By the endpoint of <c>MapBackChannelLogout</c>. A logout of the user there ends it as well: the user has the name <paramref name="subject"/>
    /// there, too, unless <paramref name="external"/> says another one. A few more calls of the store than without.
    /// </remarks>
    /// <param name="subject">Whose session it is from now on: 1 to 1,024 bytes of UTF-8, without half of a surrogate pair.</param>
    /// <param name="data">The data.</param>
    /// <param name="external">The claims <c>iss</c> and <c>sid</c> of the ID token; null in place of <c>sid</c> where the provider gives none.</param>
    /// <param name="cancellationToken">Stops before the write is sent.</param>
    /// <exception cref="ArgumentException">No session can be of this subject. Nothing was changed.</exception>
    /// <exception cref="SessionEndedException">The session ended meanwhile, or the one at the provider has: nobody is signed in.</exception>
    /// <exception cref="SessionLimitException">The subject has too many sessions, and the settings refuse another.</exception>
    /// <exception cref="SessionUnavailableException">The store did not take it, or did not say so: see <see cref="SessionUnavailableException.MayHaveChanged"/>.</exception>
    public async Task SignInAsync(
        string subject,
        T data,
        ExternalSession external,
        CancellationToken cancellationToken = default
    )
    {
        Translate.ThrowUnlessSubject(subject);
        ArgumentNullException.ThrowIfNull(data);
        ArgumentNullException.ThrowIfNull(external);
        (await _request.SignIn(subject, data, external, cancellationToken).ConfigureAwait(false)).OrThrow();
    }

    /// <summary>A new token after a change of privilege: the old one is dead at once. (Renewals happen by themselves.)</summary>
    /// <exception cref="SessionEndedException">There is no session, or it ended meanwhile.</exception>
    /// <exception cref="SessionUnavailableException">The store did not take it, or did not say so: see <see cref="SessionUnavailableException.MayHaveChanged"/>.</exception>
    public async Task RegenerateAsync(CancellationToken cancellationToken = default) =>
        (await _request.Regenerate(null, cancellationToken).ConfigureAwait(false)).OrThrow();

    /// <summary>A new token and new data in one write, after a second factor, say: the old token is dead at once. The absolute timeout goes on.</summary>
    /// <remarks>The data is stored as given: a write of another request, since it was read, is lost, as with <see cref="SignInAsync(string, T, CancellationToken)"/>.</remarks>
    /// <exception cref="SessionEndedException">There is no session, or it ended meanwhile.</exception>
    /// <exception cref="SessionDataException">The data is larger than <c>MaxDataBytes</c>.</exception>
    /// <exception cref="SessionUnavailableException">The store did not take it, or did not say so: see <see cref="SessionUnavailableException.MayHaveChanged"/>.</exception>
    public async Task RegenerateAsync(T data, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(data);
        var value = FSharpOption<T>.Some(data);
        (await _request.Regenerate(value, cancellationToken).ConfigureAwait(false)).OrThrow();
    }

    /// <summary>Ends the session and expires the cookie (ASVS 7.4.1). Nothing to do without a token, or when the session is over already.</summary>
    /// <remarks>
    /// <see cref="State"/> is Destroyed once a session was ended here. Of two different cookies under the name (one may be
    /// planted) each session is ended. What is no token at all ends nothing: <see cref="Origin"/> is Invalid then, and
    /// <c>OnRefused</c> is told.
    /// </remarks>
    /// <exception cref="SessionEndedException">A token came that does not open its session (a guess, or superseded), or the session cannot be read: it may live under another token, and nothing was ended.</exception>
    /// <exception cref="SessionUnavailableException">The store did not take it: the session may still live.</exception>
    public async Task DestroyAsync(CancellationToken cancellationToken = default) =>
        (await _request.Destroy(cancellationToken).ConfigureAwait(false)).OrThrow();

    /// <summary>Reads the session again.</summary>
    /// <exception cref="SessionUnavailableException">The store did not answer.</exception>
    public async Task ReloadAsync(CancellationToken cancellationToken = default) =>
        (await _request.Reload(cancellationToken).ConfigureAwait(false)).OrThrow();

#pragma warning disable CA1000 // the framework's interfaces for parameters ask for static members
    /// <summary>The session of this request, read from the store on the first call. For parameter binding.</summary>
    public static ValueTask<Session<T>?> BindAsync(HttpContext context, ParameterInfo parameter)
    {
        ArgumentNullException.ThrowIfNull(context);
        return OfAsync(context, context.RequestAborted)!;
    }

    /// <summary>Marks the endpoint as one that uses these sessions.</summary>
    public static void PopulateMetadata(ParameterInfo parameter, EndpointBuilder builder)
    {
        ArgumentNullException.ThrowIfNull(builder);
        builder.Metadata.Add(new SessionMetadata(typeof(T)));
        SessionGuard.describe(builder, 503);
    }
#pragma warning restore CA1000

    internal static ValueTask<Session<T>> OfAsync(HttpContext context, CancellationToken cancellationToken)
    {
        var request = RequestSession.find<T>(context);
        var loading = request.Load(cancellationToken);
        if (!loading.IsCompletedSuccessfully)
            return Later(loading, request);

        var answer = loading.Result;
        return answer.IsOk
            ? new ValueTask<Session<T>>(OfRequest(request))
            : ValueTask.FromException<Session<T>>(Translate.ToException(answer.ErrorValue));

        static async ValueTask<Session<T>> Later(
            ValueTask<FSharpResult<Unit, SessionError>> loading,
            RequestSession<T> request
        )
        {
            (await loading.ConfigureAwait(false)).OrThrow();
            return OfRequest(request);
        }
    }

    /// <summary>One of several in a request that stays open.</summary>
    internal static Session<T> Of(RequestSession<T> fork) => new(fork);

    /// <summary>One for the whole request; kept with it, and not with its HttpContext, which may be somebody else's by now.</summary>
    private static Session<T> OfRequest(RequestSession<T> request)
    {
        if (request.Face is Session<T> known)
            return known;

        var session = new Session<T>(request);
        request.Face = session;
        return session;
    }
}
