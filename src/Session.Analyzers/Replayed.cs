using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Operations;

namespace Session.Analyzers;

/// <summary>
/// A function that may be called again. What it does twice without harm is no finding: an assignment to a variable outside
/// (the last call counts), what it makes itself, a line of a log, a check that throws.
/// </summary>
internal sealed class Replayed(IOperation function)
{
    private static readonly string[] _harmless =
    [
        "Assert",
        "Check",
        "Debug",
        "Demand",
        "Ensure",
        "Guard",
        "Log",
        "Require",
        "Throw",
        "Trace",
        "Validate",
        "Verify",
    ];

    private static readonly string[] _writes = ["Append", "Copy", "Create", "Delete", "Move", "Replace", "Write"];

    private static readonly string[] _changes =
    [
        "Add",
        "Attach",
        "ExecuteDelete",
        "ExecuteNonQuery",
        "ExecuteUpdate",
        "Remove",
        "SaveChanges",
        "Update",
    ];

    /// <summary>What it does besides, in words; null: nothing.</summary>
    public string? Effect(IOperation operation) =>
        operation switch
        {
            IAwaitOperation => "What is awaited",
            IPropertyReferenceOperation { Property.Name: "Result" } result when Known.IsTask(result.Instance?.Type) =>
                "What is waited for",
            IInvocationOperation call => Called(call),
            IIncrementOrDecrementOperation count => Accumulated(count.Target),
            ICompoundAssignmentOperation sum => Accumulated(sum.Target),
            IEventAssignmentOperation { EventReference: IEventReferenceOperation source }
                when IsOutside(source.Instance) => $"Subscribing to '{source.Event.Name}'",
            ISimpleAssignmentOperation assignment => Assigned(assignment.Target),
            _ => null,
        };

    private string? Called(IInvocationOperation call)
    {
        var method = call.TargetMethod;
        var type = method.ContainingType;
        var space = type.ContainingNamespace?.ToDisplayString() ?? "";
        var words = $"'{method.Name}'";

        if (space == "System.Threading.Tasks" && method.Name is "FromResult" or "FromException" or "FromCanceled")
            return null;

        if (Known.IsTask(method.ReturnType) || (Known.IsTask(type) && method.Name is "Wait" or "WaitAll" or "WaitAny"))
            return words;

        if (space == "System.Runtime.CompilerServices" && method.Name == "GetResult")
            return "What is waited for";

        if (method.IsStatic && !method.IsExtensionMethod)
            return space switch
            {
                "System.Threading" when type.Name == "Interlocked" && method.Name is not ("Read" or "MemoryBarrier") =>
                    call.Arguments.Any(it => it.Parameter?.RefKind == RefKind.Ref && IsOutside(it.Value))
                        ? words
                        : null,
                "System.IO" when type.Name is "File" or "Directory" => BeginsWithOne(method.Name, _writes)
                    ? words
                    : null,
                "System.Diagnostics" when type.Name == "Process" && method.Name == "Start" => words,
                _ => null,
            };

        var receiver = Known.Receiver(call);
        if (!IsOutside(receiver) || receiver is IInstanceReferenceOperation)
            return null;

        if (Known.ChangesCollection(call))
            return IsBegunAnew(receiver, call) ? null : words;

        if (IsDatabase(receiver?.Type) && BeginsWithOne(method.Name, _changes))
            return words;

        return method.ReturnsVoid && !IsHarmless(method, receiver?.Type) ? words : null;
    }

    private string? Accumulated(IOperation target) =>
        IsOutside(target) && !IsBegunAnew(target, target) ? $"The change of '{target.Syntax}'" : null;

    /// <summary>Of a variable, or of a member of the object that the code belongs to, the last call's value counts.</summary>
    private string? Assigned(IOperation target)
    {
        var (owner, isIndexer) = target switch
        {
            IPropertyReferenceOperation property => (property.Instance, property.Property.IsIndexer),
            IFieldReferenceOperation field => (field.Instance, false),
            _ => (null, true),
        };
        var isStatic = owner is null && !isIndexer;
        if (isIndexer || Known.Unwrap(owner) is IInstanceReferenceOperation)
            return null;

        return isStatic || IsOutside(owner) ? $"The change of '{target.Syntax}'" : null;
    }

