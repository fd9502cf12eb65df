using System.Diagnostics.CodeAnalysis;

namespace Session.Stores.Redis;

/// <summary>
/// What came back for a write that was sent. No reply (the default) means that the write may have taken effect, or may do so
/// later: whoever sent it again could write twice.
/// </summary>
internal readonly struct Reply<T>(T content)
{
    private readonly T _content = content;
    private readonly bool _hasCome = true;

    /// <summary>False: no reply came.</summary>
    public bool HasCome([MaybeNullWhen(false)] out T content)
    {
        content = _content;
        return _hasCome;
    }
}
