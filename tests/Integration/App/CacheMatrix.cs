namespace Integration.App;

/// <summary>One combination, and what was wrong with it: null when every answer was its client's own.</summary>
public sealed record CacheFinding(
    Keeper Keeper,
    bool IsCacheFirst,
    bool IsEarly,
    string Kind,
    string First,
    string? Wrong
);

/// <summary>Two users and nobody ask for the same page, in turn; whatever is in between must give each of them their own.</summary>
public sealed class CacheMatrix(CacheApp app, Uri through, Keeper keeper, bool isCacheFirst)
{
    private readonly HashSet<string> _given = [];
    private static int _last;

    public static IReadOnlyList<string> Kinds { get; } =
    ["read", "guarded", "first write", "sign-in", "renewal due", "empty body", "304", "HEAD"];

    public static IReadOnlyList<string> Visitors { get; } = ["alice", "bob", "nobody"];

    public async Task<IReadOnlyList<CacheFinding>> RunAsync()
    {
        var found = new List<CacheFinding>();
        foreach (var isEarly in new[] { true, false })
        foreach (var kind in Kinds)
        foreach (var first in Visitors)
        {
            var wrong = await TryAsync(kind, first, isEarly);
            found.Add(new CacheFinding(keeper, isCacheFirst, isEarly, kind, first, wrong));
        }

        return found;
    }

    /// <summary>Each of them twice, one after another, beginning with one of them.</summary>
    private async Task<string?> TryAsync(string kind, string first, bool isEarly)
    {
        using var http = new HttpClient(new SocketsHttpHandler { UseCookies = false, AllowAutoRedirect = false });
        var start = Visitors.ToList().IndexOf(first);
        var clients = Enumerable.Range(0, 3).Select(i => new Client(Visitors[(start + i) % 3])).ToList();
        foreach (var client in clients.Where(it => it.Name != "nobody"))
        {
            using var begun = await SendAsync(http, new Uri(app.Address, "/begin"), client, "POST");
            client.Keep(begun);
            // Presented once, so that the next answer has nothing to confirm.
            using var again = await SendAsync(
                http,
                new Uri(app.Address, $"/write?early=true&n=0{Next()}"),
                client,
                "GET"
            );
            client.Mark = await again.Content.ReadAsStringAsync();
        }

        if (kind == "renewal due")
            app.Time.Advance(TimeSpan.FromMinutes(16));

        var path = kind switch
        {
            "guarded" => "/guarded",
            "first write" => "/write",
            "sign-in" => "/login",
            "empty body" => "/empty",
            "304" => "/tagged",
            _ => "/read",
        };
        var address = new Uri(through, $"{path}?early={(isEarly ? "true" : "false")}&n={Next()}");
        foreach (var client in clients.Concat(clients))
        {
            // Nobody comes back with a cookie.
            if (client.Name == "nobody")
                (client.Cookie, client.Mark) = (null, null);

            using var answer = await SendAsync(http, address, client, kind == "HEAD" ? "HEAD" : "GET", kind == "304");
            if (await WrongAsync(answer, client, kind) is { } wrong)
                return $"{client.Name}: {wrong}";

            client.Keep(answer);
        }

        return null;
    }

    private async Task<string?> WrongAsync(HttpResponseMessage answer, Client client, string kind)
    {
        var body = await answer.Content.ReadAsStringAsync();
        var named = answer.Headers.TryGetValues("X-For", out var names) ? names.Single() : "";
        if (Client.TokenOf(answer) is { Length: > 0 } token && !_given.Add(token))
            return "a token that another answer had";

        if ((int)answer.StatusCode is not (200 or 304 or 401))
            return $"{(int)answer.StatusCode} {body}";

        if (kind == "guarded" && client.Name == "nobody")
            return answer.StatusCode == System.Net.HttpStatusCode.Unauthorized ? null : $"the page of {named}";

        if (kind == "first write")
        {
            var isOwn = client.Mark is null ? _given.Add(named) : client.Mark == named;
            client.Mark = named;
            _given.Add(named);
            return isOwn && body == named ? null : "the session of somebody else";
        }

        // A 304 says that what the client has is right: it asked about alice's.
        if (kind == "304" && (int)answer.StatusCode == 304)
            return client.Name == "alice" ? null : "not modified, what is alice's";

        var expected = kind is "empty body" or "HEAD" ? "" : client.Name;
        return named == client.Name && body == expected ? null : $"the page of {named}, {body}";
    }

    private static async Task<HttpResponseMessage> SendAsync(
        HttpClient http,
        Uri address,
        Client client,
        string verb,
        bool isConditional = false
    )
    {
        using var request = new HttpRequestMessage(new HttpMethod(verb), address);
        request.Headers.Add("X-Who", client.Name);
        if (client.Cookie is not null)
            request.Headers.Add("Cookie", client.Cookie);

        if (isConditional)
            request.Headers.Add("If-None-Match", "\"alice\"");

        return await http.SendAsync(request);
    }

    private static int Next() => Interlocked.Increment(ref _last);

    private sealed class Client(string name)
    {
        public string Name => name;

        public string? Cookie { get; set; }

        /// <summary>What its session has in it.</summary>
        public string? Mark { get; set; }

        public static string? TokenOf(HttpResponseMessage answer) =>
            answer.Headers.TryGetValues("Set-Cookie", out var lines)
                ? lines.Last().Split(';')[0].Split('=', 2)[1]
                : null;

        public void Keep(HttpResponseMessage answer)
        {
            if (TokenOf(answer) is { Length: > 0 } token)
                Cookie = "sid=" + token;
        }
    }
}
