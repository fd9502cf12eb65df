using System.Text;
using Microsoft.Extensions.Logging.Abstractions;
using Session.AspNetCore;
using Session.Engine;
using Xunit;

namespace Facade;

/// <summary>An application's own serializer may write anything: nothing at all, and what stands for that in a store, too.</summary>
public class OwnSerializerTests
{
    private sealed class Plain : ISessionSerializer<string>
    {
        public byte[] Serialize(string value) => Encoding.UTF8.GetBytes(value);

        public string Deserialize(ReadOnlyMemory<byte> bytes) => Encoding.UTF8.GetString(bytes.Span);
    }

    [Theory]
    [InlineData("")]
    [InlineData("tea")]
    [InlineData("\0nothing")]
    [InlineData("\0nothing\0")]
    [InlineData("\0nothing\0tea")]
    [InlineData("\0nothing\0\0nothing\0")]
    public void Whatever_it_writes_comes_back(string text)
    {
        foreach (var comparesWrites in new[] { false, true })
        {
            ISessionSerializer<string> serializer = new CheckedSerializer<string>(
                new Plain(),
                comparesWrites,
                NullLogger.Instance
            );
            var stored = serializer.Serialize(text);
            Assert.NotEmpty(stored);
            Assert.Equal(text, serializer.Deserialize(stored));
        }
    }
}
