using System.Text.Json;
using Session.CSharp;
using Xunit;

namespace Facade;

public class SessionIdTests
{
    public static TheoryData<string> Ids => ["a", "A-Za-z_09", new string('x', 64)];
    public static TheoryData<string?> Others => [(string?)null, "", "a b", "a.b", "ä", "a\n", new string('x', 65)];

    [Theory, MemberData(nameof(Ids))]
    public void An_id_comes_back_as_its_text(string text)
    {
        Assert.True(SessionId.TryParse(text, out var id));
        Assert.False(id.IsEmpty);
        Assert.Equal(text, id.Value);
        Assert.Equal(text, id.ToString());
        Assert.Equal(id, SessionId.Parse(text));
    }

    [Theory, MemberData(nameof(Others))]
    public void What_is_no_id_is_refused(string? text)
    {
        Assert.False(SessionId.TryParse(text, out var id));
        Assert.True(id.IsEmpty);
        Assert.Contains("1 to 64", Assert.Throws<FormatException>(() => SessionId.Parse(text!)).Message);
    }

    [Fact]
    public void Empty_is_the_default_and_has_no_text()
    {
        Assert.Equal(default, SessionId.Empty);
        Assert.True(SessionId.Empty.IsEmpty);
        Assert.Equal("", SessionId.Empty.Value);
        Assert.NotEqual(SessionId.Empty, SessionId.Parse("a"));
    }

    [Fact]
    public void In_json_it_is_a_string()
    {
        var id = SessionId.Parse("abc");
        Assert.Equal("\"abc\"", JsonSerializer.Serialize(id));
        Assert.Equal(id, JsonSerializer.Deserialize<SessionId>("\"abc\""));
        Assert.Equal("\"\"", JsonSerializer.Serialize(SessionId.Empty));
    }

    /// <summary>Of a session that begins with this very write: <c>new Cart("tea", session.Id)</c>.</summary>
    [Fact]
    public void In_json_no_session_comes_back_as_none() =>
        Assert.Equal(SessionId.Empty, JsonSerializer.Deserialize<SessionId>("\"\""));

    [Theory, InlineData("\"a b\""), InlineData("1"), InlineData("null")]
    public void Json_that_holds_no_id_is_refused(string json) =>
        Assert.Contains(
            "1 to 64",
            Assert.Throws<JsonException>(() => JsonSerializer.Deserialize<SessionId>(json)).Message
        );
}
