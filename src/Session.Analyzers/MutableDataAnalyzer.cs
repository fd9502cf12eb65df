using System.Collections.Immutable;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Diagnostics;
using Microsoft.CodeAnalysis.Operations;

namespace Session.Analyzers;

/// <summary>SESSION003: a type of session data that can be changed in place.</summary>
[DiagnosticAnalyzer(LanguageNames.CSharp)]
public sealed class MutableDataAnalyzer : DiagnosticAnalyzer
{
    /// <inheritdoc/>
    public override ImmutableArray<DiagnosticDescriptor> SupportedDiagnostics { get; } = [Rules.MutableData];

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
        var method = call.TargetMethod;
        if (
            method is not { Name: "AddSession", TypeArguments.Length: 1 }
            || method.ContainingType.Name != "SessionServiceCollectionExtensions"
            || method.ContainingNamespace.ToDisplayString() != "Microsoft.Extensions.DependencyInjection"
        )
            return;

        var data = method.TypeArguments[0];
        if (Mutable(data, new HashSet<ITypeSymbol>(SymbolEqualityComparer.Default)) is not { } found)
            return;

        var (member, advice) = found;
        context.ReportDiagnostic(
            Diagnostic.Create(
                Rules.MutableData,
                call.Syntax.GetLocation(),
                member.Locations,
                $"{member.ContainingType.Name}.{member.Name}",
                advice
            )
        );
    }

    /// <summary>The first member that can be changed, of the application's own types. An array is left alone: few write to one.</summary>
    private static (ISymbol Member, string Advice)? Mutable(ITypeSymbol type, HashSet<ITypeSymbol> seen)
    {
        if (type is IArrayTypeSymbol array)
            return Mutable(array.ElementType, seen);

        if (!seen.Add(type))
            return null;

        if (type is INamedTypeSymbol { IsGenericType: true } generic)
            foreach (var argument in generic.TypeArguments)
                if (Mutable(argument, seen) is { } inside)
                    return inside;

        for (var owner = type; owner is not null && owner.Locations.Any(it => it.IsInSource); owner = owner.BaseType)
            foreach (var member in owner.GetMembers())
                if (Mutable(member, seen) is { } found)
                    return found;

        return null;
    }

    private static (ISymbol Member, string Advice)? Mutable(ISymbol member, HashSet<ITypeSymbol> seen)
    {
        if (
            member.IsStatic
            || member.IsImplicitlyDeclared && member is not IPropertySymbol
            || member.DeclaredAccessibility != Accessibility.Public
            || member.GetAttributes().Any(it => it.AttributeClass?.Name == "JsonIgnoreAttribute")
        )
            return null;

        switch (member)
        {
            case IPropertySymbol { IsIndexer: false } property:
                // A set of a struct's is of a copy.
                if (
                    property.SetMethod is { IsInitOnly: false, DeclaredAccessibility: Accessibility.Public }
                    && !property.ContainingType.IsValueType
                )
                    return (property, "make it 'init'");
                return Collection(property, property.Type) ?? Mutable(property.Type, seen);
            case IFieldSymbol { IsConst: false } field:
                if (!field.IsReadOnly && !field.ContainingType.IsValueType)
                    return (field, "make it a property with 'init'");
                return Collection(field, field.Type) ?? Mutable(field.Type, seen);
            default:
                return null;
        }
    }

    private static (ISymbol Member, string Advice)? Collection(ISymbol member, ITypeSymbol type) =>
        Known.IsMutableCollection(type) && type.Locations.All(it => !it.IsInSource)
            ? (member, "use an immutable collection, such as ImmutableList<T>, or IReadOnlyList<T>")
            : null;
}
