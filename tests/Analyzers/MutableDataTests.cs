using Microsoft.CodeAnalysis;
using Session.Analyzers;
using Xunit;

namespace Analyzers;

/// <summary>SESSION003, of a type: what could be changed in place.</summary>
public class MutableDataTests
{
    private static Task LookAsync(string type, bool isFound, string call = "services.AddSession<Visit>()") =>
        Compiled.FindsAsync<MutableDataAnalyzer>(
            $$"""
            {{(isFound ? $"[|{call}|]" : call)}};
            static partial class Program { static readonly IServiceCollection services = null!; }
            public enum Role { Guest, Admin }
            {{type}}
            """,
            "SESSION003",
            DiagnosticSeverity.Info
        );

    [Theory]
    [InlineData("public class Visit { public string? Name { get; set; } }")]
    [InlineData("public record Visit { public int Count { get; set; } }")]
    [InlineData("public record Visit(string Name) { public string? Note { get; set; } }")]
    [InlineData("public record Visit(List<string> Items);")]
    [InlineData("public record Visit(Dictionary<string, int> Counts);")]
    [InlineData("public record Visit(HashSet<string> Seen);")]
    [InlineData("public record Visit(IList<string> Items);")]
    [InlineData("public record Visit(IDictionary<string, string> Values);")]
    [InlineData("public class Visit { public int Count; }")]
    [InlineData("public record Visit(Line First); public class Line { public int Count { get; set; } }")]
    [InlineData("public record Visit(ImmutableList<Line> Lines); public class Line { public int Count { get; set; } }")]
    [InlineData("public record Visit(Line[] Lines); public class Line { public int Count { get; set; } }")]
    [InlineData("public class Base { public int Count { get; set; } } public class Visit : Base;")]
    [InlineData("public class Visit { public List<string> Items { get; } = []; }")]
    public Task It_is_found(string type) => LookAsync(type, true);

    [Fact]
    public Task It_is_found_with_settings_too() =>
        LookAsync(
            "public class Visit { public string? Name { get; set; } }",
            true,
            "services.AddSession<Visit>(o => o.MaxDataBytes = 100)"
        );

    [Theory]
    [InlineData("public record Visit(string Name, int Count);")]
    [InlineData("public record Visit { public string? Name { get; init; } public required int Count { get; init; } }")]
    [InlineData("public record Visit(ImmutableArray<string> Items, ImmutableDictionary<string, int> Counts);")]
    [InlineData("public record Visit(IReadOnlyList<string> Items, IReadOnlyDictionary<string, int> Counts);")]
    [InlineData("public record Visit(string[] Items, byte[] Key);")]
    [InlineData("public record Visit(IEnumerable<string> Items);")]
    [InlineData("public class Visit { public string Name { get; } = \"\"; }")]
    [InlineData("public class Visit { public string? Name { get; private set; } }")]
    [InlineData("public class Visit { private int _count; public int Count() => _count++; }")]
    [InlineData(
        "public class Visit { public readonly int Count = 1; public const int Most = 3; public static int All { get; set; } }"
    )]
    [InlineData("public record Visit(Point At); public struct Point { public int X; public int Y { get; set; } }")]
    [InlineData("public record Visit(DateTimeOffset At, Guid Id, Role Role, Uri? From, TimeSpan? Left);")]
    [InlineData("public record Visit(Line? First); public record Line(string Sku, Line? Next);")]
    [InlineData("public record Visit(Point At); public record struct Point(int X, int Y);")]
    [InlineData(
        "public record Visit(int Count) { [System.Text.Json.Serialization.JsonIgnore] public int Cached { get; set; } }"
    )]
    public Task It_is_left_alone(string type) => LookAsync(type, false);
}
