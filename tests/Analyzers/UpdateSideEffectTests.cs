using Microsoft.CodeAnalysis;
using Session.Analyzers;
using Xunit;

namespace Analyzers;

/// <summary>SESSION001: what happens again when an update is called again.</summary>
public class UpdateSideEffectTests
{
    private static Task LookAsync(string body) =>
        Compiled.FindsAsync<UpdateSideEffectAnalyzer>(
            $$"""
            public class Shop(IMailer mailer, HttpClient http, ILogger<Shop> logger, SemaphoreSlim gate)
            {
                private int _total;
                private string? _message;
                private readonly List<string> _sold = [];
                private readonly ConcurrentQueue<string> _queue = new();
                private static string? s_last;
                public event EventHandler? Changed;
                private static Cart Twice(Cart? cart) { s_last = "x"; return cart ?? Cart.Empty; }
                private static Cart Pure(Cart? cart) => cart ?? Cart.Empty;
                private static void Validate(Cart? cart) { if (cart is null) throw new InvalidOperationException(); }
                public async Task RunAsync(
                    Session<Cart> session, SessionManager<Cart> manager, SessionId id, Session<Basket> old, HttpContext context,
                    Order order, string item, Action sold, Task<string> name)
                {
                    await Task.Yield();
                    {{body}}
                }
                private static void Main() { }
            }
            """,
            "SESSION001",
            DiagnosticSeverity.Warning
        );

    [Theory]
    [InlineData("await session.UpdateAsync(cart => { [|mailer.Send(item)|]; return cart ?? Cart.Empty; });")]
    [InlineData("await session.UpdateAsync(cart => { _ = [|mailer.SendAsync(item)|]; return cart ?? Cart.Empty; });")]
    [InlineData("await session.UpdateAsync(cart => Cart.Empty with { Note = [|http.GetStringAsync(item).Result|] });")]
    [InlineData(
        "await session.UpdateAsync(cart => Cart.Empty with { Note = [|http.GetStringAsync(item).GetAwaiter().GetResult()|] });"
    )]
    [InlineData("await session.UpdateAsync(cart => Cart.Empty with { Note = [|name.Result|] });")]
    [InlineData(
        "await session.UpdateAsync(cart => { [|mailer.SendAsync(item).Wait()|]; return cart ?? Cart.Empty; });"
    )]
    [InlineData("await session.UpdateAsync(cart => { [|_total++|]; return cart ?? Cart.Empty; });")]
    [InlineData("var n = 0; await session.UpdateAsync(cart => { [|n += 2|]; return cart! with { Count = n }; });")]
    [InlineData(
        "await session.UpdateAsync(cart => { [|Interlocked.Increment(ref _total)|]; return cart ?? Cart.Empty; });"
    )]
    [InlineData("await session.UpdateAsync(cart => { [|_sold.Add(item)|]; return cart ?? Cart.Empty; });")]
    [InlineData(
        "var seen = new List<string>(); await session.UpdateAsync(cart => { foreach (var it in cart!.Items) [|seen.Add(it)|]; return cart; });"
    )]
    [InlineData("await session.UpdateAsync(cart => { [|_queue.Enqueue(item)|]; return cart ?? Cart.Empty; });")]
    [InlineData(
        "await session.UpdateAsync(cart => { [|File.AppendAllText(\"log\", item)|]; return cart ?? Cart.Empty; });"
    )]
    [InlineData(
        "await session.UpdateAsync(cart => { [|Directory.CreateDirectory(item)|]; return cart ?? Cart.Empty; });"
    )]
    [InlineData(
        "await session.UpdateAsync(cart => { using var it = [|System.Diagnostics.Process.Start(item)|]; return cart ?? Cart.Empty; });"
    )]
    [InlineData(
        "System.Data.Common.DbCommand command = null!; await session.UpdateAsync(cart => { [|command.ExecuteNonQuery()|]; return cart ?? Cart.Empty; });"
    )]
    [InlineData("await session.UpdateAsync(cart => { [|_total--|]; return cart ?? Cart.Empty; });")]
    [InlineData("await session.UpdateAsync(cart => { [|order.Shipped = true|]; return cart ?? Cart.Empty; });")]
    [InlineData("await session.UpdateAsync(cart => { [|order.Tries++|]; return cart ?? Cart.Empty; });")]
    [InlineData(
        "await session.UpdateAsync(cart => { [|context.Response.StatusCode = 409|]; return cart ?? Cart.Empty; });"
    )]
    [InlineData("await session.UpdateAsync(cart => { [|s_last = item|]; return cart ?? Cart.Empty; });")]
    [InlineData("await session.UpdateAsync(cart => { [|sold()|]; return cart ?? Cart.Empty; });")]
    [InlineData("await session.UpdateAsync(cart => { [|Changed += (_, _) => { }|]; return cart ?? Cart.Empty; });")]
    [InlineData(
        "await session.UpdateAsync(cart => { [|manager.DestroySessionAsync(id)|].ToString(); return cart ?? Cart.Empty; });"
    )]
    [InlineData("await manager.UpdateAsync(id, cart => { [|mailer.Send(item)|]; return cart ?? Cart.Empty; });")]
    [InlineData(
        "await session.UpdateAsync(delegate(Cart? cart) { [|mailer.Send(item)|]; return cart ?? Cart.Empty; });"
    )]
    [InlineData(
        "Cart Sell(Cart? cart) { [|mailer.Send(item)|]; return cart ?? Cart.Empty; } await session.UpdateAsync(Sell);"
    )]
    [InlineData("await session.UpdateAsync(cart => { mailer?[|.Send(item)|]; return cart ?? Cart.Empty; });")]
    public Task It_is_found(string body) => LookAsync(body);

