using System.Diagnostics.CodeAnalysis;
using System.Text;

namespace Session.CSharp;

/// <summary>What <c>HttpContext.Session</c> keeps: bytes under keys. Immutable: a change gives new values.</summary>
/// <remarks>The data of the sessions that <c>AddSessionCompatibility()</c> adds: <see cref="SessionManager{T}"/> of it lists and ends them, <see cref="Session{T}"/> of it gives a new token or signs out.</remarks>
public sealed class SessionValues
{
    private readonly Dictionary<string, byte[]> _values;
    private readonly Guid _formerId;

    internal SessionValues(Dictionary<string, byte[]> values, Guid formerId) =>
        (_values, _formerId) = (values, formerId);

    /// <summary>No values.</summary>
    public static SessionValues Empty { get; } = new([], Guid.Empty);

    /// <summary>The keys.</summary>
    public IEnumerable<string> Keys => _values.Keys;

    /// <summary>How many values.</summary>
    public int Count => _values.Count;

    /// <summary>The id that the session had under the framework's middleware, as <c>ISession.Id</c> shows it; empty: it began here.</summary>
    internal Guid FormerId => _formerId;

    internal IReadOnlyDictionary<string, byte[]> All => _values;

    /// <summary>The value under a key, if there is one.</summary>
    public bool TryGetValue(string key, out ReadOnlyMemory<byte> value)
    {
        ArgumentNullException.ThrowIfNull(key);
        var isThere = _values.TryGetValue(key, out var bytes);
        value = bytes;
        return isThere;
    }

    /// <summary>The text that <c>SetString</c> has stored under a key; null: nothing is there.</summary>
    public string? GetString(string key) =>
        TryGetValue(key, out var value) ? Encoding.UTF8.GetString(value.Span) : null;

    /// <summary>These values, with one more or another one.</summary>
    /// <remarks>A key of more than 65,535 bytes of UTF-8, or with half of a surrogate pair, is refused when the session is written.</remarks>
    public SessionValues With(string key, ReadOnlySpan<byte> value)
    {
        ArgumentNullException.ThrowIfNull(key);
        return Merge(false, new Dictionary<string, byte[]?> { [key] = value.ToArray() });
    }

    /// <summary>These values, with one more or another one: what <c>GetString</c> reads.</summary>
    public SessionValues With(string key, string value)
    {
        ArgumentNullException.ThrowIfNull(value);
        return With(key, Encoding.UTF8.GetBytes(value));
    }

    /// <summary>These values without one.</summary>
    public SessionValues Without(string key)
    {
        ArgumentNullException.ThrowIfNull(key);
        return Merge(false, new Dictionary<string, byte[]?> { [key] = null });
    }

    /// <summary>Not a copy: as the framework's session gives it out.</summary>
    internal bool TryGetBytes(string key, [NotNullWhen(true)] out byte[]? value) => _values.TryGetValue(key, out value);

    /// <summary>The changes of one request, made on what is stored by now. The same object where they change nothing.</summary>
    internal SessionValues Merge(bool isCleared, IReadOnlyDictionary<string, byte[]?>? changes)
    {
        var merged = isCleared ? [] : new Dictionary<string, byte[]>(_values);
        foreach (var (key, value) in changes ?? new Dictionary<string, byte[]?>())
        {
            if (value is null)
                merged.Remove(key);
            else
                merged[key] = value;
        }

        return IsSame(merged) ? this : new SessionValues(merged, _formerId);
    }

    private bool IsSame(Dictionary<string, byte[]> other)
    {
        if (other.Count != _values.Count)
            return false;

        foreach (var (key, value) in other)
        {
            if (!_values.TryGetValue(key, out var mine) || !value.AsSpan().SequenceEqual(mine))
                return false;
        }

        return true;
    }
}
