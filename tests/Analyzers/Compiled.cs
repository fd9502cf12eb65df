using System.Collections.Immutable;
using System.Globalization;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CodeActions;
using Microsoft.CodeAnalysis.CodeFixes;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.Diagnostics;
using Microsoft.CodeAnalysis.Text;
using Xunit;

namespace Analyzers;

/// <summary>Code as an application has it, compiled against the libraries themselves, and what is found in it.</summary>
internal static class Compiled
{
    // What a web project has without saying so, and what the cases speak of.
    private const string Begin = """
        #nullable enable
        global using System;
        global using System.Collections.Concurrent;
        global using System.Collections.Generic;
        global using System.Collections.Immutable;
        global using System.IO;
        global using System.Linq;
        global using System.Net.Http;
        global using System.Threading;
        global using System.Threading.Tasks;
        global using Microsoft.AspNetCore.Authentication;
        global using Microsoft.AspNetCore.Builder;
        global using Microsoft.AspNetCore.Http;
        global using Microsoft.AspNetCore.Mvc;
        global using Microsoft.AspNetCore.Mvc.RazorPages;
        global using Microsoft.AspNetCore.Routing;
        global using Microsoft.Extensions.DependencyInjection;
        global using Microsoft.Extensions.Logging;
        global using Session.CSharp;

        public sealed record Cart(ImmutableList<string> Items, int Count = 0)
        {
            public static Cart Empty { get; } = new([]);
            public string? Note { get; init; }
            public Cart Add(string item) => this with { Items = Items.Add(item) };
        }
        public sealed class Basket
        {
            public List<string> Items { get; set; } = [];
            public Dictionary<string, int> Counts { get; set; } = [];
            public string? Note { get; set; }
            public int Visits;
        }
        public sealed class Order { public bool Shipped { get; set; } public int Tries { get; set; } }
        public interface IMailer { void Send(string to); Task SendAsync(string to); }
        """;

