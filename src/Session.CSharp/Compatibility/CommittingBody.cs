using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;

namespace Session.CSharp;

/// <summary>
/// The response's body while the session has changes that are not stored: its first byte waits for them. What cannot be stored is
/// thrown to whoever writes it, while another answer is still possible.
/// </summary>
internal sealed class CommittingBody : StreamResponseBodyFeature
{
    private readonly HttpContext _context;
    private readonly IHttpResponseBodyFeature _inner;

    private CommittingBody(HttpContext context, IHttpResponseBodyFeature inner, CompatibleSession session)
        : base(new CommittingStream(inner.Stream, session), inner) => (_context, _inner) = (context, inner);

    /// <summary>Null where there is no body.</summary>
    public static CommittingBody? Before(HttpContext context, CompatibleSession session)
    {
        if (context.Features.Get<IHttpResponseBodyFeature>() is not { } inner)
            return null;

        var body = new CommittingBody(context, inner, session);
        context.Features.Set<IHttpResponseBodyFeature>(body);
        return body;
    }

    /// <summary>What an endpoint has left in the writer.</summary>
    public async ValueTask FlushAsync()
    {
        if (Writer.UnflushedBytes > 0)
            await Writer.FlushAsync().ConfigureAwait(false);
    }

    public override async Task CompleteAsync()
    {
        await base.CompleteAsync().ConfigureAwait(false);
        await _inner.CompleteAsync().ConfigureAwait(false);
    }

    /// <summary>From here on the body is as it was, unless somebody has put another one in front of it.</summary>
    public void LetGo()
    {
        if (ReferenceEquals(_context.Features.Get<IHttpResponseBodyFeature>(), this))
            _context.Features.Set(_inner);
    }
}
