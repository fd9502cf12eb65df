using Microsoft.CodeAnalysis;
using Session.Analyzers;
using Xunit;

namespace Analyzers;

/// <summary>SESSION002: calls whose result nobody awaits, and the fix.</summary>
public class NotAwaitedTests
{
    private static string Page(string member) =>
        $$"""
            public class Page : PageModel
            {
                private readonly Session<Cart> session = null!;
                private readonly SessionManager<Cart> manager = null!;
                private readonly IEndpointRouteBuilder app = null!;
                private readonly PendingEnds pending = null!;
                private readonly List<Task> tasks = [];
                {{member}}
                private static void Main() { }
            }
            """;

    private static Task LookAsync(string member) =>
        Compiled.FindsAsync<NotAwaitedAnalyzer>(Page(member), "SESSION002", DiagnosticSeverity.Warning);

    [Theory]
    [InlineData("public void OnPost() { [|session.DestroyAsync()|]; }")]
    [InlineData("public void OnPost() => [|session.SaveAsync(Cart.Empty)|];")]
    [InlineData("public async Task OnPost() { [|session.SignInAsync(\"ada\", Cart.Empty)|]; await Task.Yield(); }")]
    [InlineData("public void OnPost() { _ = [|session.UpdateAsync(cart => cart!)|]; }")]
    [InlineData("public void OnPost() { [|session.SaveAsync(Cart.Empty)|].ConfigureAwait(false); }")]
    [InlineData("public void OnPost() { session?[|.RegenerateAsync()|]; }")]
    [InlineData("public void OnPost() { session?[|.SaveAsync(Cart.Empty)|].ConfigureAwait(false); }")]
    [InlineData("public void OnPost() { [|manager.DestroyAllAsync(\"ada\")|]; }")]
    [InlineData("public void OnPost() { [|manager.ListAsync(\"ada\")|]; }")]
    [InlineData("public void OnPost() { [|pending.CompleteAsync()|]; }")]
    [InlineData("public void OnPost() { _ = session?[|.DestroyAsync()|]; }")]
    [InlineData("public void OnPost() { _ = [|session.DestroyAsync()|].ConfigureAwait(false); }")]
    [InlineData("public Page() { [|session.DestroyAsync()|]; }")]
    [InlineData("public int Count { set { [|session.DestroyAsync()|]; } }")]
    [InlineData("public void Map() { app.MapPost(\"/logout\", (Session<Cart> s) => { [|s.DestroyAsync()|]; }); }")]
    [InlineData(
        "public void Map() { app.MapPost(\"/logout\", (Session<Cart> s) => { [|s.DestroyAsync()|]; return \"bye\"; }); }"
    )]
    [InlineData("public void OnPost() { lock (session) { [|session.DestroyAsync()|]; } }")]
    [InlineData("public async Task OnPost() { lock (session) [|session.DestroyAsync()|]; await Task.Yield(); }")]
    [InlineData("public void Each() { new List<Session<Cart>>().ForEach(s => [|s.ReloadAsync()|]); }")]
    [InlineData("public void OnPost() { void End() { [|session.DestroyAsync()|]; } End(); }")]
    [InlineData("public void OnPost() { if (session.Data is null) [|session.CreateAsync(Cart.Empty)|]; }")]
    public Task It_is_found(string member) => LookAsync(member);

    [Theory]
    [InlineData("public async Task OnPost() { await session.DestroyAsync(); }")]
    [InlineData("public async Task OnPost() { await session.SaveAsync(Cart.Empty).ConfigureAwait(false); }")]
    [InlineData("public Task OnPost() => session.DestroyAsync();")]
    [InlineData("public Task OnPost() { return session.DestroyAsync(); }")]
    [InlineData("public void Map() { app.MapPost(\"/logout\", (Session<Cart> s) => s.DestroyAsync()); }")]
    [InlineData(
        "public void Map() { app.MapPost(\"/logout\", async (Session<Cart> s) => { await s.DestroyAsync(); }); }"
    )]
    [InlineData(
        "public async Task OnPost() { var saving = session.SaveAsync(Cart.Empty); await Task.Delay(1); await saving; }"
    )]
    [InlineData("public async Task OnPost() { await Task.WhenAll(session.DestroyAsync(), Task.Delay(1)); }")]
    [InlineData("public void OnPost() { tasks.Add(manager.DestroyAllAsync(\"ada\")); }")]
    [InlineData("public void OnPost() { _ = manager.DestroyAllAsync(\"ada\"); }")]
    [InlineData("public void OnPost() { _ = pending.CompleteAsync(); }")]
    [InlineData("public void OnPost() { session.DestroyAsync().GetAwaiter().GetResult(); }")]
    [InlineData("public void OnPost() { Task.Delay(1); }")]
    [InlineData(
        "public async Task OnPost() { await foreach (var it in manager.ListAsync(\"ada\")) Console.WriteLine(it); }"
    )]
    [InlineData("public async Task<Cart> OnPost() => await session.UpdateAsync(cart => cart!);")]
    public Task It_is_left_alone(string member) => LookAsync(member);

