using System.Diagnostics;
using Bench.Shared;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Session.CSharp;

namespace Bench.Growth;

/// <summary>An application with the dashboard over a town, and somebody who reads one page after another.</summary>
internal static class DashboardReading
{
    private const string Path = "/sessions";

    public static async Task<IReadOnlyList<PageFigure>> MeasureAsync(Town town, int requests)
    {
        await using var app = await StartAsync(town);
        using var client = new HttpClient { BaseAddress = new Uri(app.Urls.First()) };
        (string Name, Func<int, (string Path, string Shows)> Page)[] pages =
        [
            ("overview", _ => (Path, "Live<strong>")),
            ("sessions of a subject", number => ($"{Path}?q={Town.UserOf(number)}", town.IdOf(number))),
            ("search by id", number => ($"{Path}?q={town.IdOf(number)}", Town.UserOf(number))),
            ("a session's life", number => ($"{Path}/session/{town.IdOf(number)}", Town.UserOf(number))),
            ("nobody of that name", number => ($"{Path}?q=nobody-{number}", $"nobody-{number}")),
        ];
        var figures = new List<PageFigure>();
        foreach (var (name, page) in pages)
        {
            var random = new Random(1);
            // Compiled, and what is made once is made.
            for (var i = 0; i < 20; i++)
                await ReadAsync(client, page(random.Next(town.Sessions)));

            var times = new double[requests];
            for (var i = 0; i < requests; i++)
            {
                var asked = page(random.Next(town.Sessions));
                var start = Stopwatch.GetTimestamp();
                await ReadAsync(client, asked);
                times[i] = Stopwatch.GetElapsedTime(start).TotalMilliseconds;
            }

            Array.Sort(times);
            var figure = new PageFigure(
                town.Store,
                name,
                town.Sessions,
                requests,
                times[requests / 2],
                times[requests * 99 / 100],
                times[^1]
            );
            figures.Add(figure);
            Console.WriteLine(
                $"{town.Store}, {town.Sessions} sessions: {name} {figure.P50:0.0} ms, 99th {figure.P99:0.0}, worst {figure.Worst:0.0}"
            );
        }

        return figures;
    }

    private static async Task ReadAsync(HttpClient client, (string Path, string Shows) asked)
    {
        var page = await client.GetStringAsync(asked.Path);
        if (!page.Contains(asked.Shows, StringComparison.Ordinal))
            throw new InvalidOperationException($"{asked.Path} does not say {asked.Shows}:\n{page}");
    }

    private static async Task<WebApplication> StartAsync(Town town)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        builder.Services.AddAntiforgery();
        builder.Services.AddAuthorizationBuilder().AddPolicy("Everybody", policy => policy.RequireAssertion(_ => true));
        builder.Services.AddAuthentication().AddSession<Cart>();
        builder.Services.AddSession<Cart>().UseStore(_ => town.Place.Store);
        var app = builder.Build();
        app.UseSession<Cart>();
        app.UseAuthorization();
        app.MapSessionDashboard<Cart>(Path).RequireAuthorization("Everybody");
        await app.StartAsync();
        return app;
    }

    /// <summary>Nobody looks at the data here: the dashboard shows none unless it is told how.</summary>
    private sealed record Cart(string Item);
}
