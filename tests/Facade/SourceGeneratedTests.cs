using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using Microsoft.Extensions.Options;
using Microsoft.FSharp.Collections;
using Session.AspNetCore;
using Xunit;

namespace Facade;

/// <summary>Contracts from the source generator are looked through like those of reflection.</summary>
public sealed partial class SourceGeneratedTests
{
    public sealed class Basket
    {
        public List<string> Items { get; } = ["a gift"];

        public required string? Coupon { get; set; }

        public string? Theme { get; set; } = "dark";
    }

    public sealed class WithSet
    {
        public HashSet<int> Seen { get; } = [];
    }

    public sealed class WithField
    {
        public int Count;
    }

    public sealed record WithList(FSharpList<string> Items);

    public sealed class WithSetter
    {
        public int Count { get; private set; }

        public void Add() => Count++;
    }

    public sealed class WithInit
    {
        public string Theme { get; init; } = "dark";

        public string? Note { get; init; }

        /// <summary>Zero is no null.</summary>
        public int? Tries { get; init; } = 0;

        public required string Name { get; init; } = "nobody";
    }

    public sealed class WithPrivate
    {
        [JsonInclude]
        public int Count { get; private set; }
    }

    public sealed record Numbers(double Value, string Text);

    [JsonSerializable(typeof(Basket))]
    [JsonSerializable(typeof(WithInit))]
    [JsonSerializable(typeof(WithPrivate))]
    [JsonSerializable(typeof(Numbers))]
    [JsonSerializable(typeof(WithSet))]
    [JsonSerializable(typeof(WithField))]
    [JsonSerializable(typeof(WithList))]
    [JsonSerializable(typeof(WithSetter))]
    private sealed partial class Plain : JsonSerializerContext;

    [JsonSourceGenerationOptions(DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
    [JsonSerializable(typeof(Basket))]
    private sealed partial class NoNulls : JsonSerializerContext;

    [Fact]
    public void Nulls_come_back_and_collections_without_a_setter_are_filled_once()
    {
        ISessionSerializer<Basket> serializer = new JsonSessionSerializer<Basket>(Plain.Default.Basket);
        var basket = new Basket { Coupon = null, Theme = null };
        basket.Items.Add("x");
        var back = serializer.Deserialize(serializer.Serialize(basket));
        Assert.Equal(["a gift", "x"], back.Items);
        Assert.Null(back.Coupon);
        Assert.Null(back.Theme);
    }

    [Fact]
    public void Sets_without_a_setter_are_filled()
    {
        ISessionSerializer<WithSet> serializer = new JsonSessionSerializer<WithSet>(Plain.Default.WithSet);
        var back = serializer.Deserialize(serializer.Serialize(new WithSet { Seen = { 7, 8 } }));
        Assert.Equal([7, 8], back.Seen.Order());
    }

    [Fact]
    public void Nulls_that_are_left_out_and_would_not_come_back_are_refused()
    {
        var sentences = Refused(NoNulls.Default.Basket);
        Assert.Contains("Basket.Coupon", sentences, StringComparison.Ordinal);
        Assert.Contains("Basket.Theme", sentences, StringComparison.Ordinal);
    }

    [Fact]
    public void Members_that_would_be_lost_are_refused()
    {
        Assert.Contains("WithField.Count", Refused(Plain.Default.WithField), StringComparison.Ordinal);
        Assert.Contains("WithSetter.Count", Refused(Plain.Default.WithSetter), StringComparison.Ordinal);
        Assert.Contains("FSharpList<String>", Refused(Plain.Default.WithList), StringComparison.Ordinal);
    }

    [Fact]
    public void Initializers_that_the_generator_loses_are_refused()
    {
        // What it is about: without a contract that was looked through, `init` and its initializer come to null.
        Assert.Null(JsonSerializer.Deserialize("""{"Name":"ann"}""", Plain.Default.WithInit)!.Theme);

        var sentences = Refused(Plain.Default.WithInit);
        Assert.Contains("WithInit.Theme", sentences, StringComparison.Ordinal);
        Assert.Contains("WithInit.Tries", sentences, StringComparison.Ordinal);
        Assert.Contains("Give it set", sentences, StringComparison.Ordinal);
        Assert.DoesNotContain("WithInit.Note", sentences, StringComparison.Ordinal);
        Assert.DoesNotContain("WithInit.Name", sentences, StringComparison.Ordinal);

        ISessionSerializer<WithInit> reflected = new JsonSessionSerializer<WithInit>(
            SessionSerializer.contract<WithInit>()
        );
        Assert.Equal("dark", reflected.Deserialize("""{"name":"ann"}"""u8.ToArray()).Theme);
    }

    [Fact]
    public void What_the_generator_cannot_come_by_is_refused()
    {
        Assert.Contains("WithPrivate.Count", Refused(Plain.Default.WithPrivate), StringComparison.Ordinal);
    }

    [Fact]
    public void What_has_no_json_is_refused_at_the_write()
    {
        ISessionSerializer<Numbers> serializer = new JsonSessionSerializer<Numbers>(Plain.Default.Numbers);
        var nan = Assert.Throws<UnwritableSessionDataException>(() => serializer.Serialize(new(double.NaN, "")));
        Assert.Contains("AllowNamedFloatingPointLiterals", nan.Message, StringComparison.Ordinal);
        var half = Assert.Throws<UnwritableSessionDataException>(() => serializer.Serialize(new(0, "a\ud83d")));
        Assert.Contains("Numbers.Text", half.Message, StringComparison.Ordinal);
        var whole = new Numbers(0.1, "\ud83d\ude00 \ufffd");
        Assert.Equal(whole, serializer.Deserialize(serializer.Serialize(whole)));
    }

    private static string Refused<T>(JsonTypeInfo<T> contract) =>
        Assert.Throws<OptionsValidationException>(() => new JsonSessionSerializer<T>(contract)).Message;
}
