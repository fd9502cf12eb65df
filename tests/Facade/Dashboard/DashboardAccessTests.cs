using System.Net;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Session.CSharp;
using Xunit;

namespace Facade.Dashboard;

public class DashboardAccessTests
{
    private static async Task<Site> StartAsync(
        Action<IEndpointRouteBuilder> map,
        string environment = "Production",
        Action<AuthorizationOptions>? authorization = null
    )
    {
        return await Site.StartAsync(
            map: app =>
            {
                app.Services.GetRequiredService<IHostEnvironment>().EnvironmentName = environment;
                app.UseAuthentication();
                app.UseAuthorization();
                map(app);
            },
            add: services =>
            {
                services.AddAntiforgery();
                services
                    .AddAuthorizationBuilder()
                    .AddPolicy("Operators", it => it.RequireClaim(System.Security.Claims.ClaimTypes.Role, "operator"));
                services.Configure<AuthorizationOptions>(o => authorization?.Invoke(o));
                services
                    .AddAuthentication()
                    .AddSession<Cart>(o =>
                        o.Claims = (_, cart) =>
                            [new System.Security.Claims.Claim(System.Security.Claims.ClaimTypes.Role, cart.Item)]
                    );
            }
        );
    }

    public static TheoryData<string> Open => ["nothing", "anybody signed in", "everybody", "the fallback", "a group"];

    [Theory]
    [MemberData(nameof(Open))]
    public async Task Outside_Development_it_does_not_start_without_a_policy_or_roles(string guard)
    {
        var error = await Assert.ThrowsAsync<InvalidOperationException>(async () =>
        {
            await using var site = await StartAsync(
                app =>
                {
                    switch (guard)
                    {
                        case "anybody signed in":
                            app.MapSessionDashboard<Cart>("/sessions").RequireAuthorization();
                            break;
                        case "everybody":
                            app.MapSessionDashboard<Cart>("/sessions")
                                .RequireAuthorization("Operators")
                                .AllowAnonymous();
                            break;
                        case "a group":
                            app.MapGroup("/ops").RequireAuthorization().MapSessionDashboard<Cart>("/sessions");
                            break;
                        default:
                            app.MapSessionDashboard<Cart>("/sessions");
                            break;
                    }
                },
                authorization: o =>
                {
                    if (guard == "the fallback")
                        o.FallbackPolicy = o.DefaultPolicy;
                }
            );
        });
        Assert.Contains(".RequireAuthorization(\"Operators\")", error.Message, StringComparison.Ordinal);
        Assert.Contains("'/sessions'", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("policy")]
    [InlineData("roles")]
    [InlineData("built")]
    [InlineData("group")]
    public async Task With_a_policy_or_roles_it_is_for_those_alone(string guard)
    {
        await using var site = await StartAsync(app =>
        {
            switch (guard)
            {
                case "policy":
                    app.MapSessionDashboard<Cart>("/sessions").RequireAuthorization("Operators");
                    break;
                case "roles":
                    app.MapSessionDashboard<Cart>("/sessions")
                        .RequireAuthorization(new AuthorizeAttribute { Roles = "operator" });
                    break;
                case "built":
                    app.MapSessionDashboard<Cart>("/sessions")
                        .RequireAuthorization(policy => policy.RequireRole("operator"));
                    break;
                default:
                    app.MapGroup("").RequireAuthorization("Operators").MapSessionDashboard<Cart>("/sessions");
                    break;
            }
        });
        using var nobody = new Reader(site);
        using var customer = new Reader(site);
        using var chief = new Reader(site);
        await customer.SignInAsync("eve", "customer");
        await chief.SignInAsync("ada", "operator");
        var page = await chief.GetAsync("/sessions/session/" + customer.Id);
        Assert.Equal(HttpStatusCode.OK, page.Status);

        foreach (var path in new[] { "/sessions", "/sessions?q=ada", "/sessions/session/" + chief.Id })
        {
            Assert.Equal(HttpStatusCode.Unauthorized, (await nobody.GetAsync(path)).Status);
            Assert.Equal(HttpStatusCode.Forbidden, (await customer.GetAsync(path)).Status);
            Assert.Equal(HttpStatusCode.OK, (await chief.GetAsync(path)).Status);
        }

        foreach (var form in new[] { "/end", "/end-all" })
        {
            Assert.Equal(HttpStatusCode.Unauthorized, (await nobody.PressAsync(page, form)).Status);
            Assert.Equal(HttpStatusCode.Forbidden, (await customer.PressAsync(page, form)).Status);
        }

        Assert.Equal(HttpStatusCode.SeeOther, (await chief.PressAsync(page, "/end")).Status);
        Assert.Null(await site.Manager.FindAsync(Site.IdOf(customer.Token!)));
    }

    [Fact]
    public async Task In_Development_it_opens_without()
    {
        await using var site = await StartAsync(
            app => app.MapSessionDashboard<Cart>("/sessions"),
            environment: "Development"
        );
        using var nobody = new Reader(site);
        Assert.Equal(HttpStatusCode.OK, (await nobody.GetAsync("/sessions")).Status);
    }

    [Fact]
    public async Task Without_antiforgery_it_is_not_mapped()
    {
        var error = await Assert.ThrowsAsync<InvalidOperationException>(() =>
            Site.StartAsync(map: app => app.MapSessionDashboard<Cart>("/sessions"))
        );
        Assert.Contains("MapSessionDashboard needs antiforgery", error.Message, StringComparison.Ordinal);
        Assert.Contains("services.AddAntiforgery()", error.Message, StringComparison.Ordinal);
    }
}
