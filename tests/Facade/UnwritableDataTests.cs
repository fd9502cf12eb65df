using System.Collections.Immutable;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;
using Session.AspNetCore;
using Xunit;

namespace Facade;

/// <summary>What System.Text.Json cannot write, or would not give back.</summary>
public sealed partial class UnwritableDataTests
{
    public sealed record Holds<T>(T It);

    public sealed class Throws
    {
        private readonly string _what;

        public Throws(string what) => _what = what;

        public string What => _what == "thrown" ? throw new InvalidOperationException("the application's own") : _what;
    }

    [JsonSerializable(typeof(Holds<JsonDocument>))]
    private sealed partial class PlainDocuments : JsonSerializerContext;

    private static ISessionSerializer<T> Of<T>() => new JsonSessionSerializer<T>(SessionSerializer.contract<T>());

    private static Exception Refused<T>(T value)
    {
        var error = Assert.Throws<UnwritableSessionDataException>(() => Of<Holds<T>>().Serialize(new(value)));
        Assert.NotNull(error.InnerException);
        return error.InnerException;
    }

    [Fact]
    public void What_was_never_set_is_refused_as_data()
    {
        Refused(default(ImmutableArray<int>));
        Refused<ImmutableArray<string>?>(default(ImmutableArray<string>));
        Refused(default(JsonElement));
        Refused(new Dictionary<string, JsonElement> { ["x"] = default });
        Refused(new[] { default(ImmutableArray<int>) });
    }

    [Fact]
    public void What_says_null_where_there_may_be_none_is_refused()
    {
        using var document = JsonDocument.Parse("null");
        Assert.Contains("JsonElement", Refused<JsonElement?>(document.RootElement).Message);
        var serializer = Of<Holds<JsonElement?>>();
        Assert.Null(serializer.Deserialize(serializer.Serialize(new(null))).It);
        foreach (var json in new[] { "1", "{\"a\":[1,null]}", "\"null\"", "false" })
        {
            using var some = JsonDocument.Parse(json);
            Assert.Equal(
                json,
                serializer.Deserialize(serializer.Serialize(new(some.RootElement))).It!.Value.GetRawText()
            );
        }

        // By itself it says null, or anything.
        var plain = Of<Holds<JsonElement>>();
        Assert.Equal(JsonValueKind.Null, plain.Deserialize(plain.Serialize(new(document.RootElement))).It.ValueKind);
    }

    [JsonDerivedType(typeof(Gift), "gift"), JsonDerivedType(typeof(EngravedGift), "engraved")]
    public record Item(string Sku);

    public record Gift(string Sku, string To) : Item(Sku);

    public sealed record EngravedGift(string Sku, string To, string Text) : Gift(Sku, To);

    /// <summary>Only what something is declared as may be of another type.</summary>
    [Fact]
    public void Three_generations_that_are_declared_come_back()
    {
        var serializer = Of<Holds<List<Item>>>();
        List<Item> items = [new("a"), new Gift("b", "eve"), new EngravedGift("c", "eve", "x")];
        Assert.Equal(items, serializer.Deserialize(serializer.Serialize(new(items))).It);
        var refused = Assert.Throws<OptionsValidationException>(() => Of<Holds<Gift>>());
        Assert.Contains("EngravedGift", refused.Message);
    }

    /// <summary>What a member shows that is left out is left out with it; what it calculates from is not.</summary>
    public sealed class Ticked
    {
        private readonly List<int> _items = [];
        private string _shown = "";

        public IReadOnlyList<int> Items => _items;

        [JsonIgnore]
        public int Count => _items.Count;

        [JsonIgnore]
        public string Shown
        {
            get { return _shown; }
            set { _shown = value; }
        }

        public void Add(int item) => _items.Add(item);
    }

    [Fact]
    public void A_calculation_that_is_left_out_takes_nothing_with_it()
    {
        var ticked = new Ticked { Shown = "for now" };
        ticked.Add(7);
        var back = Of<Holds<Ticked>>().Deserialize(Of<Holds<Ticked>>().Serialize(new(ticked))).It;
        Assert.Equal([7], back.Items);
        Assert.Equal("", back.Shown);
    }

    /// <summary>Of a class that others may be derived from, so that each value is looked at when it is written.</summary>
    public class Prepared : IJsonOnSerializing
    {
        public string? Note { get; set; }

        void IJsonOnSerializing.OnSerializing() => Note = "prepared";
    }

    [Fact]
    public void What_an_object_does_before_it_is_written_is_done()
    {
        var serializer = Of<Holds<Prepared>>();
        Assert.Equal("prepared", serializer.Deserialize(serializer.Serialize(new(new()))).It.Note);
    }

    [Fact]
    public void What_throws_while_it_is_written_is_refused_as_data()
    {
        Assert.NotEmpty(Of<Throws>().Serialize(new Throws("fine")));
        var error = Assert.Throws<UnwritableSessionDataException>(() => Of<Throws>().Serialize(new Throws("thrown")));
        Assert.Contains("the application's own", error.Message);

        // Of a list that another thread changes meanwhile.
        var list = new List<int> { 1, 2 };
        Assert.Contains(
            "modified",
            Refused(
                list.Select(each =>
                {
                    list.Add(each);
                    return each;
                })
            ).Message
        );
    }

    [Fact]
    public void A_document_or_none_comes_back_as_it_was()
    {
        var serializer = Of<Holds<JsonDocument?>>();
        Assert.Null(serializer.Deserialize(serializer.Serialize(new(null))).It);
        foreach (var json in new[] { "1", "{\"a\":[1,null]}", "\"null\"", "false", "[]" })
        {
            using var document = JsonDocument.Parse(json);
            using var back = serializer.Deserialize(serializer.Serialize(new(document))).It!;
            Assert.Equal(json, back.RootElement.GetRawText());
        }

        using var none = JsonDocument.Parse("null");
        Refused(none);
        var nodes = Of<Holds<JsonNode?>>();
        Assert.Null(nodes.Deserialize(nodes.Serialize(new(null))).It);
        var elements = Of<Holds<JsonElement?>>();
        Assert.Null(elements.Deserialize(elements.Serialize(new(null))).It);
    }

    [Fact]
    public void A_document_by_the_source_generators_contract_is_refused_at_start() =>
        Assert.Contains(
            "a JsonDocument that is null",
            Assert
                .Throws<OptionsValidationException>(() =>
                    new JsonSessionSerializer<Holds<JsonDocument>>(PlainDocuments.Default.HoldsJsonDocument)
                )
                .Message
        );

    [Fact]
    public void What_comes_later_is_refused_at_start()
    {
        var error = Assert.Throws<OptionsValidationException>(Of<Holds<IAsyncEnumerable<int>>>);
        Assert.Contains("Holds<IAsyncEnumerable<Int32>>.It", error.Message);
        Assert.Contains("one after another, later", error.Message);
        Assert.Throws<OptionsValidationException>(Of<Holds<Dictionary<string, IAsyncEnumerable<int>>>>);
    }

    [Fact]
    public async Task A_request_hears_of_it_as_of_other_data_that_cannot_be_written()
    {
        var services = new ServiceCollection();
        services.AddSession<Holds<ImmutableArray<int>>>();
        await using var provider = services.BuildServiceProvider();
        var service = provider.GetRequiredService<SessionService<Holds<ImmutableArray<int>>>>();
        var answer = service.Serialize(new(default));
        Assert.True(answer.ErrorValue.IsUnwritable);
    }
}
