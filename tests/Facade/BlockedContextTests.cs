using Microsoft.AspNetCore.Antiforgery;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Session.CSharp;
using Session.Engine;
using Xunit;

namespace Facade;

/// <summary>
/// The framework asks some things without waiting, also in a context that has one thread at a time (Blazor's renderer): a thread
/// waits then, and what it waits for must not need that context.
/// </summary>
public class BlockedContextTests
{
    /// <summary>What is posted waits until whoever is in the context is done, and here nobody ever is.</summary>
    private sealed class Renderer : SynchronizationContext
    {
        public override void Post(SendOrPostCallback d, object? state) { }

        public override void Send(SendOrPostCallback d, object? state) => d(state);

        public static T In<T>(Func<T> work)
        {
            var around = Current;
            SetSynchronizationContext(new Renderer());
            try
            {
                return work();
            }
            finally
            {
                SetSynchronizationContext(around);
            }
        }
    }

    /// <summary>As one behind a network.</summary>
    private sealed class Elsewhere() : ForwardingStore(new MemoryStore())
    {
        public override async ValueTask<StoredRecord?> Load(string id, CancellationToken cancellationToken)
        {
            await Task.Delay(20, cancellationToken);
            return await base.Load(id, cancellationToken);
        }
    }

    private static async Task<Answer> InTimeAsync(Task<Answer> answer) =>
        await answer.WaitAsync(TimeSpan.FromSeconds(20));

    [Fact]
    public async Task A_form_is_shown()
    {
        await using var site = await EdgeSite.StartAsync(
            app =>
            {
                app.UseSession<Cart>();
                app.MapGet("/begin", (Session<Cart> session) => session.SignInAsync("ada", new Cart("tea")));
                app.MapGet(
                    "/form",
                    (HttpContext context, IAntiforgery forms) =>
                        Renderer.In(() => forms.GetAndStoreTokens(context).RequestToken!)
                );
                // A write is under way in that context, and has not read the session yet.
                app.MapGet(
                    "/busy",
                    (HttpContext context, IAntiforgery forms) =>
                        Renderer.In(() =>
                        {
                            var writing = Task.Run(() => { }).ContinueWith(_ => { }, TaskScheduler.Default);
                            _ = BeginAsync(context);
                            writing.Wait();
                            return forms.GetAndStoreTokens(context).RequestToken!;
                        })
                );
            },
            services => services.AddAntiforgery(),
            store: new Elsewhere()
        );
        var token = (await site.GetAsync("/begin")).Token;
        foreach (var path in new[] { "/form", "/busy" })
        {
            var form = await InTimeAsync(site.GetAsync(path, token));
            Assert.Equal(System.Net.HttpStatusCode.OK, form.Status);
            Assert.NotEmpty(form.Body);
        }
    }

    private static async Task BeginAsync(HttpContext context)
    {
        var session = await context.GetSessionAsync<Cart>();
        await session.UpdateAsync(_ => new Cart("more"));
    }

    [Fact]
    public async Task The_user_is_known()
    {
        await using var site = await EdgeSite.StartAsync(
            app =>
            {
                app.UseAuthentication();
                app.UseSession<Cart>();
                app.MapGet("/begin", (Session<Cart> session) => session.SignInAsync("ada", new Cart("tea")));
                app.MapGet("/who", (HttpContext context) => Renderer.In(() => context.User.Identity?.Name ?? "nobody"));
            },
            services => services.AddAuthentication().AddSession<Cart>(),
            store: new Elsewhere()
        );
        var token = (await site.GetAsync("/begin")).Token;
        Assert.Equal("ada", (await InTimeAsync(site.GetAsync("/who", token))).Body);
    }

    [Fact]
    public async Task The_session_of_the_framework_is_read()
    {
        await using var site = await EdgeSite.StartAsync(
            app =>
            {
                app.UseSessionCompatibility();
                app.MapGet("/set", (HttpContext context) => context.Session.SetString("a", "b"));
                app.MapGet(
                    "/get",
                    (HttpContext context) => Renderer.In(() => context.Session.GetString("a") ?? "none")
                );
            },
            services =>
            {
                services.AddDataProtection();
                services.AddSessionCompatibility().UseStore(_ => new Elsewhere());
            }
        );
        var set = await site.GetAsync("/set");
        var cookie = set.SetCookies.Single().Split(';')[0];
        for (var i = 0; i < 3; i++)
            Assert.Equal("b", (await InTimeAsync(site.SendAsync("GET", "/get", ("Cookie", cookie)))).Body);
    }
}