    /// <summary>Whether it lives longer than one call.</summary>
    private bool IsOutside(IOperation? operation)
    {
        while (true)
            switch (operation = Known.Unwrap(operation))
            {
                case ILocalReferenceOperation local:
                    return !IsWithin(local.Local);
                case IParameterReferenceOperation parameter:
                    return !IsWithin(parameter.Parameter);
                case IInstanceReferenceOperation instance:
                    return instance.ReferenceKind == InstanceReferenceKind.ContainingTypeInstance;
                case IFieldReferenceOperation field:
                    if (field.Instance is null)
                        return true;
                    operation = field.Instance;
                    break;
                case IPropertyReferenceOperation property:
                    if (property.Instance is null)
                        return true;
                    operation = property.Instance;
                    break;
                case IArrayElementReferenceOperation element:
                    operation = element.ArrayReference;
                    break;
                default:
                    // What a call has returned may be new.
                    return false;
            }
    }

    private bool IsWithin(ISymbol symbol) =>
        symbol.DeclaringSyntaxReferences.Any(it =>
            it.SyntaxTree == function.Syntax.SyntaxTree && function.Syntax.Span.Contains(it.Span)
        );

    /// <summary>Whether each call starts it from the beginning: assigned, or emptied, before.</summary>
    private bool IsBegunAnew(IOperation? target, IOperation use)
    {
        var symbol = Symbol(target);
        return symbol is not null
            && function
                .Descendants()
                .Where(it => it.Syntax.SpanStart < use.Syntax.SpanStart)
                .Any(it =>
                    it switch
                    {
                        ISimpleAssignmentOperation assignment => Same(symbol, Symbol(assignment.Target)),
                        IInvocationOperation { TargetMethod.Name: "Clear" } clear => Same(
                            symbol,
                            Symbol(clear.Instance)
                        ),
                        _ => false,
                    }
                );
    }

    private static bool Same(ISymbol one, ISymbol? other) => SymbolEqualityComparer.Default.Equals(one, other);

    private static ISymbol? Symbol(IOperation? operation) =>
        Known.Unwrap(operation) switch
        {
            ILocalReferenceOperation local => local.Local,
            IParameterReferenceOperation parameter => parameter.Parameter,
            IFieldReferenceOperation field => field.Field,
            IPropertyReferenceOperation property => property.Property,
            _ => null,
        };

    private static bool BeginsWithOne(string name, string[] beginnings) =>
        beginnings.Any(it => name.StartsWith(it, StringComparison.Ordinal));

    private static bool IsDatabase(ITypeSymbol? type) =>
        Known.IsOrInherits(type, "Microsoft.EntityFrameworkCore", "DbContext")
        || Known.IsOrInherits(type, "Microsoft.EntityFrameworkCore", "DbSet`1")
        || Known.IsOrInherits(type, "System.Data.Common", "DbCommand");

    private static bool IsHarmless(IMethodSymbol method, ITypeSymbol? receiver)
    {
        if (method.MethodKind == MethodKind.DelegateInvoke)
            return false;

        var space = receiver?.ContainingNamespace?.ToDisplayString() ?? "";
        return BeginsWithOne(method.Name, _harmless)
            || (receiver?.Name.EndsWith("Logger", StringComparison.Ordinal) ?? true)
            || space
                is "System"
                    or "System.Collections"
                    or "System.Collections.Generic"
                    or "System.Collections.Concurrent"
                    or "System.Collections.Immutable"
                    or "System.Collections.ObjectModel"
                    or "System.Text"
                    or "System.Threading"
            || space.StartsWith("System.Diagnostics", StringComparison.Ordinal)
            || receiver is IArrayTypeSymbol;
    }
}
