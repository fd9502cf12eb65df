using System.Net;
using System.Security.Claims;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Http;
using Xunit;

namespace Facade.Tickets;

/// <summary>A browser: it keeps cookies, and takes what the last answer to come says.</summary>
internal sealed class TicketBrowser
{
    public const string CookieName = ".AspNetCore.Cookies";

    public Dictionary<string, string> Cookies { get; private init; } = [];

    /// <summary>What whoever has copied the cookies holds.</summary>
    public TicketBrowser Copy() => new() { Cookies = new(Cookies) };

    public async Task<TicketAnswer> RunAsync(TicketSite site, Func<HttpContext, Task> work) =>
        Take(await site.RunAsync(work, new Dictionary<string, string>(Cookies)));

    public async Task<TicketAnswer> GetAsync(TicketSite site, string path) =>
        Take(await site.SendAsync(path, new Dictionary<string, string>(Cookies)));

    public Task<TicketAnswer> SignInAsync(
        TicketSite site,
        string user,
        string? role = null,
        AuthenticationProperties? properties = null,
        string? scheme = null
    ) => RunAsync(site, context => context.SignInAsync(scheme, TicketSite.Principal(user, role), properties));

    public Task<TicketAnswer> SignOutAsync(TicketSite site, string? scheme = null) =>
        RunAsync(site, context => context.SignOutAsync(scheme));

    /// <summary>Who this browser is to this node: "ada", "ada admin", or "nobody".</summary>
    public async Task<string> WhoAsync(TicketSite site, string? scheme = null)
    {
        var answer = await RunAsync(
            site,
            async context =>
            {
                var result = await context.AuthenticateAsync(scheme);
                await context.Response.WriteAsync(Name(result.Principal));
            }
        );
        Assert.Equal(HttpStatusCode.OK, answer.Status);
        return answer.Body;
    }

    public static string Name(ClaimsPrincipal? principal) =>
        principal?.FindFirstValue(ClaimTypes.NameIdentifier) is { } user
            ? string.Join(' ', principal.FindAll(ClaimTypes.Role).Select(it => it.Value).Prepend(user))
            : "nobody";

    private TicketAnswer Take(TicketAnswer answer)
    {
        lock (Cookies)
            foreach (var line in answer.SetCookies)
            {
                var pair = line.Split(';')[0].Split('=', 2);
                if (pair[1].Length == 0)
                    Cookies.Remove(pair[0]);
                else
                    Cookies[pair[0]] = pair[1];
            }

        return answer;
    }
}