    [Theory]
    [InlineData(
        "public async Task OnPost() { [|session.DestroyAsync()|]; await Task.Yield(); }",
        "public async Task OnPost() { await session.DestroyAsync(); await Task.Yield(); }"
    )]
    [InlineData(
        "public async Task OnPost() { _ = [|session.DestroyAsync()|]; await Task.Yield(); }",
        "public async Task OnPost() { await session.DestroyAsync(); await Task.Yield(); }"
    )]
    [InlineData(
        "public async Task OnPost() { [|session.SaveAsync(Cart.Empty)|].ConfigureAwait(false); await Task.Yield(); }",
        "public async Task OnPost() { await session.SaveAsync(Cart.Empty).ConfigureAwait(false); await Task.Yield(); }"
    )]
    [InlineData(
        "public void OnPost() { [|session.DestroyAsync()|]; }",
        "public async Task OnPost() { await session.DestroyAsync(); }"
    )]
    [InlineData(
        "public void OnPost() => [|session.DestroyAsync()|];",
        "public async Task OnPost() => await session.DestroyAsync();"
    )]
    [InlineData(
        "public void Map() { app.MapPost(\"/logout\", (Session<Cart> s) => { [|s.DestroyAsync()|]; }); }",
        "public void Map() { app.MapPost(\"/logout\", async (Session<Cart> s) => { await s.DestroyAsync(); }); }"
    )]
    [InlineData(
        "public void OnPost() { ReadOnlySpan<char> name = \"ann\"; Console.WriteLine(name.Length); [|session.DestroyAsync()|]; }",
        "public async Task OnPost() { ReadOnlySpan<char> name = \"ann\"; Console.WriteLine(name.Length); await session.DestroyAsync(); }"
    )]
    [InlineData(
        "public void OnPost() { for (var n = 0; n < 2; n++) { ReadOnlySpan<char> name = \"ann\"; Console.WriteLine(name.Length); [|session.DestroyAsync()|]; } }",
        "public async Task OnPost() { for (var n = 0; n < 2; n++) { ReadOnlySpan<char> name = \"ann\"; Console.WriteLine(name.Length); await session.DestroyAsync(); } }"
    )]
    [InlineData(
        "public void OnPost(ReadOnlyMemory<char> why) { [|session.DestroyAsync()|]; }",
        "public async Task OnPost(ReadOnlyMemory<char> why) { await session.DestroyAsync(); }"
    )]
    [InlineData(
        "public void OnPost() { void End(int n) { [|session.DestroyAsync()|]; } End(1); }",
        "public void OnPost() { async Task End(int n) { await session.DestroyAsync(); } End(1); }"
    )]
    public async Task Await_is_put_before_it(string member, string after) =>
        Assert.Equal(Page(after), await Compiled.FixedAsync<NotAwaitedAnalyzer, AwaitCodeFixProvider>(Page(member)));

