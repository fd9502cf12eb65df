using System.Data.Common;
using System.Runtime.CompilerServices;
using Microsoft.AspNetCore.Http;
using Microsoft.FSharp.Core;
using Session.AspNetCore;
using Session.Domain;
using Session.Engine;

namespace Session.CSharp;

/// <summary>Sessions without a request: list them, change one, end one, end all of a subject. A singleton in dependency injection.</summary>
/// <typeparam name="T">The session data.</typeparam>
public sealed class SessionManager<T>
    where T : class
{
    private readonly SessionService<T> _service;
    private readonly SessionEngine _engine;

    /// <summary>For dependency injection.</summary>
    public SessionManager(SessionService<T> service)
    {
        ArgumentNullException.ThrowIfNull(service);
        _service = service;
        _engine = service.Engine;
    }

    /// <summary>Stores what <paramref name="update"/> makes of a session's data, whoever holds it, and returns it; null when no session lives under this id.</summary>
    /// <remarks>
    /// The session stays, its token and its deadlines too: a role is taken away without a sign-out. Called again on the
    /// fresh data when another write came first: let it have no side effects. What a request has read before stays as it
    /// is there, until it writes or reloads.
    /// </remarks>
    /// <param name="id">The session.</param>
    /// <param name="update">The new data from the data as it is stored; null where none is.</param>
    /// <param name="cancellationToken">Stops before the write is sent.</param>
    /// <exception cref="SessionDataException">The data is larger than <c>MaxDataBytes</c>.</exception>
    /// <exception cref="SessionEndedException">The session, or its data, cannot be read.</exception>
    /// <exception cref="SessionUnavailableException">The store did not take it, or did not say so: see <see cref="SessionUnavailableException.MayHaveChanged"/>.</exception>
    /// <exception cref="NotSupportedException">The data is sealed to its bearer (<c>SealToBearer</c>).</exception>
    public async Task<T?> UpdateAsync(SessionId id, Func<T?, T> update, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(update);
        cancellationToken.ThrowIfCancellationRequested();
        if (id.IsEmpty)
            return null;

        var change = FuncConvert.FromFunc((FSharpOption<T>? data) => update(data?.Value));
        var updated = await _service.UpdateById(id.Value, change, cancellationToken).ConfigureAwait(false);
        return updated.OrThrow()?.Value;
    }

    /// <summary>Ends a session, whoever holds it. False when there was none that lived. Check whose it is before (ASVS 7.5.2, 8.2.2).</summary>
    /// <exception cref="SessionUnavailableException">The store did not answer, or did not say whether it took the end: call it again.</exception>
    public async Task<bool> DestroySessionAsync(SessionId id, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return !id.IsEmpty
            && (
                await _engine.Destroy(id.Value, DestroyReason.Revoked, cancellationToken).ConfigureAwait(false)
            ).OrThrow();
    }

    /// <summary>Ends every session of a subject but <paramref name="except"/>, and says how many. Once it returns, none begun before lives (ASVS 7.4.2).</summary>
    /// <param name="subject">Whose.</param>
    /// <param name="except">One that stays; null or empty: none.</param>
    /// <param name="cancellationToken">Stops between two sessions; those ended so far stay ended.</param>
    /// <exception cref="ArgumentException">No session can be of this subject.</exception>
    /// <exception cref="SessionUnavailableException">Some may still live: call it again. The message says how many were ended and how many not, if that is known.</exception>
    [OverloadResolutionPriority(1)] // null is nobody to keep, and no transaction
    public async Task<int> DestroyAllAsync(
        string subject,
        SessionId? except = null,
        CancellationToken cancellationToken = default
    )
    {
        Translate.ThrowUnlessSubject(subject);
        cancellationToken.ThrowIfCancellationRequested();
        var kept = Kept(except);
        var ended = await _engine
            .DestroyAll(subject, kept, DestroyReason.Revoked, cancellationToken)
            .ConfigureAwait(false);
        return ended.OrThrow();
    }

    /// <summary>
    /// Ends every session of a subject but <paramref name="except"/> inside a transaction of the application's: a password change
    /// that is rolled back ends nobody, and once one is committed nobody lives whose sign-in was acknowledged before.
    /// </summary>
    /// <remarks>
    /// From this call to the end of the transaction a sign-in of the subject waits, so commit soon, and let nothing in
    /// between sign the same subject in. Change the password first, in the same transaction. For a store in the
    /// application's own database: PostgreSQL. After an exception roll back.
    /// </remarks>
    /// <param name="subject">Whose.</param>
    /// <param name="transaction">Begun by the application, READ COMMITTED, in the database that has the sessions.</param>
    /// <param name="except">One that stays; null or empty: none.</param>
    /// <param name="cancellationToken">Stops between two sessions.</param>
    /// <returns>How many, and what is to be done after the commit: <see cref="PendingEnds.CompleteAsync"/>, or <see cref="PendingEnds.CommitAsync"/> in place of the commit.</returns>
    /// <exception cref="ArgumentException">No session can be of this subject, or the transaction is one of another database system.</exception>
    /// <exception cref="InvalidOperationException">The transaction is over, in another database, or not READ COMMITTED.</exception>
    /// <exception cref="NotSupportedException">The store has no transactions of the application's.</exception>
    /// <exception cref="SessionUnavailableException">The store did not answer.</exception>
    public async Task<PendingEnds> DestroyAllAsync(
        string subject,
        DbTransaction transaction,
        SessionId? except = null,
        CancellationToken cancellationToken = default
    )
    {
        Translate.ThrowUnlessSubject(subject);
        ArgumentNullException.ThrowIfNull(transaction);
        cancellationToken.ThrowIfCancellationRequested();
        var kept = Kept(except);
        var pending = await _engine
            .DestroyAllIn(transaction, subject, kept, DestroyReason.Revoked, cancellationToken)
            .ConfigureAwait(false);
        return new PendingEnds(pending.OrThrow(), transaction);
    }

    /// <summary>Ends every session of every subject, and the anonymous ones, and says how many: after an incident, or a restored backup (ASVS 7.4.5).</summary>
    /// <remarks>
    /// Once it returns, none that was stored before the call lives; those that begin meanwhile may. It walks the whole
    /// store, a page at a time. Records that this node cannot read are ended as well. Guard the page that calls it.
    /// </remarks>
    /// <param name="cancellationToken">Stops between two sessions; those ended so far stay ended.</param>
    /// <exception cref="SessionUnavailableException">Some may still live: call it again. The message says how many were ended and how many not, if that is known.</exception>
    /// <exception cref="NotSupportedException">The store cannot list its sessions.</exception>
    public async Task<int> DestroyEverySessionAsync(CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return (await _engine.DestroyEvery(DestroyReason.Revoked, cancellationToken).ConfigureAwait(false)).OrThrow();
    }

    /// <summary>The live sessions of a subject.</summary>
    /// <exception cref="ArgumentException">No session can be of this subject.</exception>
    /// <exception cref="SessionUnavailableException">The store did not answer.</exception>
    public IAsyncEnumerable<SessionInfo> ListAsync(string subject, CancellationToken cancellationToken = default)
    {
        Translate.ThrowUnlessSubject(subject);
        return EachAsync(subject, cancellationToken);
    }

    private async IAsyncEnumerable<SessionInfo> EachAsync(
        string subject,
        [EnumeratorCancellation] CancellationToken cancellationToken
    )
    {
        cancellationToken.ThrowIfCancellationRequested();
        foreach (var found in (await _engine.List(subject, cancellationToken).ConfigureAwait(false)).OrThrow())
            yield return Translate.ToInfo(found, _engine);
    }

    /// <summary>The live session under this id, or null.</summary>
    /// <exception cref="SessionUnavailableException">The store did not answer.</exception>
    public async Task<SessionInfo?> FindAsync(SessionId id, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        if (id.IsEmpty)
            return null;

        var found = (await _engine.Find(id.Value, cancellationToken).ConfigureAwait(false)).OrThrow();
        return found is null ? null : Translate.ToInfo(found.Value, _engine);
    }

    /// <summary>Begins a new session for this request; one that was there is destroyed.</summary>
    public async Task<Session<T>> CreateSessionAsync(
        T data,
        HttpContext context,
        CancellationToken cancellationToken = default
    )
    {
        ArgumentNullException.ThrowIfNull(context);
        var session = await Session<T>.OfAsync(context, cancellationToken).ConfigureAwait(false);
        await session.CreateAsync(data, cancellationToken).ConfigureAwait(false);
        return session;
    }

    /// <summary>The session of this request, as <c>HttpContext.GetSessionAsync&lt;T&gt;()</c>.</summary>
    public async Task<Session<T>> GetSessionAsync(HttpContext context, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(context);
        return await Session<T>.OfAsync(context, cancellationToken).ConfigureAwait(false);
    }

    private static FSharpOption<string>? Kept(SessionId? except) =>
        except is { IsEmpty: false } id ? FSharpOption<string>.Some(id.Value) : FSharpOption<string>.None;
}
