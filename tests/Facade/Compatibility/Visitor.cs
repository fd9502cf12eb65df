using System.Net;
using Microsoft.AspNetCore.Http;

namespace Facade.Compatibility;

/// <summary>A browser with a jar of its own, over plain HTTP on the loopback, as if that were secure.</summary>
internal sealed class Visitor(CompatSite site)
{
    public Dictionary<string, string> Jar { get; } = [];

    /// <summary>The one cookie that it has.</summary>
    public string Cookie => Jar.Single().Value;

    /// <summary>Another one with the same cookies, elsewhere too.</summary>
    public Visitor Copy(CompatSite? elsewhere = null)
    {
        var copy = new Visitor(elsewhere ?? site);
        foreach (var (name, value) in Jar)
            copy.Jar[name] = value;

        return copy;
    }

    /// <summary>Does this in one request, and fails as it fails.</summary>
    public async Task<Answer> InAsync(Func<HttpContext, Task> work, string verb = "POST")
    {
        var key = site.Plan(work);
        var answer = await SendAsync("/run/" + key, verb);
        site.ThrowIfFailed(key);
        return answer;
    }

    public Task<Answer> InAsync(Action<HttpContext> work, string verb = "POST") =>
        InAsync(
            context =>
            {
                work(context);
                return Task.CompletedTask;
            },
            verb
        );

    public Task<Answer> WithAsync(Action<ISession> work) => InAsync(context => work(context.Session));

    public async Task<string?> ReadAsync(string key)
    {
        string? value = null;
        var answer = await WithAsync(session => value = session.GetString(key));
        Xunit.Assert.Equal(HttpStatusCode.OK, answer.Status);
        return value;
    }

    public async Task<Answer> SendAsync(string path, string verb = "GET", params (string, string)[] headers)
    {
        using var request = new HttpRequestMessage(new HttpMethod(verb), new Uri(site.Address, path));
        if (Jar.Count > 0)
            request.Headers.TryAddWithoutValidation(
                "Cookie",
                string.Join("; ", Jar.Select(cookie => $"{cookie.Key}={cookie.Value}"))
            );

        foreach (var (name, value) in headers)
            request.Headers.TryAddWithoutValidation(name, value);

        using var response = await site.Client.SendAsync(request);
        var all = response
            .Headers.NonValidated.Concat(response.Content.Headers.NonValidated)
            .ToDictionary(
                it => it.Key,
                it => string.Join(", ", it.Value.AsEnumerable()),
                StringComparer.OrdinalIgnoreCase
            );
        var cookies = response.Headers.TryGetValues("Set-Cookie", out var lines) ? lines.ToArray() : [];
        foreach (var cookie in cookies)
        {
            var pair = cookie.Split(';')[0].Split('=', 2);
            if (pair[1].Length == 0 || cookie.Contains("expires=Thu, 01 Jan 1970", StringComparison.OrdinalIgnoreCase))
                Jar.Remove(pair[0]);
            else
                Jar[pair[0]] = pair[1];
        }

        return new Answer(response.StatusCode, await response.Content.ReadAsStringAsync(), cookies, all);
    }
}
