using System.Diagnostics.CodeAnalysis;
using System.Text.Json;
using System.Text.Json.Serialization;
using Session.Engine;

namespace Session.CSharp;

/// <summary>The public name of one session for its whole life: safe to log, to list, to show. It opens nothing.</summary>
/// <remarks>Empty (the default value) while there is no session. Binds from routes and queries, and is a string in JSON, an empty one where there is no session.</remarks>
[JsonConverter(typeof(Converter))]
public readonly record struct SessionId : IParsable<SessionId>
{
    private readonly string? _value;

    private SessionId(string value) => _value = value;

    /// <summary>No session.</summary>
    public static SessionId Empty => default;

    /// <summary>Whether this names no session.</summary>
    public bool IsEmpty => _value is null;

    /// <summary>The text: 1 to 64 of A-Z a-z 0-9 _ -, or empty.</summary>
    public string Value => _value ?? "";

    /// <summary>The text, as <see cref="Value"/>.</summary>
    public override string ToString() => Value;

    /// <summary>The id of this text.</summary>
    /// <exception cref="FormatException">The text is not 1 to 64 of A-Z a-z 0-9 _ -.</exception>
    public static SessionId Parse(string s, IFormatProvider? provider = null) =>
        TryParse(s, provider, out var id)
            ? id
            : throw new FormatException("A session id is 1 to 64 of A-Z a-z 0-9 _ -.");

    /// <summary>The id of this text, if it is one: 1 to 64 of A-Z a-z 0-9 _ -.</summary>
    public static bool TryParse([NotNullWhen(true)] string? s, IFormatProvider? provider, out SessionId result)
    {
        var isId = s is not null && Token.isValidId(s);
        result = isId ? new SessionId(s!) : default;
        return isId;
    }

    /// <summary>The id of this text, if it is one.</summary>
    public static bool TryParse([NotNullWhen(true)] string? s, out SessionId result) => TryParse(s, null, out result);

    internal static SessionId Of(string? value) => string.IsNullOrEmpty(value) ? default : new SessionId(value);

    internal sealed class Converter : JsonConverter<SessionId>
    {
        public override SessionId Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
        {
            var text = reader.TokenType == JsonTokenType.String ? reader.GetString() : null;
            // As Empty is written: data with the id of a session that was still to begin would open no session again.
            if (text is "")
                return Empty;

            return TryParse(text, null, out var id)
                ? id
                : throw new JsonException("A session id is 1 to 64 of A-Z a-z 0-9 _ -.");
        }

        public override void Write(Utf8JsonWriter writer, SessionId value, JsonSerializerOptions options) =>
            writer.WriteStringValue(value.Value);
    }
}
