using System.Collections.Immutable;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Diagnostics;
using Microsoft.CodeAnalysis.Operations;

namespace Session.Analyzers;

/// <summary>SESSION003: a change of <c>session.Data</c> in place that nothing in the same function stores.</summary>
[DiagnosticAnalyzer(LanguageNames.CSharp)]
public sealed class ChangedInPlaceAnalyzer : DiagnosticAnalyzer
{
    /// <inheritdoc/>
    public override ImmutableArray<DiagnosticDescriptor> SupportedDiagnostics { get; } = [Rules.ChangedInPlace];

    /// <inheritdoc/>
    public override void Initialize(AnalysisContext context)
    {
        context.ConfigureGeneratedCodeAnalysis(GeneratedCodeAnalysisFlags.None);
        context.EnableConcurrentExecution();
        context.RegisterOperationAction(
            Look,
            OperationKind.SimpleAssignment,
            OperationKind.CompoundAssignment,
            OperationKind.CoalesceAssignment,
            OperationKind.Increment,
            OperationKind.Decrement,
            OperationKind.Invocation
        );
    }

    private static void Look(OperationAnalysisContext context)
    {
        var target = context.Operation switch
        {
            IAssignmentOperation assignment => Owner(assignment.Target),
            IIncrementOrDecrementOperation count => Owner(count.Target),
            IInvocationOperation call when Known.ChangesCollection(call) || Known.EmptiesCollection(call) =>
                Known.Receiver(call),
            _ => null,
        };
        if (target is null)
            return;

        var function = FunctionOf(context.Operation);
        if (Data(target, function) is not { } session || IsStored(session, function))
            return;

        context.ReportDiagnostic(
            Diagnostic.Create(Rules.ChangedInPlace, context.Operation.Syntax.GetLocation(), target.Syntax.ToString())
        );
    }

    /// <summary>Whose member is assigned.</summary>
    private static IOperation? Owner(IOperation target) =>
        target switch
        {
            IPropertyReferenceOperation property => property.Instance,
            IFieldReferenceOperation field => field.Instance,
            IArrayElementReferenceOperation element => element.ArrayReference,
            _ => null,
        };

    /// <summary>The symbols through which the data was reached (the session, and a variable), if it is a session's.</summary>
    private static ImmutableArray<ISymbol>? Data(IOperation? operation, IOperation function)
    {
        var through = ImmutableArray<ISymbol>.Empty;
        while (true)
            switch (operation = Known.Unwrap(operation))
            {
                case IPropertyReferenceOperation { Property.Name: "Data" } data
                    when Known.IsSession(data.Property.ContainingType):
                    return Named(data.Instance) is { } session ? through.Add(session) : through;
                case IPropertyReferenceOperation property:
                    operation = property.Instance;
                    break;
                case IFieldReferenceOperation field:
                    operation = field.Instance;
                    break;
                case IArrayElementReferenceOperation element:
                    operation = element.ArrayReference;
                    break;
                case ICoalesceOperation coalesce:
                    operation = coalesce.Value;
                    break;
                case ILocalReferenceOperation local when through.IsEmpty && Begun(local.Local, function) is { } value:
                    through = [local.Local];
                    operation = value;
                    break;
                default:
                    return null;
            }
    }

    /// <summary>What a variable was declared with, if it is assigned nowhere else.</summary>
    private static IOperation? Begun(ILocalSymbol local, IOperation function)
    {
        IOperation? begun = null;
        foreach (var operation in function.Descendants())
            switch (operation)
            {
                case IVariableDeclaratorOperation declarator when Same(declarator.Symbol, local):
                    begun = declarator.GetVariableInitializer()?.Value;
                    break;
                case ISimpleAssignmentOperation { Target: ILocalReferenceOperation target }
                    when Same(target.Local, local):
                    return null;
                default:
                    break;
            }

        return begun;
    }

    /// <summary>Whether the function stores data, or hands the session or the data to somebody who may.</summary>
    private static bool IsStored(ImmutableArray<ISymbol> through, IOperation function)
    {
        foreach (var operation in function.Descendants())
            switch (operation)
            {
                case IInvocationOperation call
                    when call.TargetMethod.Name
                        is "SaveAsync"
                            or "SignInAsync"
                            or "CreateAsync"
                            or "CreateSessionAsync"
                            or "RegenerateAsync"
                        && (
                            Known.IsSession(call.TargetMethod.ContainingType)
                            || Known.IsManager(call.TargetMethod.ContainingType)
                        ):
                    return true;
                case IArgumentOperation argument when IsOneOf(through, argument.Value):
                    return true;
                case IInvocationOperation { TargetMethod.Name: "UpdateAsync" } update
                    when Known.IsSession(update.TargetMethod.ContainingType)
                        && update.Arguments.Any(it =>
                            it.Descendants().Any(use => use is ILocalReferenceOperation && IsOneOf(through, use))
                        ):
                    return true;
                default:
                    break;
            }

        return false;
    }

    private static bool IsOneOf(ImmutableArray<ISymbol> through, IOperation value) =>
        Named(value) is { } symbol && through.Any(it => Same(it, symbol));

    private static ISymbol? Named(IOperation? operation) =>
        Known.Unwrap(operation) switch
        {
            ILocalReferenceOperation local => local.Local,
            IParameterReferenceOperation parameter => parameter.Parameter,
            IFieldReferenceOperation field => field.Field,
            IPropertyReferenceOperation property => property.Property,
            _ => null,
        };

    private static bool Same(ISymbol one, ISymbol other) => SymbolEqualityComparer.Default.Equals(one, other);

    private static IOperation FunctionOf(IOperation operation)
    {
        while (operation.Parent is { } parent)
        {
            operation = parent;
            if (operation is IAnonymousFunctionOperation or ILocalFunctionOperation)
                break;
        }

        return operation;
    }
}
