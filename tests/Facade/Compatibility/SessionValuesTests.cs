using Microsoft.Extensions.DependencyInjection;
using Session.AspNetCore;
using Session.CSharp;
using Xunit;
using static Facade.Compatibility.Sessions;

namespace Facade.Compatibility;

/// <summary>The values themselves, as the application may make them without <c>ISession</c>, which looks at its keys.</summary>
public class SessionValuesTests
{
    private static async Task<ISessionSerializer<SessionValues>> SerializerAsync()
    {
        await using var site = await CompatSite.StartAsync(Ours);
        return site.Services.GetRequiredService<SessionService<SessionValues>>().Serializer;
    }

    /// <summary>Too long by a byte, too long by as much as begins to count at zero, and halves of surrogate pairs.</summary>
    [Fact]
    public async Task A_key_that_would_not_come_back_is_refused_when_it_is_written()
    {
        var serializer = await SerializerAsync();
        foreach (
            var key in new[]
            {
                new string('k', 65_536),
                new string('k', 65_546),
                new string('é', 32_768),
                "\ud800",
                "a\udc00b",
            }
        )
        {
            var values = SessionValues.Empty.With("cart", "tea").With(key, "x");
            Assert.Throws<UnwritableSessionDataException>(() => serializer.Serialize(values));
        }
    }

    public static TheoryData<string> Writable => [new string('k', 65_535), "", "🚲", "\0"];

    [Theory, MemberData(nameof(Writable))]
    public async Task Every_other_key_comes_back(string key)
    {
        var serializer = await SerializerAsync();
        var back = serializer.Deserialize(serializer.Serialize(SessionValues.Empty.With(key, "x")));
        Assert.Equal("x", back.GetString(key));
    }

    /// <summary>Each of them is a session that cannot be read, and no other failure of whoever asks for it.</summary>
    [Fact]
    public async Task Bytes_that_are_cut_off_or_damaged_are_no_values()
    {
        var serializer = await SerializerAsync();
        var whole = serializer.Serialize(SessionValues.Empty.With("k", "value").With("l", "other"));
        Assert.Equal(2, serializer.Deserialize(whole).Count);
        for (var length = 0; length < whole.Length; length++)
        {
            var some = whole.AsMemory(0, length);
            Assert.Throws<FormatException>(() => serializer.Deserialize(some));
        }

        // The format, the number of values, and how long the first key and its value are: 20 bytes are before them.
        foreach (var (at, value) in new (int, byte)[] { (0, 1), (0, 3), (3, 3), (1, 1), (20, 255), (23, 255), (23, 1) })
        {
            var damaged = whole.ToArray();
            damaged[at] = value;
            Assert.Throws<FormatException>(() => serializer.Deserialize(damaged));
        }
    }
}
