using System.Net;
using Xunit;

namespace Facade.Guides;

/// <summary>The programs of docs/QUICK-START.md and docs/QUICK-START-FSHARP.md do what the pages say.</summary>
public class QuickStartTests
{
    private sealed class Visitor(string folder, string program) : IAsyncDisposable
    {
        private readonly HttpClient _client = new(
            new SocketsHttpHandler { UseCookies = false, AllowAutoRedirect = false }
        );
        private Launched? _site;

        public string Cookie { get; set; } = "";

        public async Task StartAsync()
        {
            if (_site is { } running)
                await running.DisposeAsync();

            _site = await Launched.StartAsync(program, folder);
        }

        /// <summary>Status, body and where to.</summary>
        public async Task<(HttpStatusCode, string, string?)> SendAsync(
            string verb,
            string path,
            params (string, string)[] form
        )
        {
            using var request = new HttpRequestMessage(new HttpMethod(verb), new Uri(_site!.Address, path));
            if (Cookie != "")
                request.Headers.Add("Cookie", Cookie);

            if (verb == "POST")
                request.Content = new FormUrlEncodedContent(form.Select(it => KeyValuePair.Create(it.Item1, it.Item2)));

            using var response = await _client.SendAsync(request);
            if (response.Headers.TryGetValues("Set-Cookie", out var set))
                Cookie = set.Single().Split(';')[0];

            return (
                response.StatusCode,
                await response.Content.ReadAsStringAsync(),
                response.Headers.Location?.OriginalString
            );
        }

        public async ValueTask DisposeAsync()
        {
            _client.Dispose();
            if (_site is { } running)
                await running.DisposeAsync();
        }
    }

    [Theory]
    [InlineData("QuickStart")]
    [InlineData("QuickStartFSharp")]
    public async Task The_program_of_the_page_signs_in_counts_outlives_a_restart_and_signs_out(string program)
    {
        var folder = Directory.CreateTempSubdirectory("session-quick-start-");
        try
        {
            await using var ada = new Visitor(folder.FullName, program);
            await ada.StartAsync();
            var (status, _, way) = await ada.SendAsync("GET", "/");
            Assert.Equal(HttpStatusCode.Redirect, status);
            Assert.Contains("/login", way, StringComparison.Ordinal);
            var (_, form, _) = await ada.SendAsync("GET", "/login");
            Assert.Contains("""<form method="post">""", form, StringComparison.Ordinal);

            var (_, _, refused) = await ada.SendAsync("POST", "/login", ("user", "ada"), ("password", "milk"));
            Assert.Equal(("/login", ""), (refused, ada.Cookie));
            var (_, _, entered) = await ada.SendAsync("POST", "/login", ("user", "ada"), ("password", "tea"));
            Assert.Equal("/", entered);
            Assert.StartsWith("__Host-sid=", ada.Cookie, StringComparison.Ordinal);
            var cookie = ada.Cookie;
            await ada.SendAsync("POST", "/click");
            var (_, one, _) = await ada.SendAsync("GET", "/");
            Assert.Contains("ada, 1 clicks", one, StringComparison.Ordinal);

            await ada.StartAsync();
            var (_, after, _) = await ada.SendAsync("GET", "/");
            Assert.Contains("ada, 1 clicks", after, StringComparison.Ordinal);

            var (_, _, left) = await ada.SendAsync("POST", "/logout");
            Assert.Equal("/login", left);
            ada.Cookie = cookie;
            var (over, _, _) = await ada.SendAsync("GET", "/");
            Assert.Equal(HttpStatusCode.Redirect, over);
        }
        finally
        {
            folder.Delete(true);
        }
    }
}
