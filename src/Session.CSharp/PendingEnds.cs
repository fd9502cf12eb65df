using System.Data.Common;

namespace Session.CSharp;

/// <summary>
/// Sessions that were ended inside a transaction of the application's (<see cref="SessionManager{T}.DestroyAllAsync(string, DbTransaction, SessionId?, CancellationToken)"/>).
/// They are over with its commit, whatever is called here; <c>OnDestroyed</c> is told by what is called here.
/// </summary>
public sealed class PendingEnds
{
    private readonly Engine.PendingEnds _pending;
    private readonly DbTransaction _transaction;

    internal PendingEnds(Engine.PendingEnds pending, DbTransaction transaction)
    {
        _pending = pending;
        _transaction = transaction;
    }

    /// <summary>How many sessions the transaction has ended.</summary>
    public int Count => _pending.Count;

    /// <summary>Commits the transaction, and then tells <c>OnDestroyed</c> of each session that ended.</summary>
    /// <param name="cancellationToken">Stops the commit before it is sent.</param>
    public async Task CommitAsync(CancellationToken cancellationToken = default)
    {
        await _transaction.CommitAsync(cancellationToken).ConfigureAwait(false);
        await _pending.Complete(CancellationToken.None).ConfigureAwait(false);
    }

    /// <summary>
    /// To be called after a commit by other means: looks whether the ends are there, and tells <c>OnDestroyed</c> of each, once.
    /// Also the way to find out about a commit whose answer never came.
    /// </summary>
    /// <param name="cancellationToken">Stops the look.</param>
    /// <returns>False: the transaction was not committed. Nobody has ended, and nothing is told.</returns>
    public Task<bool> CompleteAsync(CancellationToken cancellationToken = default) =>
        _pending.Complete(cancellationToken);
}
