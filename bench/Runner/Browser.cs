using System.Text.Json;
using Bench.Shared;

namespace Bench.Runner;

/// <summary>Single requests: to begin sessions, and to see that the answers are right before they are counted.</summary>
internal static class Browser
{
    /// <summary>Begins sessions, and presents the token of each once: the first time differs from all later ones.</summary>
    public static async Task<IReadOnlyList<string>> BeginSessionsAsync(Server server, int count)
    {
        var cookies = new string[count];
        await ManyAsync(count, async i => cookies[i] = (await GetAsync(server, "new", null)).Cookie);
        await VisitAsync(server, "read", cookies);
        return cookies;
    }

    public static Task VisitAsync(Server server, string endpoint, IReadOnlyList<string> cookies) =>
        ManyAsync(cookies.Count, i => GetAsync(server, endpoint, cookies[i]));

    /// <summary>A session keeps what was written, or the figures are of something else.</summary>
    public static async Task CheckAsync(Server server)
    {
        var (_, cookie) = await GetAsync(server, "new", null);
        await GetAsync(server, "read", cookie);
        await GetAsync(server, "write", cookie);
        await GetAsync(server, "write", cookie);
        var (changes, _) = await GetAsync(server, "read", cookie);
        if (server.Variant.HasSessions && changes != 2)
            throw new InvalidOperationException($"{server.Variant.Name}: 2 writes, and the session says {changes}.");
    }

    private static Task ManyAsync(int count, Func<int, Task> one) =>
        Parallel.ForEachAsync(
            Enumerable.Range(0, count),
            new ParallelOptions { MaxDegreeOfParallelism = 16 },
            async (i, _) => await one(i)
        );

    private static async Task<(int Changes, string Cookie)> GetAsync(Server server, string endpoint, string? cookie)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, "/" + endpoint);
        if (cookie is not null)
            request.Headers.Add("Cookie", cookie);
        using var response = await server.Client.SendAsync(request);
        var text = await response.Content.ReadAsStringAsync();
        if (!response.IsSuccessStatusCode || text.Length == 0)
            throw new InvalidOperationException(
                $"{server.Variant.Name}: /{endpoint} answers {(int)response.StatusCode}: {text}"
            );

        var answer = JsonDocument.Parse(text).RootElement;
        if (answer.GetProperty("items").GetInt32() != 3)
            throw new InvalidOperationException($"{server.Variant.Name}: /{endpoint} answers {text}");

        var set = response.Headers.TryGetValues("Set-Cookie", out var values) ? values.First().Split(';')[0] : "";
        return (answer.GetProperty("changes").GetInt32(), set);
    }
}