    private static readonly ImmutableArray<MetadataReference> _references =
    [
        .. ((string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!)
            .Split(Path.PathSeparator)
            .Select(it => MetadataReference.CreateFromFile(it)),
    ];

    private static Document Project(string code)
    {
        var workspace = new AdhocWorkspace();
        var options = new CSharpCompilationOptions(
            OutputKind.ConsoleApplication,
            nullableContextOptions: NullableContextOptions.Enable
        );
        var project = workspace
            .AddProject(
                ProjectInfo.Create(
                    ProjectId.CreateNewId(),
                    VersionStamp.Create(),
                    "Application",
                    "Application",
                    LanguageNames.CSharp,
                    compilationOptions: options,
                    parseOptions: new CSharpParseOptions(LanguageVersion.Latest),
                    metadataReferences: _references
                )
            )
            .AddDocument("Begin.cs", SourceText.From(Begin))
            .Project;
        return project.AddDocument("Code.cs", SourceText.From(code));
    }

    /// <summary>The same document, and another project that uses its one.</summary>
    private static async Task<Document> UsedByAsync(Document document, string elsewhere)
    {
        var id = ProjectId.CreateNewId();
        var solution = document
            .Project.Solution.AddProject(
                ProjectInfo.Create(
                    id,
                    VersionStamp.Create(),
                    "Elsewhere",
                    "Elsewhere",
                    LanguageNames.CSharp,
                    compilationOptions: new CSharpCompilationOptions(OutputKind.DynamicallyLinkedLibrary),
                    parseOptions: new CSharpParseOptions(LanguageVersion.Latest),
                    projectReferences: [new ProjectReference(document.Project.Id)],
                    metadataReferences: _references
                )
            )
            .AddDocument(DocumentId.CreateNewId(id), "Elsewhere.cs", SourceText.From(elsewhere));
        var compilation = (await solution.GetProject(id)!.GetCompilationAsync())!;
        var wrong = compilation.GetDiagnostics().Where(it => it.Severity == DiagnosticSeverity.Error);
        Assert.True(!wrong.Any(), string.Join('\n', wrong));
        return solution.GetDocument(document.Id)!;
    }

    private static async Task<ImmutableArray<Diagnostic>> LookAsync(Document document, DiagnosticAnalyzer analyzer)
    {
        var compilation = (await document.Project.GetCompilationAsync())!;
        var wrong = compilation.GetDiagnostics().Where(it => it.Severity == DiagnosticSeverity.Error);
        Assert.True(!wrong.Any(), string.Join('\n', wrong));
        var found = await compilation.WithAnalyzers([analyzer]).GetAllDiagnosticsAsync();
        Assert.DoesNotContain(found, it => it.Id == "AD0001");
        return [.. found.Where(it => it.Id.StartsWith("SESSION", StringComparison.Ordinal))];
    }

    /// <summary>What is found is what stands between the marks <c>[|</c> and <c>|]</c>, and nothing else.</summary>
    public static async Task FindsAsync<TAnalyzer>(string code, string id, DiagnosticSeverity severity)
        where TAnalyzer : DiagnosticAnalyzer, new()
    {
        var expected = new List<string>();
        for (var rest = code; rest.Contains("[|", StringComparison.Ordinal); )
        {
            rest = rest[(rest.IndexOf("[|", StringComparison.Ordinal) + 2)..];
            expected.Add(rest[..rest.IndexOf("|]", StringComparison.Ordinal)]);
        }

        var plain = Plain(code);
        var found = await LookAsync(Project(plain), new TAnalyzer());
        var places = found.OrderBy(it => it.Location.SourceSpan.Start);
        Assert.Equal(
            expected,
            places.Select(it => plain.Substring(it.Location.SourceSpan.Start, it.Location.SourceSpan.Length))
        );
        Assert.All(found, it => Assert.Equal((id, severity), (it.Id, it.Severity)));
        Assert.All(
            found,
            it => Assert.DoesNotContain("{", it.GetMessage(CultureInfo.InvariantCulture), StringComparison.Ordinal)
        );
    }

    /// <summary>What all of these find.</summary>
    public static async Task<ImmutableArray<Diagnostic>> FoundAsync(string code, params DiagnosticAnalyzer[] analyzers)
    {
        var document = Project(code);
        var found = await Task.WhenAll(analyzers.Select(it => LookAsync(document, it)));
        return [.. found.SelectMany(it => it)];
    }

    public static string Plain(string code) =>
        code.Replace("[|", "", StringComparison.Ordinal).Replace("|]", "", StringComparison.Ordinal);

    /// <summary>
    /// The code after the fix, which compiles and has no finding; null: no fix is offered. Elsewhere: the code of a project that
    /// uses this one.
    /// </summary>
    public static async Task<string?> FixedAsync<TAnalyzer, TFix>(string code, string? elsewhere = null)
        where TAnalyzer : DiagnosticAnalyzer, new()
        where TFix : CodeFixProvider, new()
    {
        var document = Project(Plain(code));
        if (elsewhere is not null)
            document = await UsedByAsync(document, elsewhere);

        var finding = Assert.Single(await LookAsync(document, new TAnalyzer()));
        var actions = new List<CodeAction>();
        var context = new CodeFixContext(document, finding, (action, _) => actions.Add(action), CancellationToken.None);
        await new TFix().RegisterCodeFixesAsync(context);
        if (actions.Count == 0)
            return null;

        var operations = await Assert.Single(actions).GetOperationsAsync(CancellationToken.None);
        var changed = Assert.Single(operations.OfType<ApplyChangesOperation>()).ChangedSolution;
        var result = changed.GetDocument(document.Id)!;
        result = await Microsoft.CodeAnalysis.Simplification.Simplifier.ReduceAsync(result);
        Assert.Empty(await LookAsync(result, new TAnalyzer()));
        return (await result.GetTextAsync()).ToString();
    }
}
