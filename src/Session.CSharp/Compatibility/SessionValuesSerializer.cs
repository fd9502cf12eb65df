using System.Buffers.Binary;
using System.Text;
using Session.AspNetCore;

namespace Session.CSharp;

/// <summary>
/// The framework's own format, so that what its middleware has stored is read as it is:
/// u8 revision = 2 | u24 count | 16 bytes id | (u16 length, key in UTF-8, i32 length, value)*, big-endian.
/// </summary>
internal sealed class SessionValuesSerializer : ISessionSerializer<SessionValues>
{
    private const byte Revision = 2;
    private const int IdBytes = 16;
    private const int HeadBytes = 4 + IdBytes;
    private const int MostValues = 0xFFFFFF;

    /// <summary>The longest key, in bytes of UTF-8.</summary>
    internal const int MaxKeyBytes = ushort.MaxValue;

    // Half of a surrogate pair throws: it would come back as another character, under which nobody looks.
    private static readonly UTF8Encoding Strict = new(false, true);

    public byte[] Serialize(SessionValues value)
    {
        if (value.Count > MostValues)
            throw new UnwritableSessionDataException($"A session has at most {MostValues:N0} values.", null);

        var length = HeadBytes;
        foreach (var (key, bytes) in value.All)
            length += 6 + KeyBytesOf(key) + bytes.Length;

        var written = new byte[length];
        var rest = written.AsSpan();
        BinaryPrimitives.WriteInt32BigEndian(rest, value.Count);
        rest[0] = Revision;
        value.FormerId.TryWriteBytes(rest[4..]);
        rest = rest[HeadBytes..];
        foreach (var (key, bytes) in value.All)
        {
            var keyBytes = Encoding.UTF8.GetBytes(key, rest[2..]);
            BinaryPrimitives.WriteUInt16BigEndian(rest, (ushort)keyBytes);
            rest = rest[(2 + keyBytes)..];
            BinaryPrimitives.WriteInt32BigEndian(rest, bytes.Length);
            bytes.CopyTo(rest[4..]);
            rest = rest[(4 + bytes.Length)..];
        }

        return written;
    }

    /// <summary>Of a key that comes back as it is: with another one the whole session would be lost, or its value.</summary>
    private static int KeyBytesOf(string key)
    {
        try
        {
            var count = Strict.GetByteCount(key);
            return count <= MaxKeyBytes
                ? count
                : throw new UnwritableSessionDataException(
                    $"A key of the session has at most {MaxKeyBytes:N0} bytes of UTF-8.",
                    null
                );
        }
        catch (EncoderFallbackException error)
        {
            throw new UnwritableSessionDataException("A key of the session has half of a surrogate pair.", error);
        }
    }

    public SessionValues Deserialize(ReadOnlyMemory<byte> bytes) =>
        TryRead(bytes.Span) ?? throw new FormatException("These are no values of a session.");

    /// <summary>Null: it is in no format that is known here.</summary>
    internal static SessionValues? TryRead(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length < HeadBytes || bytes[0] != Revision)
            return null;

        var count = BinaryPrimitives.ReadInt32BigEndian(bytes) & MostValues;
        var id = new Guid(bytes.Slice(4, IdBytes));
        bytes = bytes[HeadBytes..];
        // Not sized by what the bytes say: they may be damaged.
        var values = new Dictionary<string, byte[]>();
        for (var i = 0; i < count; i++)
        {
            if (!TryTake(ref bytes, 2, out var head))
                return null;

            if (!TryTake(ref bytes, BinaryPrimitives.ReadUInt16BigEndian(head), out var key))
                return null;

            if (!TryTake(ref bytes, 4, out head))
                return null;

            if (!TryTake(ref bytes, BinaryPrimitives.ReadInt32BigEndian(head), out var value))
                return null;

            values[Encoding.UTF8.GetString(key)] = value.ToArray();
        }

        return new SessionValues(values, id);
    }

    private static bool TryTake(ref ReadOnlySpan<byte> bytes, int count, out ReadOnlySpan<byte> taken)
    {
        if (count < 0 || count > bytes.Length)
        {
            taken = default;
            return false;
        }

        taken = bytes[..count];
        bytes = bytes[count..];
        return true;
    }
}
