namespace Session.CSharp;

/// <summary>Stores the session's changes before it lets anything through.</summary>
internal sealed class CommittingStream(Stream inner, CompatibleSession session) : Stream
{
    public override bool CanRead => false;
    public override bool CanSeek => false;
    public override bool CanWrite => true;
    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    public override void Flush()
    {
        Commit();
        inner.Flush();
    }

    public override Task FlushAsync(CancellationToken cancellationToken) =>
        session.MustCommit ? AfterCommitAsync(cancellationToken) : inner.FlushAsync(cancellationToken);

    public override void Write(byte[] buffer, int offset, int count)
    {
        Commit();
        inner.Write(buffer, offset, count);
    }

    public override void Write(ReadOnlySpan<byte> buffer)
    {
        Commit();
        inner.Write(buffer);
    }

    public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) =>
        session.MustCommit ? AfterCommitAsync(buffer, cancellationToken) : inner.WriteAsync(buffer, cancellationToken);

    // What Stream has for these writes while its caller waits, which servers refuse.
    public override IAsyncResult BeginWrite(
        byte[] buffer,
        int offset,
        int count,
        AsyncCallback? callback,
        object? state
    ) => TaskToAsyncResult.Begin(WriteAsync(buffer, offset, count, CancellationToken.None), callback, state);

    public override void EndWrite(IAsyncResult asyncResult) => TaskToAsyncResult.End(asyncResult);

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    // Of a server that allows synchronous writes: a thread waits anyway.
    private void Commit()
    {
        if (session.MustCommit)
            session.CommitAsync(CancellationToken.None).GetAwaiter().GetResult();
    }

    private async Task AfterCommitAsync(CancellationToken cancellationToken)
    {
        await session.CommitAsync(CancellationToken.None).ConfigureAwait(false);
        await inner.FlushAsync(cancellationToken).ConfigureAwait(false);
    }

    private async ValueTask AfterCommitAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken)
    {
        await session.CommitAsync(CancellationToken.None).ConfigureAwait(false);
        await inner.WriteAsync(buffer, cancellationToken).ConfigureAwait(false);
    }
}
