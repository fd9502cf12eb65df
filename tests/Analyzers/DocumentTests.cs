using System.Text.RegularExpressions;
using Facade;
using Session.Analyzers;
using Xunit;

namespace Analyzers;

/// <summary>What the documents say is found is found, line by line, and no other line of theirs.</summary>
public partial class DocumentTests
{
    [GeneratedRegex("```csharp\n(.*?)```", RegexOptions.Singleline)]
    private static partial Regex Blocks();

    [GeneratedRegex("// (SESSION\\d+)")]
    private static partial Regex Marked();

    [Theory]
    [InlineData("docs/ANALYZERS.md")]
    [InlineData("src/Session.Analyzers/README.md")]
    public async Task What_a_document_says_is_found(string document)
    {
        var text = await File.ReadAllTextAsync(Repository.Under(document));
        var count = 0;
        foreach (Match block in Blocks().Matches(text))
        {
            const string Before = """
                public sealed class Bag { public List<string> Items { get; set; } = []; public Bag Without(string order) => this; }
                public static class Shop
                {
                    private static void Main() { }
                    public static async Task RunAsync(Session<Bag> session, WebApplication app, IMailer mailer, string order)
                    {
                        await Task.Yield();

                """;
            var code =
                Before
                + block.Groups[1].Value.Replace("Session<Cart>", "Session<Bag>", StringComparison.Ordinal)
                + "}}";
            var lines = code.Split('\n');
            var expected = lines
                .Select((line, number) => (number, id: Marked().Match(line).Groups[1].Value))
                .Where(it => it.id != "")
                .ToList();
            var found = await Compiled.FoundAsync(
                code,
                new UpdateSideEffectAnalyzer(),
                new NotAwaitedAnalyzer(),
                new ChangedInPlaceAnalyzer(),
                new WriteOnGetAnalyzer()
            );
            var places = found.Select(it => (it.Location.GetLineSpan().StartLinePosition.Line, it.Id)).Order();
            Assert.Equal(expected.Order(), places);
            count += expected.Count;
        }

        Assert.InRange(count, 4, int.MaxValue);
    }
}