    /// <summary>The next call finds what this one has left, unless it begins with it anew, and with the same one.</summary>
    [Theory]
    [InlineData(
        "var n = 0; await session.UpdateAsync(cart => { foreach (var it in cart!.Items) [|n++|]; n = 0; return cart; });"
    )]
    [InlineData("await session.UpdateAsync(cart => { [|_total += 2|]; _total = 0; return cart ?? Cart.Empty; });")]
    [InlineData(
        "var seen = new List<string>(); await session.UpdateAsync(cart => { [|seen.AddRange(cart!.Items)|]; seen.Clear(); return cart; });"
    )]
    [InlineData(
        "await session.UpdateAsync(cart => { [|_sold.Add(item)|]; _sold.Clear(); return cart ?? Cart.Empty; });"
    )]
    [InlineData("var n = 0; n = 0; await session.UpdateAsync(cart => { [|n++|]; return cart ?? Cart.Empty; });")]
    [InlineData(
        "var seen = new List<string>(); seen.Clear(); await session.UpdateAsync(cart => { [|seen.Add(item)|]; return cart ?? Cart.Empty; });"
    )]
    [InlineData(
        "var n = 0; var m = 1; await session.UpdateAsync(cart => { m = 0; [|n++|]; return cart! with { Count = n + m }; });"
    )]
    [InlineData(
        "var seen = new List<string>(); await session.UpdateAsync(cart => { seen.Clear(); [|_sold.Add(item)|]; return cart ?? Cart.Empty; });"
    )]
    public Task What_is_begun_anew_too_late_or_elsewhere_is_found(string body) => LookAsync(body);

    [Fact]
    public Task It_is_found_in_a_method_that_is_named() =>
        Compiled.FindsAsync<UpdateSideEffectAnalyzer>(
            """
            public static class Shop
            {
                private static int s_sold;
                private static Cart Sell(Cart? cart) { [|s_sold++|]; return cart ?? Cart.Empty; }
                public static Task<Cart> Run(Session<Cart> session) => session.UpdateAsync(Sell);
                private static void Main() { }
            }
            """,
            "SESSION001",
            DiagnosticSeverity.Warning
        );

