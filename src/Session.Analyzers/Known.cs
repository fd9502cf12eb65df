using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Operations;

namespace Session.Analyzers;

/// <summary>The types that the rules are about, by their names: an application without them is left alone.</summary>
internal static class Known
{
    private static readonly HashSet<string> _changes = new(StringComparer.Ordinal)
    {
        "Add",
        "AddFirst",
        "AddLast",
        "AddOrUpdate",
        "AddRange",
        "Dequeue",
        "Enqueue",
        "ExceptWith",
        "Insert",
        "InsertRange",
        "IntersectWith",
        "Pop",
        "Push",
        "Remove",
        "RemoveAll",
        "RemoveAt",
        "RemoveFirst",
        "RemoveLast",
        "RemoveRange",
        "RemoveWhere",
        "Reverse",
        "Sort",
        "SymmetricExceptWith",
        "TryAdd",
        "TryDequeue",
        "TryPop",
        "TryRemove",
        "TryTake",
        "TryUpdate",
        "UnionWith",
    };

    public static bool Is(ITypeSymbol? type, string space, string name) =>
        type?.MetadataName == name && type.ContainingNamespace?.ToDisplayString() == space;

    public static bool IsOrInherits(ITypeSymbol? type, string space, string name)
    {
        for (; type is not null; type = type.BaseType)
            if (Is(type, space, name))
                return true;

        return false;
    }

    public static bool IsSession(ITypeSymbol? type) => Is(type, "Session.CSharp", "Session`1");

    public static bool IsManager(ITypeSymbol? type) => Is(type, "Session.CSharp", "SessionManager`1");

    /// <summary>What has a task in it.</summary>
    public static bool IsTask(ITypeSymbol? type) =>
        type?.MetadataName is "Task" or "Task`1" or "ValueTask" or "ValueTask`1"
        && type.ContainingNamespace?.ToDisplayString() == "System.Threading.Tasks";

    /// <summary>A collection of the framework's that a call can change.</summary>
    public static bool IsMutableCollection(ITypeSymbol? type)
    {
        for (; type is not null; type = type.BaseType)
            if (
                type.ContainingNamespace?.ToDisplayString()
                    is "System.Collections"
                        or "System.Collections.Generic"
                        or "System.Collections.Concurrent"
                        or "System.Collections.ObjectModel"
                && !type.Name.StartsWith("IReadOnly", StringComparison.Ordinal)
                && !type.Name.StartsWith("ReadOnly", StringComparison.Ordinal)
                && !type.Name.StartsWith("IEnum", StringComparison.Ordinal)
                && !type.Name.EndsWith("Comparer", StringComparison.Ordinal)
                && type.Name != "KeyValuePair"
            )
                return true;

        return false;
    }

    public static bool ChangesCollection(IInvocationOperation call) =>
        _changes.Contains(call.TargetMethod.Name) && IsMutableCollection(Receiver(call)?.Type);

    /// <summary>A change as well; but to do it twice is no more than to do it once.</summary>
    public static bool EmptiesCollection(IInvocationOperation call) =>
        call.TargetMethod.Name == "Clear" && IsMutableCollection(Receiver(call)?.Type);

    /// <summary>What a method is called on, of an extension method, too.</summary>
    public static IOperation? Receiver(IInvocationOperation call) =>
        call.Instance
        ?? (call.TargetMethod.IsExtensionMethod && call.Arguments.Length > 0 ? call.Arguments[0].Value : null);

    /// <summary>Without what does not change whose member it is: conversions, <c>!</c>, the two sides of <c>?.</c></summary>
    public static IOperation? Unwrap(IOperation? operation)
    {
        while (true)
            switch (operation)
            {
                case IConversionOperation conversion:
                    operation = conversion.Operand;
                    break;
                case IParenthesizedOperation parenthesized:
                    operation = parenthesized.Operand;
                    break;
                case IConditionalAccessInstanceOperation instance:
                    operation = Accessed(instance);
                    break;
                default:
                    return operation;
            }
    }

    /// <summary>The function that this argument is, if its text is in the same file.</summary>
    public static IOperation? Function(IOperation value)
    {
        if (value is IDelegateCreationOperation creation)
            value = creation.Target;

        value = Unwrap(value) ?? value;
        if (value is IDelegateCreationOperation inner)
            value = inner.Target;

        if (value is not IMethodReferenceOperation { Method.DeclaringSyntaxReferences: { Length: > 0 } places } method)
            return value as IAnonymousFunctionOperation;

        var place = places[0].GetSyntax();
        return place.SyntaxTree == method.Syntax.SyntaxTree ? method.SemanticModel?.GetOperation(place) : null;
    }

    private static IOperation? Accessed(IOperation instance)
    {
        for (
            var (child, parent) = (instance, instance.Parent);
            parent is not null;
            (child, parent) = (parent, parent.Parent)
        )
            if (parent is IConditionalAccessOperation access && access.WhenNotNull == child)
                return access.Operation;

        return null;
    }
}
