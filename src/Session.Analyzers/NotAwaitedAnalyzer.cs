using System.Collections.Immutable;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Diagnostics;
using Microsoft.CodeAnalysis.Operations;

namespace Session.Analyzers;

/// <summary>SESSION002: the result of a session call that nobody awaits, returns or keeps.</summary>
[DiagnosticAnalyzer(LanguageNames.CSharp)]
public sealed class NotAwaitedAnalyzer : DiagnosticAnalyzer
{
    /// <inheritdoc/>
    public override ImmutableArray<DiagnosticDescriptor> SupportedDiagnostics { get; } = [Rules.NotAwaited];

    /// <inheritdoc/>
    public override void Initialize(AnalysisContext context)
    {
        context.ConfigureGeneratedCodeAnalysis(GeneratedCodeAnalysisFlags.None);
        context.EnableConcurrentExecution();
        context.RegisterOperationAction(Look, OperationKind.ExpressionStatement);
    }

    private static void Look(OperationAnalysisContext context)
    {
        var value = ((IExpressionStatementOperation)context.Operation).Operation;
        var isSaidToBe = false;
        if (value is ISimpleAssignmentOperation { Target: IDiscardOperation } discard)
            (value, isSaidToBe) = (discard.Value, true);

        value = Known.Unwrap(value)!;
        if (value is IConditionalAccessOperation access)
            value = access.WhenNotNull;

        if (value is IInvocationOperation { TargetMethod.Name: "ConfigureAwait" } configured)
            value = Known.Unwrap(configured.Instance)!;

        if (value is not IInvocationOperation { TargetMethod: { } method } call)
            return;

        // Whoever writes `_ =` means it. The manager's calls need no request; a session's are nothing without theirs.
        var isOurs =
            Known.IsSession(method.ContainingType)
            || !isSaidToBe
                && (
                    Known.IsManager(method.ContainingType)
                    || Known.Is(method.ContainingType, "Session.CSharp", "PendingEnds")
                );
        if (isOurs && (Known.IsTask(method.ReturnType) || method.ReturnType.Name == "IAsyncEnumerable"))
            context.ReportDiagnostic(Diagnostic.Create(Rules.NotAwaited, call.Syntax.GetLocation(), method.Name));
    }
}
