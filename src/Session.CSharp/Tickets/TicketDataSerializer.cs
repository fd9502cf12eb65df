using System.Buffers.Binary;
using Microsoft.AspNetCore.Authentication;
using Session.AspNetCore;

namespace Session.CSharp;

/// <summary>A ticket as the framework writes it, and before it when it expires: a list or a sweep needs no more of it.</summary>
/// <remarks>u8 version = 1 | i64 ticks of UTC, or -1 | the framework's bytes. Integers are little-endian.</remarks>
internal sealed class TicketDataSerializer : ISessionSerializer<AuthenticationTicket>, IKnowsEnd
{
    private const byte Version = 1;
    private const int HeadBytes = 9;

    public byte[] Serialize(AuthenticationTicket ticket)
    {
        var body = TicketSerializer.Default.Serialize(ticket);
        var bytes = new byte[HeadBytes + body.Length];
        bytes[0] = Version;
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(1), ticket.Properties.ExpiresUtc?.UtcTicks ?? -1);
        body.CopyTo(bytes.AsSpan(HeadBytes));
        return bytes;
    }

    public AuthenticationTicket Deserialize(ReadOnlyMemory<byte> bytes)
    {
        if (bytes.Length > HeadBytes && bytes.Span[0] > Version)
            throw new NewerSessionDataException(bytes.Span[0], Version);

        return HasHead(bytes.Span)
            ? TicketSerializer.Default.Deserialize(bytes[HeadBytes..].ToArray())
                ?? throw new FormatException("The ticket was written by another version of the framework.")
            : throw new FormatException("These bytes are no ticket.");
    }

    public DateTimeOffset EndOf(byte[] data) =>
        HasHead(data)
        && BinaryPrimitives.ReadInt64LittleEndian(data.AsSpan(1)) is var ticks and >= 0
        && ticks <= DateTime.MaxValue.Ticks
            ? new DateTimeOffset(ticks, TimeSpan.Zero)
            : DateTimeOffset.MaxValue;

    private static bool HasHead(ReadOnlySpan<byte> bytes) => bytes.Length > HeadBytes && bytes[0] == Version;
}
