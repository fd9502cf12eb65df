using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;

namespace Session.OpenIdConnect;

/// <summary>The form that a provider posts. Anybody can post one: nothing of it is read that is larger than a logout token.</summary>
internal static class BackChannelLogoutRequest
{
    public const int MaxTokenLength = 16 * 1024;

    private const int MaxBodyLength = MaxTokenLength + 1024;

    private static readonly FormOptions s_small = new()
    {
        BufferBodyLengthLimit = MaxBodyLength,
        KeyLengthLimit = 64,
        ValueCountLimit = 8,
        ValueLengthLimit = MaxTokenLength,
    };

    /// <summary>The logout token, or why there is none.</summary>
    public static async Task<(string? Token, string Refusal)> ReadAsync(HttpContext context)
    {
        var request = context.Request;
        var type = request.ContentType?.Split(';')[0].Trim();
        // The second: its parameters can be read as well.
        if (
            !string.Equals(type, "application/x-www-form-urlencoded", StringComparison.OrdinalIgnoreCase)
            || !request.HasFormContentType
        )
            return (null, "a logout request is a form (application/x-www-form-urlencoded)");

        if (request.ContentLength > MaxBodyLength)
            return (null, "the request is too large");

        if (context.Features.Get<IHttpMaxRequestBodySizeFeature>() is { IsReadOnly: false } size)
            size.MaxRequestBodySize = MaxBodyLength;

        try
        {
            var form = await request.ReadFormAsync(s_small, context.RequestAborted).ConfigureAwait(false);
            return form["logout_token"] is [{ Length: > 0 } token]
                ? (token, "")
                : (null, "logout_token has to be there once");
        }
        // The last: in an encoding that nobody reads any more (charset=utf-7).
        catch (Exception error) when (error is InvalidDataException or BadHttpRequestException or NotSupportedException)
        {
            return (null, "the request is too large, or no form");
        }
    }
}
