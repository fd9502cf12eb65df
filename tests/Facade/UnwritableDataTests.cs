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
