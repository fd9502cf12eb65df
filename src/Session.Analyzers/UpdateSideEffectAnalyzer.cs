using System.Collections.Immutable;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Diagnostics;
using Microsoft.CodeAnalysis.Operations;
using Microsoft.CodeAnalysis.Text;

namespace Session.Analyzers;

/// <summary>SESSION001: a side effect, or a wait for something else, in the function of <c>UpdateAsync</c>.</summary>
[DiagnosticAnalyzer(LanguageNames.CSharp)]
public sealed class UpdateSideEffectAnalyzer : DiagnosticAnalyzer
{
    /// <inheritdoc/>
    public override ImmutableArray<DiagnosticDescriptor> SupportedDiagnostics { get; } = [Rules.SideEffect];

    /// <inheritdoc/>
    public override void Initialize(AnalysisContext context)
    {
        context.ConfigureGeneratedCodeAnalysis(GeneratedCodeAnalysisFlags.None);
        context.EnableConcurrentExecution();
        context.RegisterOperationAction(Look, OperationKind.Invocation);
    }

    private static void Look(OperationAnalysisContext context)
    {
        var call = (IInvocationOperation)context.Operation;
        var type = call.TargetMethod.ContainingType;
        if (call.TargetMethod.Name != "UpdateAsync" || !(Known.IsSession(type) || Known.IsManager(type)))
            return;

        var update = call.Arguments.FirstOrDefault(it => it.Parameter?.Name == "update");
        if (update is null || Known.Function(update.Value) is not { } function)
            return;

        // One for each place: what is waited for is inside of the wait.
        var told = new List<TextSpan>();
        foreach (var operation in function.Descendants())
            if (
                !told.Any(it => it.Contains(operation.Syntax.Span))
                && new Replayed(function).Effect(operation) is { } effect
            )
            {
                told.Add(operation.Syntax.Span);
                var where = operation.Syntax.GetLocation();
                context.ReportDiagnostic(Diagnostic.Create(Rules.SideEffect, where, effect));
            }
    }
}
