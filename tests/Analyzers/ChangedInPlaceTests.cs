using Microsoft.CodeAnalysis;
using Session.Analyzers;
using Xunit;

namespace Analyzers;

/// <summary>SESSION003, of a change: nothing stores it.</summary>
public class ChangedInPlaceTests
{
    private static Task LookAsync(string body) =>
        Compiled.FindsAsync<ChangedInPlaceAnalyzer>(
            $$"""
            public sealed class Crate
            {
                public HashSet<string> Seen { get; set; } = [];
                public LinkedList<string> Line { get; set; } = new();
                public Queue<string> Next { get; set; } = new();
                public Stack<string> Last { get; set; } = new();
                public ConcurrentDictionary<string, int> Counts { get; set; } = new();
                public ConcurrentBag<string> Rest { get; set; } = [];
            }
            public class Shop
            {
                private static Task StoreAsync(Session<Basket> session, Basket? basket) => session.SaveAsync(basket!);
                public async Task RunAsync(
                    Session<Basket> session, Session<Cart> other, Session<Crate> crate, IEndpointRouteBuilder app, string item)
                {
                    await Task.Yield();
                    {{body}}
                }
                private static void Main() { }
            }
            """,
            "SESSION003",
            DiagnosticSeverity.Warning
        );

    [Theory]
    [InlineData("[|session.Data!.Note = item|];")]
    [InlineData("[|session.Data!.Visits++|];")]
    [InlineData("[|session.Data!.Visits += 2|];")]
    [InlineData("[|--session.Data!.Visits|];")]
    [InlineData("[|session.Data!.Note ??= item|];")]
    [InlineData("[|session.Data!.Items.Add(item)|];")]
    [InlineData("session.Data?[|.Items.Add(item)|];")]
    [InlineData("[|session.Data!.Items.Remove(item)|];")]
    [InlineData("[|session.Data!.Counts[item] = 3|];")]
    [InlineData("[|session.Data!.Items[0] = item|];")]
    [InlineData("var basket = session.Data!; [|basket.Items.Add(item)|];")]
    [InlineData("var basket = session.Data; if (basket is not null) [|basket.Note = item|];")]
    [InlineData("[|session.Data!.Note = item|]; await session.UpdateAsync(basket => basket!);")]
    [InlineData(
        "app.MapPost(\"/a\", (Session<Basket> s) => { [|s.Data!.Items.Add(item)|]; }); app.MapPost(\"/b\", (Session<Basket> s) => s.SaveAsync(new Basket()));"
    )]
    [InlineData(
        "void Change() { [|session.Data!.Note = item|]; } Change(); await other.SaveAsync(Cart.Empty); await session.SaveAsync(new Basket());"
    )]
    public Task It_is_found(string body) => LookAsync(body);

    /// <summary>Whatever the call is named that changes one of the framework's collections.</summary>
    [Theory]
    [InlineData("session.Data!.Items", "AddRange([item])")]
    [InlineData("session.Data!.Items", "Clear()")]
    [InlineData("session.Data!.Items", "Insert(0, item)")]
    [InlineData("session.Data!.Items", "InsertRange(0, [item])")]
    [InlineData("session.Data!.Items", "RemoveAll(it => it == item)")]
    [InlineData("session.Data!.Items", "RemoveAt(0)")]
    [InlineData("session.Data!.Items", "RemoveRange(0, 1)")]
    [InlineData("session.Data!.Items", "Reverse()")]
    [InlineData("session.Data!.Items", "Sort()")]
    [InlineData("session.Data!.Counts", "Clear()")]
    [InlineData("session.Data!.Counts", "Remove(item)")]
    [InlineData("session.Data!.Counts", "TryAdd(item, 1)")]
    [InlineData("crate.Data!.Seen", "Add(item)")]
    [InlineData("crate.Data!.Seen", "Clear()")]
    [InlineData("crate.Data!.Seen", "ExceptWith([item])")]
    [InlineData("crate.Data!.Seen", "IntersectWith([item])")]
    [InlineData("crate.Data!.Seen", "RemoveWhere(it => it == item)")]
    [InlineData("crate.Data!.Seen", "SymmetricExceptWith([item])")]
    [InlineData("crate.Data!.Seen", "UnionWith([item])")]
    [InlineData("crate.Data!.Line", "AddFirst(item)")]
    [InlineData("crate.Data!.Line", "AddLast(item)")]
    [InlineData("crate.Data!.Line", "RemoveFirst()")]
    [InlineData("crate.Data!.Line", "RemoveLast()")]
    [InlineData("crate.Data!.Next", "Enqueue(item)")]
    [InlineData("crate.Data!.Next", "Dequeue()")]
    [InlineData("crate.Data!.Next", "TryDequeue(out _)")]
    [InlineData("crate.Data!.Last", "Push(item)")]
    [InlineData("crate.Data!.Last", "Pop()")]
    [InlineData("crate.Data!.Last", "TryPop(out _)")]
    [InlineData("crate.Data!.Counts", "AddOrUpdate(item, 1, (_, n) => n + 1)")]
    [InlineData("crate.Data!.Counts", "TryRemove(item, out _)")]
    [InlineData("crate.Data!.Counts", "TryUpdate(item, 2, 1)")]
    [InlineData("crate.Data!.Rest", "TryTake(out _)")]
    public Task It_is_found_in_every_collection(string owner, string change) => LookAsync($"[|{owner}.{change}|];");

    [Theory]
    [InlineData(
        "await session.UpdateAsync(basket => { basket!.Items.Add(item); basket.Note = item; return basket; });"
    )]
    [InlineData("session.Data!.Note = item; await session.SaveAsync(session.Data);")]
    [InlineData("var basket = session.Data ?? new Basket(); basket.Items.Add(item); await session.SaveAsync(basket);")]
    [InlineData("var basket = session.Data!; basket.Note = item; await session.SignInAsync(item, basket);")]
    [InlineData("var basket = session.Data!; basket.Note = item; await session.CreateAsync(basket);")]
    [InlineData("var basket = session.Data!; basket.Note = item; await session.RegenerateAsync(basket);")]
    [InlineData("var basket = session.Data!; basket.Note = item; await session.UpdateAsync(_ => basket);")]
    [InlineData("var basket = session.Data!; basket.Note = item; await StoreAsync(session, basket);")]
    [InlineData("session.Data!.Note = item; await StoreAsync(session, null);")]
    [InlineData("var basket = new Basket(); basket.Items.Add(item); basket.Visits++;")]
    [InlineData("var items = session.Data!.Items.ToList(); items.Add(item);")]
    [InlineData("var items = session.Data!.Items.ToList(); items.Clear();")]
    [InlineData("session.Data!.Items.Clear(); await session.SaveAsync(session.Data);")]
    [InlineData("await session.UpdateAsync(basket => { basket!.Items.Clear(); return basket; });")]
    [InlineData("if (session.Data!.Items.Contains(item) || crate.Data!.Next.TryPeek(out _)) Console.WriteLine(item);")]
    [InlineData("var items = other.Data!.Items.Add(item); Console.WriteLine(items.Count);")]
    [InlineData("var note = session.Data!.Note; note += item; Console.WriteLine(note);")]
    [InlineData("var basket = session.Data; basket = new Basket(); basket.Note = item;")]
    public Task It_is_left_alone(string body) => LookAsync(body);
}
