using System.Net;
using System.Security.Cryptography;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Session.AspNetCore;
using Session.CSharp;
using Session.Engine;
using Xunit;

namespace Facade;

/// <summary>What one request does with several calls, several tokens, and a session that was there before.</summary>
public class RequestTests
{
    /// <summary>A store that is a millisecond away, and that can be told to fail.</summary>
    private sealed class Away : Passing
    {
        public bool TakesNothingNew { get; set; }
        public bool TakesNoEnd { get; set; }

        public override async ValueTask<WriteResult> Insert(StoredRecord record, CancellationToken cancel)
        {
            await Task.Delay(1, CancellationToken.None);
            return TakesNothingNew ? throw new IOException("away") : await base.Insert(record, cancel);
        }

        public override async ValueTask<StoredRecord?> Load(string id, CancellationToken cancel)
        {
            await Task.Delay(1, CancellationToken.None);
            return await base.Load(id, cancel);
        }

        public override async ValueTask<WriteResult> Replace(
            StoredRecord record,
            long expected,
            CancellationToken cancel
        )
        {
            await Task.Delay(1, CancellationToken.None);
            return TakesNoEnd && record.Kind == RecordKind.Ended
                ? throw new IOException("away")
                : await base.Replace(record, expected, cancel);
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Calls_at_once_count_each_in_one_session(bool isThereOne)
    {
        var store = new Away();
        await using var site = await Site.StartAsync(store: () => store);
        var token = isThereOne ? await site.BeginAsync() : null;
        var before = await store.Count(CancellationToken.None);
        var reply = await site.WithAsync(
            async session =>
            {
                await Task.WhenAll(
                    Enumerable
                        .Range(0, 8)
                        .Select(_ =>
                            session.UpdateAsync(c => (c ?? new Cart("tea", 0)) with { Count = (c?.Count ?? 0) + 1 })
                        )
                );
                Assert.Equal(isThereOne ? 9 : 8, session.Data!.Count);
            },
            token
        );
        Assert.Equal(before + (isThereOne ? 0 : 1), await store.Count(CancellationToken.None));
        await site.WithAsync(
            session =>
            {
                Assert.Equal(isThereOne ? 9 : 8, session.Data!.Count);
                return Task.CompletedTask;
            },
            token ?? reply.Token
        );
    }

    /// <summary>All operations that begin something, and all that change it, in one request and side by side.</summary>
    [Fact]
    public async Task Calls_of_all_kinds_at_once_end_in_one_session()
    {
        var store = new Away();
        await using var site = await Site.StartAsync(store: () => store);
        var reply = await site.WithAsync(session =>
            Task.WhenAll(
                session.UpdateAsync(_ => new Cart("a")),
                session.SignInAsync("ada", new Cart("b")),
                session.SaveAsync(new Cart("c")),
                session.RegenerateAsync(),
                session.ReloadAsync()
            )
        );
        Assert.Equal(HttpStatusCode.OK, reply.Status);
        Assert.Equal(1, await store.Count(CancellationToken.None));
        await site.WithAsync(
            session =>
            {
                Assert.Equal(("ada", "c"), (session.Subject, session.Data!.Item));
                return Task.CompletedTask;
            },
            reply.Token
        );
    }

    [Theory]
    [InlineData("too large")]
    [InlineData("not to be serialized")]
    [InlineData("not taken")]
    public async Task A_session_that_cannot_be_created_leaves_the_one_before(string why)
    {
        var store = new Away();
        await using var site = await Site.StartAsync(
            o =>
            {
                o.MaxDataBytes = 100;
                o.Serializer = new Fussy();
            },
            store: () => store
        );
        var token = await site.BeginAsync("ada");
        store.TakesNothingNew = why == "not taken";
        var reply = await site.WithAsync(
            async session =>
            {
                var data =
                    why == "too large" ? new string('x', 200)
                    : why == "not taken" ? "two"
                    : Fussy.Refused;
                await Assert.ThrowsAnyAsync<Exception>(() => session.CreateAsync(new Cart(data)));
                Assert.Equal("tea", session.Data!.Item);
                Assert.Equal("ada", session.Subject);
            },
            token
        );
        Assert.Empty(reply.SetCookies);
        Assert.NotNull(await site.Manager.FindAsync(Site.IdOf(token)));
    }

    [Fact]
    public async Task A_session_that_could_not_be_ended_is_said_to_live_and_the_new_token_is_handed_over()
    {
        var store = new Away();
        await using var site = await Site.StartAsync(store: () => store);
        var token = await site.BeginAsync("ada");
        store.TakesNoEnd = true;
        var reply = await site.WithAsync(
            async session =>
            {
                var error = await Assert.ThrowsAsync<SessionUnavailableException>(() =>
                    session.CreateAsync(new Cart("two"))
                );
                Assert.True(error.MayHaveChanged);
            },
            token
        );
        Assert.NotNull(reply.Token);
        Assert.NotEqual(token, reply.Token);
        Assert.NotNull(await site.Manager.FindAsync(Site.IdOf(token)));
        Assert.NotNull(await site.Manager.FindAsync(Site.IdOf(reply.Token!)));
    }

    /// <summary>The key ring is away: what is thrown is for the call that met it, and the next call has its turn.</summary>
    [Fact]
    public async Task A_call_that_throws_leaves_its_turn_to_the_next()
    {
        var ring = new KeyRing();
        await using var site = await Site.StartAsync(add: services =>
            services.AddKeyedSingleton<IRecordProtector>(typeof(Cart), ring)
        );
        var token = await site.BeginAsync();
        ring.IsAway = true;
        var reply = await site.InRequestAsync(
            async context =>
            {
                await Assert.ThrowsAsync<CryptographicException>(() => context.GetSessionAsync<Cart>().AsTask());
                ring.IsAway = false;
                Assert.Equal("tea", (await context.GetSessionAsync<Cart>()).Data!.Item);
            },
            token
        );
        Assert.Equal(HttpStatusCode.OK, reply.Status);
    }

    private sealed class KeyRing : IRecordProtector
    {
        public bool IsAway { get; set; }

        public byte[] Protect(byte[] record) => record;

        public byte[] Unprotect(byte[] stored) => IsAway ? throw new CryptographicException("away") : stored;
    }

    private static Task BeginAnew(Session<Cart> session, bool isSignIn) =>
        isSignIn ? session.SignInAsync("ada", new Cart("new")) : session.CreateAsync(new Cart("new"));

    /// <summary>Whoever planted one of two cookies must not keep a session that the user thinks to have left (ASVS 7.2.4).</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Whoever_begins_anew_beside_two_cookies_ends_what_each_opens(bool isSignIn)
    {
        await using var site = await Site.StartAsync();
        var own = await site.BeginAsync("ada");
        var planted = await site.BeginAsync("eve");
        var reply = await site.WithAsync(session => BeginAnew(session, isSignIn), own + "|" + planted);
        Assert.NotNull(reply.Token);
        Assert.Null(await site.Manager.FindAsync(Site.IdOf(own)));
        Assert.Null(await site.Manager.FindAsync(Site.IdOf(planted)));
        Assert.NotNull(await site.Manager.FindAsync(Site.IdOf(reply.Token!)));
    }

    /// <summary>A guess is refused for good; whoever is told of the store tries again, and ends what lives.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_logout_beside_two_cookies_tells_of_the_store_and_not_of_the_guess(bool isGuessFirst)
    {
        var store = new Deaf();
        await using var site = await Site.StartAsync(store: () => store);
        var own = await site.BeginAsync("ada");
        var other = await site.BeginAsync("ada");
        // The id of a session that lives, with the secret of another one.
        var guess = other.Split('.')[0] + "." + own.Split('.')[1];
        store.To = Site.IdOf(own).ToString();
        await site.WithAsync(
            session => Assert.ThrowsAsync<SessionUnavailableException>(() => session.DestroyAsync()),
            isGuessFirst ? guess + "|" + own : own + "|" + guess
        );
    }

    /// <summary>What has ended has ended: its cookie goes, whatever the other one was.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_logout_beside_a_guess_ends_the_session_and_takes_its_cookie(bool isGuessFirst)
    {
        await using var site = await Site.StartAsync();
        var own = await site.BeginAsync("ada");
        var other = await site.BeginAsync("ada");
        var guess = other.Split('.')[0] + "." + own.Split('.')[1];
        var reply = await site.WithAsync(
            session => Assert.ThrowsAnyAsync<SessionException>(() => session.DestroyAsync()),
            isGuessFirst ? guess + "|" + own : own + "|" + guess
        );
        Assert.True(reply.IsCleared);
        Assert.Null(await site.Manager.FindAsync(Site.IdOf(own)));
        Assert.NotNull(await site.Manager.FindAsync(Site.IdOf(other)));
    }

    /// <summary>Does not find one record, however often it is asked for.</summary>
    private sealed class Deaf() : ForwardingStore(new MemoryStore())
    {
        public string? To { get; set; }

        public override ValueTask<StoredRecord?> Load(string id, CancellationToken cancellationToken) =>
            id == To ? throw new IOException("no answer") : base.Load(id, cancellationToken);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Whoever_begins_anew_beside_data_that_cannot_be_read_ends_that_session(bool isSignIn)
    {
        var fussy = new Fussy();
        await using var site = await Site.StartAsync(o => o.Serializer = fussy);
        var token = await site.BeginAsync("ada");
        fussy.ReadsNothing = true;
        var reply = await site.WithAsync(session => BeginAnew(session, isSignIn), token);
        Assert.NotNull(reply.Token);
        Assert.Null(await site.Manager.FindAsync(Site.IdOf(token)));
    }

    /// <summary>JSON, but for one text; and blind, when it is told so.</summary>
    private sealed class Fussy : ISessionSerializer<Cart>
    {
        public const string Refused = "refused";

        public bool ReadsNothing { get; set; }

        public byte[] Serialize(Cart value) =>
            value.Item == Refused
                ? throw new NotSupportedException("not this one")
                : System.Text.Json.JsonSerializer.SerializeToUtf8Bytes(value);

        public Cart Deserialize(ReadOnlyMemory<byte> data) =>
            ReadsNothing
                ? throw new InvalidDataException("blind")
                : System.Text.Json.JsonSerializer.Deserialize<Cart>(data.Span)!;
    }

    [Fact]
    public async Task Whoever_signs_in_and_out_in_one_request_takes_no_token_along()
    {
        await using var site = await Site.StartAsync(o => o.HeaderName = "X-Token");
        async Task InAndOutAsync(Session<Cart> session)
        {
            await session.SignInAsync("ada", new Cart("milk"));
            await session.DestroyAsync();
        }

        var byHeader = await site.WithAsync(InAndOutAsync, await site.BeginAsync(), "X-Token");
        Assert.Equal((HttpStatusCode.OK, null), (byHeader.Status, byHeader.Header));
        Assert.Empty(byHeader.SetCookies);
        var byCookie = await site.WithAsync(InAndOutAsync, await site.BeginAsync());
        Assert.True(byCookie.IsCleared);
    }
}