    [Theory]
    [InlineData("public void OnPost() { session?[|.DestroyAsync()|]; }")]
    [InlineData("public void OnPost() { [|manager.ListAsync(\"ada\")|]; }")]
    [InlineData("public int OnPost() { [|session.DestroyAsync()|]; return 1; }")]
    [InlineData("public virtual void OnPost() { [|session.DestroyAsync()|]; }")]
    [InlineData("public void OnPost() { lock (session) { [|session.DestroyAsync()|]; } }")]
    [InlineData("public async Task OnPost() { lock (session) [|session.DestroyAsync()|]; await Task.Yield(); }")]
    [InlineData("public int Count { get { [|session.DestroyAsync()|]; return 1; } }")]
    [InlineData("public void Fill(Span<int> all) { all[0] = 1; [|session.DestroyAsync()|]; }")]
    [InlineData(
        "private class Base { public virtual void Close() { } } private sealed class Closing(Session<Cart> session) : Base { public override void Close() { [|session.DestroyAsync()|]; } }"
    )]
    [InlineData(
        "private sealed partial class Closing(Session<Cart> session) { partial void Close(); partial void Close() { [|session.DestroyAsync()|]; } }"
    )]
    [InlineData(
        "public void OnPost() { ReadOnlySpan<char> name = \"ann\"; [|session.DestroyAsync()|]; Console.WriteLine(name.Length); }"
    )]
    [InlineData(
        "public async Task OnPost() { var n = 1; ref var m = ref n; [|session.DestroyAsync()|]; m++; await Task.Yield(); }"
    )]
    [InlineData(
        "public void OnPost() { ReadOnlySpan<char> name = \"ann\"; for (var n = 0; n < 2; n++) { Console.WriteLine(name.Length); [|session.DestroyAsync()|]; } }"
    )]
    [InlineData("public void Each() { new List<Session<Cart>>().ForEach(s => [|s.ReloadAsync()|]); }")]
    [InlineData(
        "private sealed class Closing(Session<Cart> session) : IDisposable { public void Dispose() { [|session.DestroyAsync()|]; } }"
    )]
    [InlineData(
        "private interface IClosing : IDisposable { } private sealed class Closing(Session<Cart> session) : IClosing { public void Dispose() { [|session.DestroyAsync()|]; } }"
    )]
    [InlineData(
        "private class Closing(Session<Cart> session) { public void Dispose() { [|session.DestroyAsync()|]; } } private sealed class Closed(Session<Cart> session) : Closing(session), IDisposable { }"
    )]
    [InlineData(
        "private class Closing<T>(Session<Cart> session) { public void Dispose() { [|session.DestroyAsync()|]; } } private sealed class Closed(Session<Cart> session) : Closing<int>(session), IDisposable { }"
    )]
    [InlineData("public void OnStop() { [|session.DestroyAsync()|]; } public Action Stop => OnStop;")]
    [InlineData("public void Try(out int n) { n = 1; [|session.DestroyAsync()|]; }")]
    [InlineData("public void Count(ref int n) { n++; [|session.DestroyAsync()|]; }")]
    [InlineData("public void Note(in int n) { [|session.DestroyAsync()|]; }")]
    [InlineData("public void Look(ref readonly int n) { [|session.DestroyAsync()|]; }")]
    [InlineData("public void End(ReadOnlySpan<char> why) { [|session.DestroyAsync()|]; }")]
    [InlineData("public void End(int n, Span<byte> bytes) => [|session.DestroyAsync()|];")]
    [InlineData("public void End(params ReadOnlySpan<string> names) { [|session.DestroyAsync()|]; }")]
    [InlineData("public ref struct Piece { } public void End(Piece piece) { [|session.DestroyAsync()|]; }")]
    [InlineData(
        "public void All() { void Each(ReadOnlySpan<char> why) { [|session.DestroyAsync()|]; } Each(\"left\"); }"
    )]
    [InlineData(
        "public void All() { var all = 0; void Each(ref int n) { n++; [|session.DestroyAsync()|]; } Each(ref all); }"
    )]
    [InlineData(
        "public void All() { void Each(string s) { [|session.DestroyAsync()|]; } new List<string>().ForEach(Each); }"
    )]
    public async Task Where_somebody_else_has_a_say_no_fix_is_offered(string member) =>
        Assert.Null(await Compiled.FixedAsync<NotAwaitedAnalyzer, AwaitCodeFixProvider>(Page(member)));

    [Theory]
    [InlineData(
        "public class Closing(Session<Cart> session) { public void Dispose() { [|session.DestroyAsync()|]; } }",
        "public sealed class Closed(Session<Cart> session) : Page.Closing(session), IDisposable { }"
    )]
    [InlineData(
        "public void OnStop() { [|session.DestroyAsync()|]; }",
        "public class Host { public Action Stop => new Page().OnStop; }"
    )]
    public async Task Nor_where_another_project_has(string member, string elsewhere) =>
        Assert.Null(
            await Compiled.FixedAsync<NotAwaitedAnalyzer, AwaitCodeFixProvider>(
                Page(member),
                "using System; using Session.CSharp; " + elsewhere
            )
        );

    /// <summary>A project that calls it goes on to compile.</summary>
    [Fact]
    public async Task Who_calls_it_elsewhere_has_no_say() =>
        Assert.Equal(
            Page("public async Task OnStop() { await session.DestroyAsync(); }"),
            await Compiled.FixedAsync<NotAwaitedAnalyzer, AwaitCodeFixProvider>(
                Page("public void OnStop() { [|session.DestroyAsync()|]; }"),
                "public class Host { public void Stop() { new Page().OnStop(); } }"
            )
        );
}
