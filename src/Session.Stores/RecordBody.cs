using System.Runtime.InteropServices;

namespace Session.Stores;

/// <summary>The body of a record, for drivers that take nothing but arrays.</summary>
internal static class RecordBody
{
    /// <summary>The array behind the body if it is exactly the body, else a copy of it. Not to be written to.</summary>
    public static byte[] AsArray(ReadOnlyMemory<byte> body) =>
        MemoryMarshal.TryGetArray(body, out var part)
        && part is { Offset: 0, Array: { } bytes }
        && bytes.Length == part.Count
            ? bytes
            : body.ToArray();
}
