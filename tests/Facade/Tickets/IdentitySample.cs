using System.Net;
using System.Text.RegularExpressions;

namespace Facade.Tickets;

/// <summary>samples/Identity as a program of its own, with databases of its own, and browsers that fill in its forms.</summary>
internal sealed partial class IdentitySample : IAsyncDisposable
{
    private readonly Launched _program;
    private readonly DirectoryInfo _data;

    private IdentitySample(Launched program, DirectoryInfo data) => (_program, _data) = (program, data);

    public Uri Address => _program.Address;

    public static async Task<IdentitySample> StartAsync()
    {
        var data = Directory.CreateTempSubdirectory("session-identity-");
        return new IdentitySample(await Launched.StartAsync("Identity", data.FullName, "--data", data.FullName), data);
    }

    public Person Browse() => new(Address);

    public async ValueTask DisposeAsync()
    {
        await _program.DisposeAsync();
        _data.Delete(true);
    }

    [GeneratedRegex("""<input type="hidden" name="([^"]+)" value="([^"]+)">""")]
    private static partial Regex HiddenField();

    /// <summary>Somebody with a browser.</summary>
    internal sealed class Person(Uri address) : IDisposable
    {
        private readonly HttpClient _client = new(
            new SocketsHttpHandler { CookieContainer = new CookieContainer(), AllowAutoRedirect = false }
        )
        {
            BaseAddress = address,
        };

        public async Task<(HttpStatusCode Status, string Body, string? Location)> GetAsync(string path)
        {
            using var response = await _client.GetAsync(new Uri(path, UriKind.Relative));
            return (
                response.StatusCode,
                await response.Content.ReadAsStringAsync(),
                response.Headers.Location?.ToString()
            );
        }

        /// <summary>Opens the page, fills in its form for <paramref name="path"/>, and sends it.</summary>
        public async Task<(HttpStatusCode Status, string Body, string? Location)> SubmitAsync(
            string page,
            string path,
            params (string Name, string Value)[] fields
        )
        {
            var (_, html, _) = await GetAsync(page);
            var begin = html.IndexOf($"action=\"{path}\"", StringComparison.Ordinal);
            if (begin < 0)
                throw new InvalidOperationException($"{page} has no form for {path}: {html}");

            var form = html[begin..html.IndexOf("</form>", begin, StringComparison.Ordinal)];
            var hidden = HiddenField().Matches(form).Select(it => (it.Groups[1].Value, it.Groups[2].Value));
            return await PostAsync(path, [.. hidden, .. fields]);
        }

        public async Task<(HttpStatusCode Status, string Body, string? Location)> PostAsync(
            string path,
            params (string Name, string Value)[] fields
        )
        {
            using var content = new FormUrlEncodedContent(
                fields.Select(it => new KeyValuePair<string, string>(it.Name, it.Value))
            );
            using var response = await _client.PostAsync(new Uri(path, UriKind.Relative), content);
            return (
                response.StatusCode,
                await response.Content.ReadAsStringAsync(),
                response.Headers.Location?.ToString()
            );
        }

        public async Task<bool> IsSignedInAsync() => (await GetAsync("/devices")).Status == HttpStatusCode.OK;

        public void Dispose() => _client.Dispose();
    }
}
