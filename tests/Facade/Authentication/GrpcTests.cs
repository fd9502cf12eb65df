using System.Net;
using System.Text;
using Grpc.Core;
using Grpc.Net.Client;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Session.CSharp;
using Xunit;

namespace Facade.Authentication;

/// <summary>A service as the compiler of protocol buffers would have made it, with text in place of messages.</summary>
[BindServiceMethod(typeof(Basket), nameof(Bind)), Authorize]
public class Basket
{
    private static readonly Marshaller<string> s_text = new(Encoding.UTF8.GetBytes, Encoding.UTF8.GetString);

    internal static Method<string, string> Unary(string name) =>
        new(MethodType.Unary, "shop.Basket", name, s_text, s_text);

    internal static Method<string, string> Following { get; } =
        new(MethodType.ServerStreaming, "shop.Basket", nameof(Follow), s_text, s_text);

    internal static Method<string, string> Watching { get; } =
        new(MethodType.ServerStreaming, "shop.Basket", nameof(Watch), s_text, s_text);

    public static void Bind(ServiceBinderBase binder, Basket service)
    {
        ArgumentNullException.ThrowIfNull(binder);
        // Asked for the names alone, too, without a service.
        binder.AddMethod(
            Unary(nameof(Who)),
            service is null ? null : new UnaryServerMethod<string, string>(service.Who)
        );
        binder.AddMethod(
            Unary(nameof(Put)),
            service is null ? null : new UnaryServerMethod<string, string>(service.Put)
        );
        binder.AddMethod(
            Unary(nameof(Close)),
            service is null ? null : new UnaryServerMethod<string, string>(service.Close)
        );
        binder.AddMethod(
            Unary(nameof(Hello)),
            service is null ? null : new UnaryServerMethod<string, string>(service.Hello)
        );
        binder.AddMethod(
            Following,
            service is null ? null : new ServerStreamingServerMethod<string, string>(service.Follow)
        );
        binder.AddMethod(
            Watching,
            service is null ? null : new ServerStreamingServerMethod<string, string>(service.Watch)
        );
    }

    [AllowAnonymous]
    public virtual Task<string> Hello(string request, ServerCallContext context) => Task.FromResult("hello " + request);

    public virtual Task<string> Who(string request, ServerCallContext context) =>
        Task.FromResult(context.GetHttpContext().User.Identity!.Name!);

    public virtual async Task<string> Put(string request, ServerCallContext context)
    {
        var session = await context.GetHttpContext().GetSessionAsync<Cart>();
        return (await session.UpdateAsync(cart => cart! with { Note = request })).Note!;
    }

    [Authorize(Roles = "admin")]
    public virtual Task<string> Close(string request, ServerCallContext context) => Task.FromResult("closed");

    /// <summary>Says who watches, twice.</summary>
    public virtual async Task Watch(string request, IServerStreamWriter<string> answers, ServerCallContext context)
    {
        for (var i = 0; i < 2; i++)
            await answers.WriteAsync(context.GetHttpContext().User.Identity!.Name!);
    }

    /// <summary>Says what is in the cart, as long as its session lives.</summary>
    public virtual async Task Follow(string request, IServerStreamWriter<string> answers, ServerCallContext context)
    {
        var session = await context.GetHttpContext().GetSessionAsync<Cart>();
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(session.Ended, context.CancellationToken);
        try
        {
            while (true)
            {
                await answers.WriteAsync(session.Data!.Item, ended.Token);
                await Task.Delay(100, ended.Token);
            }
        }
        catch (OperationCanceledException) when (session.Ended.IsCancellationRequested)
        {
            throw new RpcException(new Status(StatusCode.Unauthenticated, "The session has ended."));
        }
    }
}

/// <summary>gRPC, with a client and a server of the framework: a call without a user is UNAUTHENTICATED, and never sent to a page.</summary>
public class GrpcTests
{
    private static Task<EdgeSite> StartAsync(Watched? store = null) =>
        SchemeSite.StartAsync(
            store: store,
            map: app =>
            {
                app.MapGrpcService<Basket>();
                app.MapPost("/drop", (SessionManager<Cart> manager) => manager.DestroyAllAsync("ada"));
            },
            add: services =>
            {
                services.AddGrpc();
                // Without TLS there is nothing to agree on a version by.
                services.Configure<KestrelServerOptions>(o =>
                    o.ConfigureEndpointDefaults(it => it.Protocols = HttpProtocols.Http2)
                );
            }
        );

    /// <summary>A client that has signed in, or not.</summary>
    private sealed class Caller : IDisposable
    {
        private readonly HttpClient _client;
        private readonly GrpcChannel _channel;
        private readonly EdgeSite _site;
        private readonly Metadata _headers = [];

        public Caller(EdgeSite site)
        {
            _site = site;
            _client = new HttpClient(new SocketsHttpHandler { UseCookies = false, AllowAutoRedirect = false })
            {
                DefaultRequestVersion = HttpVersion.Version20,
                DefaultVersionPolicy = HttpVersionPolicy.RequestVersionExact,
            };
            _channel = GrpcChannel.ForAddress(site.Address, new GrpcChannelOptions { HttpClient = _client });
        }

