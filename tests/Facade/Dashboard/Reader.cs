using System.Net;
using System.Text.RegularExpressions;
using Microsoft.AspNetCore.Http;
using Session.CSharp;
using Xunit;

namespace Facade.Dashboard;

/// <summary>Somebody with a browser and its cookies, who reads pages and sends their forms.</summary>
internal sealed partial class Reader : IDisposable
{
    private readonly Site _site;
    private readonly CookieContainer _cookies = new();
    private readonly HttpClient _client;

    public Reader(Site site)
    {
        _site = site;
        _client = new HttpClient(new SocketsHttpHandler { CookieContainer = _cookies, AllowAutoRedirect = false })
        {
            BaseAddress = site.Address,
        };
    }

    public string? Token { get; private set; }

    public string Id => Token!.Split('.')[0];

    [GeneratedRegex(
        """<form method="post" action="(?<action>[^"]*)"><input type="hidden" name="__RequestVerificationToken" value="(?<token>[^"]*)">(?<rest>.*?)</form>"""
    )]
    private static partial Regex Form();

    [GeneratedRegex("""<input type="hidden" name="(?<name>[^"]*)" value="(?<value>[^"]*)">""")]
    private static partial Regex Field();

    public static async Task<Reader> SignedInAsync(Site site, string subject, string item = "tea")
    {
        var reader = new Reader(site);
        await reader.SignInAsync(subject, item);
        return reader;
    }

    public async Task SignInAsync(string subject, string item = "tea")
    {
        Token = (await _site.WithAsync(session => session.SignInAsync(subject, new Cart(item)), Token)).Token!;
        await _site.WithAsync(session => Task.CompletedTask, Token);
    }

    public async Task<Page> GetAsync(string path)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, path);
        return await SendAsync(request);
    }

    /// <summary>Sends a form as a page has it, with some fields changed.</summary>
    public async Task<Page> PressAsync(
        Page page,
        string action,
        Func<IReadOnlyDictionary<string, string>, bool>? which = null,
        Action<Dictionary<string, string>>? change = null,
        Action<HttpRequestMessage>? headers = null
    )
    {
        foreach (Match form in Form().Matches(page.Html))
        {
            var target = WebUtility.HtmlDecode(form.Groups["action"].Value);
            var fields = new Dictionary<string, string>(StringComparer.Ordinal)
            {
                ["__RequestVerificationToken"] = WebUtility.HtmlDecode(form.Groups["token"].Value),
            };
            foreach (Match field in Field().Matches(form.Groups["rest"].Value))
                fields[field.Groups["name"].Value] = WebUtility.HtmlDecode(field.Groups["value"].Value);

            if (!target.EndsWith(action, StringComparison.Ordinal) || which?.Invoke(fields) == false)
                continue;

            change?.Invoke(fields);
            return await PostAsync(target, fields, headers);
        }

        Assert.Fail($"The page has no such form: {action}");
        throw new InvalidOperationException();
    }

    public async Task<Page> PostAsync(
        string path,
        Dictionary<string, string> fields,
        Action<HttpRequestMessage>? headers = null
    )
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, path);
        request.Content = new FormUrlEncodedContent(fields);
        headers?.Invoke(request);
        return await SendAsync(request);
    }

    private async Task<Page> SendAsync(HttpRequestMessage request)
    {
        if (Token is not null)
            _cookies.Add(_site.Address, new Cookie("__Host-sid", Token));

        using var response = await _client.SendAsync(request);
        return new Page(
            response.StatusCode,
            await response.Content.ReadAsStringAsync(),
            response.Headers.Location?.ToString(),
            response
                .Headers.Concat(response.Content.Headers)
                .ToDictionary(it => it.Key, it => string.Join(", ", it.Value), StringComparer.OrdinalIgnoreCase)
        );
    }

    public void Dispose() => _client.Dispose();
}

internal sealed record Page(
    HttpStatusCode Status,
    string Html,
    string? Location,
    IReadOnlyDictionary<string, string> Headers
)
{
    /// <summary>Nothing of this may stand in the page as it is.</summary>
    public void HasNothingOf(string hostile) => Assert.DoesNotContain(hostile, Html, StringComparison.Ordinal);

    public void Shows(string text) =>
        Assert.Contains(
            WebUtility.HtmlEncode(text),
            Html.Replace("&#x27;", "&#39;", StringComparison.Ordinal),
            StringComparison.Ordinal
        );

    /// <summary>What each page of the library's own is answered with.</summary>
    public void IsGuarded()
    {
        var policy = Headers["Content-Security-Policy"];
        Assert.StartsWith("default-src 'none'; style-src 'sha256-", policy, StringComparison.Ordinal);
        Assert.Contains("frame-ancestors 'none'; base-uri 'none'", policy, StringComparison.Ordinal);
        Assert.Contains("form-action 'self'", policy, StringComparison.Ordinal);
        Assert.DoesNotContain("unsafe", policy, StringComparison.Ordinal);
        Assert.Equal("nosniff", Headers["X-Content-Type-Options"]);
        Assert.Equal("DENY", Headers["X-Frame-Options"]);
        Assert.Contains("no-store", Headers["Cache-Control"], StringComparison.Ordinal);

        var sheet = Html.Split("<style>")[1].Split("</style>")[0];
        var hash = Convert.ToBase64String(
            System.Security.Cryptography.SHA256.HashData(System.Text.Encoding.UTF8.GetBytes(sheet))
        );
        Assert.Contains($"'sha256-{hash}'", policy, StringComparison.Ordinal);
        Assert.DoesNotContain("<script", Html, StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain("style=\"", Html, StringComparison.OrdinalIgnoreCase);
        foreach (var tag in new[] { "<img", "<link", "<iframe", "<object", "<embed", "<base" })
            Assert.DoesNotContain(tag, Html, StringComparison.OrdinalIgnoreCase);
    }
}
