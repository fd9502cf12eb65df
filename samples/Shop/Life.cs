using System.Runtime.CompilerServices;
using Session.CSharp;

namespace Shop;

/// <summary>What the stream of a page says: that the session is open, and why it is not any more.</summary>
internal static class Life
{
    public static async IAsyncEnumerable<string> Of(
        Session<Cart> session,
        [EnumeratorCancellation] CancellationToken left
    )
    {
        using var either = CancellationTokenSource.CreateLinkedTokenSource(session.Ended, left);
        yield return "Open";
        await Task.Delay(Timeout.Infinite, either.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (session.EndedBecause is { } cause)
            yield return cause.ToString();
    }
}