        public async Task SignInAsync(string role)
        {
            using var answer = await PostAsync($"/login?user=ada&role={role}");
            _headers.Add("cookie", answer.Headers.GetValues("Set-Cookie").Single().Split(';')[0]);
        }

        public async Task<HttpResponseMessage> PostAsync(string path)
        {
            var answer = await _client.PostAsync(new Uri(_site.Address, path), null);
            return answer.EnsureSuccessStatusCode();
        }

        public async Task<string> CallAsync(string method) =>
            await _channel
                .CreateCallInvoker()
                .AsyncUnaryCall(Basket.Unary(method), null, new CallOptions(_headers), "tea");

        public async Task<StatusCode> FailsAsync(string method) =>
            (await Assert.ThrowsAsync<RpcException>(() => CallAsync(method))).StatusCode;

        public AsyncServerStreamingCall<string> Watch() => Stream(Basket.Watching);

        public AsyncServerStreamingCall<string> Stream(Method<string, string> method) =>
            _channel
                .CreateCallInvoker()
                .AsyncServerStreamingCall(method, null, new CallOptions(_headers, DateTime.UtcNow.AddSeconds(30)), "");

        public void Dispose()
        {
            _channel.Dispose();
            _client.Dispose();
        }
    }

    [Fact]
    public async Task A_unary_call_has_the_user_of_its_session_and_without_one_is_UNAUTHENTICATED()
    {
        await using var site = await StartAsync();
        using var caller = new Caller(site);
        Assert.Equal(StatusCode.Unauthenticated, await caller.FailsAsync(nameof(Basket.Who)));
        Assert.Equal("hello tea", await caller.CallAsync(nameof(Basket.Hello)));

        await caller.SignInAsync("customer");
        Assert.Equal("ada", await caller.CallAsync(nameof(Basket.Who)));
        Assert.Equal("tea", await caller.CallAsync(nameof(Basket.Put)));
        Assert.Equal(StatusCode.PermissionDenied, await caller.FailsAsync(nameof(Basket.Close)));

        using var dropped = await caller.PostAsync("/drop");
        Assert.Equal(StatusCode.Unauthenticated, await caller.FailsAsync(nameof(Basket.Who)));
        Assert.Equal(StatusCode.Unauthenticated, await caller.FailsAsync(nameof(Basket.Put)));

        using var admin = new Caller(site);
        await admin.SignInAsync("admin");
        Assert.Equal("closed", await admin.CallAsync(nameof(Basket.Close)));
    }

    [Fact]
    public async Task A_stream_has_the_user_of_its_session_and_without_one_is_UNAUTHENTICATED()
    {
        await using var site = await StartAsync();
        using var caller = new Caller(site);
        await IsRefusedAsync(caller);
        await caller.SignInAsync("customer");
        using (var watching = caller.Watch())
        {
            for (var i = 0; i < 2; i++)
            {
                Assert.True(await watching.ResponseStream.MoveNext(default));
                Assert.Equal("ada", watching.ResponseStream.Current);
            }

            Assert.False(await watching.ResponseStream.MoveNext(default));
        }

        using var dropped = await caller.PostAsync("/drop");
        await IsRefusedAsync(caller);

        static async Task IsRefusedAsync(Caller caller)
        {
            using var refused = caller.Watch();
            var error = await Assert.ThrowsAsync<RpcException>(() => refused.ResponseStream.MoveNext(default));
            Assert.Equal(StatusCode.Unauthenticated, error.StatusCode);
        }
    }

    [Fact]
    public async Task A_stream_ends_with_its_session()
    {
        await using var site = await StartAsync();
        using var caller = new Caller(site);
        await caller.SignInAsync("customer");
        using var following = caller.Stream(Basket.Following);
        for (var i = 0; i < 3; i++)
            Assert.True(await following.ResponseStream.MoveNext(default));

        Assert.Equal("customer", following.ResponseStream.Current);
        using var dropped = await caller.PostAsync("/drop");
        var error = await Assert.ThrowsAsync<RpcException>(async () =>
        {
            while (await following.ResponseStream.MoveNext(default)) { }
        });
        Assert.Equal(StatusCode.Unauthenticated, error.StatusCode);
    }

    [Fact]
    public async Task While_the_store_is_down_a_guarded_call_is_UNAVAILABLE_and_others_are_as_before()
    {
        var store = new Watched();
        await using var site = await StartAsync(store);
        using var caller = new Caller(site);
        await caller.SignInAsync("customer");
        store.IsAway = true;
        Assert.Equal(StatusCode.Unavailable, await caller.FailsAsync(nameof(Basket.Who)));
        Assert.Equal("hello tea", await caller.CallAsync(nameof(Basket.Hello)));
        store.IsAway = false;
        Assert.Equal("ada", await caller.CallAsync(nameof(Basket.Who)));
    }
}
