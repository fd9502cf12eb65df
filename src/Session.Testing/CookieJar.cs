using Microsoft.Net.Http.Headers;

namespace Session.Testing;

/// <summary>Keeps the cookies of one client, as a browser on HTTPS would, whatever the test's address is: those that are Secure as well.</summary>
internal sealed class CookieJar : DelegatingHandler
{
    private readonly Lock _gate = new();

    // One that is over was cleared, or has lasted as long as it said. It is not sent even where an earlier request of a chain of
    // redirects had it.
    private readonly Dictionary<string, (string Value, DateTimeOffset Until)> _cookies = new(StringComparer.Ordinal);

    // The application's own: what it says of times is by that one.
    private readonly TimeProvider _clock;

    public CookieJar(string name, string value, TimeProvider clock)
    {
        _cookies[name] = (value, DateTimeOffset.MaxValue);
        _clock = clock;
    }

    protected override async Task<HttpResponseMessage> SendAsync(
        HttpRequestMessage request,
        CancellationToken cancellationToken
    )
    {
        Fill(request);
        var response = await base.SendAsync(request, cancellationToken).ConfigureAwait(false);
        if (response.Headers.TryGetValues(HeaderNames.SetCookie, out var lines))
            Keep(lines);

        return response;
    }

    private void Fill(HttpRequestMessage request)
    {
        var given = request.Headers.TryGetValues(HeaderNames.Cookie, out var lines) ? string.Join("; ", lines) : "";
        var now = _clock.GetUtcNow();
        lock (_gate)
        {
            var pairs = given
                .Split(';', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)
                .Where(pair => !_cookies.ContainsKey(pair.Split('=')[0]))
                .Concat(_cookies.Where(it => it.Value.Until > now).Select(it => $"{it.Key}={it.Value.Value}"))
                .ToArray();
            request.Headers.Remove(HeaderNames.Cookie);
            if (pairs.Length > 0)
                request.Headers.TryAddWithoutValidation(HeaderNames.Cookie, string.Join("; ", pairs));
        }
    }

    private void Keep(IEnumerable<string> lines)
    {
        var now = _clock.GetUtcNow();
        lock (_gate)
            foreach (var line in lines)
            {
                if (!SetCookieHeaderValue.TryParse(line, out var cookie))
                    continue;

                // RFC 6265, 5.3: Max-Age counts before Expires.
                var until = cookie.MaxAge is { } age ? After(now, age) : cookie.Expires ?? DateTimeOffset.MaxValue;
                _cookies[cookie.Name.ToString()] = (cookie.Value.ToString(), until);
            }
    }

    /// <summary>No later, and no earlier, than there are times.</summary>
    private static DateTimeOffset After(DateTimeOffset now, TimeSpan age) =>
        age <= TimeSpan.Zero ? DateTimeOffset.MinValue
        : age < DateTimeOffset.MaxValue - now ? now + age
        : DateTimeOffset.MaxValue;
}