    [Theory]
    [InlineData("await session.UpdateAsync(cart => (cart ?? Cart.Empty).Add(item));")]
    [InlineData("await session.UpdateAsync(cart => new Cart([.. cart?.Items ?? [], item]));")]
    [InlineData(
        "string? removed = null; await session.UpdateAsync(cart => { removed = cart!.Items[0]; return cart with { Items = cart.Items.RemoveAt(0) }; });"
    )]
    [InlineData("await session.UpdateAsync(cart => { _message = \"added\"; return cart ?? Cart.Empty; });")]
    [InlineData(
        "var n = 0; await session.UpdateAsync(cart => { n = 0; foreach (var it in cart!.Items) n++; return cart; });"
    )]
    [InlineData(
        "var seen = new List<string>(); await session.UpdateAsync(cart => { seen.Clear(); seen.AddRange(cart!.Items); return cart; });"
    )]
    [InlineData(
        "await session.UpdateAsync(cart => { _total = 0; foreach (var it in cart!.Items) _total += it.Length; return cart; });"
    )]
    [InlineData("await session.UpdateAsync(cart => { _sold.Clear(); _sold.AddRange(cart!.Items); return cart; });")]
    [InlineData(
        "await session.UpdateAsync(cart => { var list = cart!.Items.ToList(); list.Add(item); list.Sort(); return cart with { Items = [.. list] }; });"
    )]
    [InlineData(
        "await old.UpdateAsync(basket => { basket!.Items.Add(item); basket.Visits++; basket.Note = item; basket.Counts[item] = 1; return basket; });"
    )]
    [InlineData(
        "await old.UpdateAsync(basket => { basket ??= new Basket { Note = item }; basket.Items.Remove(item); return basket; });"
    )]
    [InlineData(
        "await session.UpdateAsync(cart => { logger.LogInformation(\"added {Item}\", item); return cart ?? Cart.Empty; });"
    )]
    [InlineData(
        "await session.UpdateAsync(cart => { Validate(cart); ArgumentNullException.ThrowIfNull(item); return cart!; });"
    )]
    [InlineData(
        "await session.UpdateAsync(cart => { context.RequestAborted.ThrowIfCancellationRequested(); return cart ?? Cart.Empty; });"
    )]
    [InlineData(
        "await session.UpdateAsync(cart => cart! with { Note = _sold.FirstOrDefault() + Guid.NewGuid() + DateTimeOffset.UtcNow });"
    )]
    [InlineData(
        "await session.UpdateAsync(cart => { var sum = 0; foreach (var it in cart!.Items) sum += it.Length; return cart with { Count = sum }; });"
    )]
    [InlineData("await session.UpdateAsync(Pure);")]
    [InlineData("await session.UpdateAsync(cart => cart! with { Note = File.ReadAllText(item) });")]
    [InlineData(
        "await session.UpdateAsync(cart => { var n = 0; Interlocked.Increment(ref n); return cart! with { Count = n }; });"
    )]
    [InlineData(
        "await session.UpdateAsync(cart => { var list = new ConcurrentQueue<string>(); list.Enqueue(item); return cart! with { Count = list.Count }; });"
    )]
    [InlineData("await session.UpdateAsync(cart => { _sold.Clear(); return cart ?? Cart.Empty; });")]
    [InlineData(
        "await session.UpdateAsync(cart => { var copy = new string[3]; cart!.Items.CopyTo(copy); return cart; });"
    )]
    [InlineData(
        "await session.UpdateAsync(cart => cart!.Items.Count > 9 ? throw new InvalidOperationException(item) : cart.Add(item));"
    )]
    [InlineData(
        "await mailer.SendAsync(item); await session.UpdateAsync(cart => cart!.Add(item)); _total++; mailer.Send(item);"
    )]
    [InlineData("var text = await name; await session.UpdateAsync(cart => cart! with { Note = text });")]
    [InlineData("await Task.Run(() => { _total++; mailer.Send(item); });")]
    [InlineData(
        "await session.UpdateAsync(cart => { var order2 = new Order(); order2.Tries++; order2.Shipped = true; return cart ?? Cart.Empty; });"
    )]
    public Task It_is_left_alone(string body) => LookAsync(body);
}
