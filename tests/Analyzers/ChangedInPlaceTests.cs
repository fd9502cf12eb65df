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
            public class Shop
            {
                private static Task StoreAsync(Session<Basket> session, Basket? basket) => session.SaveAsync(basket!);
                public async Task RunAsync(Session<Basket> session, Session<Cart> other, IEndpointRouteBuilder app, string item)
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
    [InlineData("var items = other.Data!.Items.Add(item); Console.WriteLine(items.Count);")]
    [InlineData("var note = session.Data!.Note; note += item; Console.WriteLine(note);")]
    [InlineData("var basket = session.Data; basket = new Basket(); basket.Note = item;")]
    public Task It_is_left_alone(string body) => LookAsync(body);
}
