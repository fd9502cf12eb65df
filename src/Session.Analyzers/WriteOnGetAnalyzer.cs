using System.Collections.Immutable;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Diagnostics;
using Microsoft.CodeAnalysis.Operations;

namespace Session.Analyzers;

/// <summary>SESSION004: a sign-in, or another change of a session, in a handler of GET.</summary>
[DiagnosticAnalyzer(LanguageNames.CSharp)]
public sealed class WriteOnGetAnalyzer : DiagnosticAnalyzer
{
    /// <inheritdoc/>
    public override ImmutableArray<DiagnosticDescriptor> SupportedDiagnostics { get; } = [Rules.WriteOnGet];

    /// <inheritdoc/>
    public override void Initialize(AnalysisContext context)
    {
        context.ConfigureGeneratedCodeAnalysis(GeneratedCodeAnalysisFlags.None);
        context.EnableConcurrentExecution();
        context.RegisterOperationAction(LookAtRoute, OperationKind.Invocation);
        context.RegisterOperationBlockAction(LookAtMember);
    }

    /// <summary><c>MapGet</c>, and <c>MapMethods</c> with GET alone.</summary>
    private static void LookAtRoute(OperationAnalysisContext context)
    {
        var map = (IInvocationOperation)context.Operation;
        if (
            !IsGet(map)
            || map.Arguments.FirstOrDefault(it => it.Parameter?.Name is "handler" or "requestDelegate")
                is not { } handler
            || Known.Function(handler.Value) is not { } function
            || IsAllowed(map)
        )
            return;

        var method = function switch
        {
            IAnonymousFunctionOperation lambda => lambda.Symbol,
            ILocalFunctionOperation local => local.Symbol,
            _ => function.SemanticModel?.GetDeclaredSymbol(function.Syntax) as IMethodSymbol,
        };
        // A method that says itself what it answers is looked at where it stands.
        if (method is not null && !HasGetAttribute(method))
            Report(method, [function], context.ReportDiagnostic);
    }

    /// <summary>Actions of controllers, handlers of Razor pages.</summary>
    private static void LookAtMember(OperationBlockAnalysisContext context)
    {
        if (context.OwningSymbol is IMethodSymbol method && (HasGetAttribute(method) || IsPageHandler(method)))
            Report(method, context.OperationBlocks, context.ReportDiagnostic);
    }

    private static void Report(IMethodSymbol handler, IEnumerable<IOperation> bodies, Action<Diagnostic> report)
    {
        if (IsAllowed(handler) || BringsProof(handler))
            return;

        var operations = bodies.SelectMany(it => it.DescendantsAndSelf()).ToList();
        if (operations.Any(ProvesItself))
            return;

        foreach (var call in operations.OfType<IInvocationOperation>())
            if (IsWrite(call.TargetMethod))
                report(Diagnostic.Create(Rules.WriteOnGet, call.Syntax.GetLocation(), call.TargetMethod.Name));
    }

    /// <summary>An anonymous session may begin by a GET: a visit does, and it says nothing of anybody.</summary>
    private static bool IsWrite(IMethodSymbol method) =>
        Known.IsSession(method.ContainingType)
        && method.Name is "SignInAsync" or "SaveAsync" or "UpdateAsync" or "RegenerateAsync" or "DestroyAsync"
            ? Known.IsSession(method.ContainingType)
            : Known.IsManager(method.ContainingType)
                && (method.Name == "UpdateAsync" || method.Name.StartsWith("Destroy", StringComparison.Ordinal));

    private static bool IsGet(IInvocationOperation map)
    {
        if (map.TargetMethod.ContainingType?.Name != "EndpointRouteBuilderExtensions")
            return false;

        if (map.TargetMethod.Name == "MapGet")
            return true;

        if (map.TargetMethod.Name != "MapMethods")
            return false;

        var verbs = map
            .Arguments.Where(it => it.Parameter?.Name == "httpMethods")
            .SelectMany(it => it.Descendants())
            .Select(it => it.ConstantValue is { HasValue: true, Value: string verb } ? verb : null)
            .Where(it => it is not null)
            .ToList();
        return verbs.Count > 0 && verbs.All(it => it!.ToUpperInvariant() is "GET" or "HEAD");
    }

    private static bool HasGetAttribute(IMethodSymbol method) =>
        method
            .GetAttributes()
            .Any(it =>
                Known.IsOrInherits(it.AttributeClass, "Microsoft.AspNetCore.Mvc", "HttpGetAttribute")
                || it.AttributeClass?.Name == "AcceptVerbsAttribute"
                    && it.ConstructorArguments.SelectMany(Values).Any(verb => verb?.ToUpperInvariant() == "GET")
            );

    private static IEnumerable<string?> Values(TypedConstant constant) =>
        constant.Kind == TypedConstantKind.Array ? constant.Values.SelectMany(Values) : [constant.Value as string];

    /// <summary>OnGet, OnGetAsync, OnGetSomethingAsync; not OnGetting.</summary>
    private static bool IsPageHandler(IMethodSymbol method) =>
        method.DeclaredAccessibility == Accessibility.Public
        && method.Name.StartsWith("OnGet", StringComparison.Ordinal)
        && (method.Name.Length == 5 || !char.IsLower(method.Name[5]))
        && Known.IsOrInherits(method.ContainingType, "Microsoft.AspNetCore.Mvc.RazorPages", "PageModel")
        && !method.GetAttributes().Any(it => it.AttributeClass?.Name == "NonHandlerAttribute");

    /// <summary>Meant for other sites, and said so.</summary>
    private static bool IsAllowed(IMethodSymbol method) =>
        method
            .GetAttributes()
            .Concat(method.ContainingType?.GetAttributes() ?? [])
            .Any(it => it.AttributeClass?.Name == "AllowCrossSiteAttribute");

    private static bool IsAllowed(IOperation map)
    {
        for (var parent = map.Parent; parent is not null; parent = parent.Parent)
            switch (parent)
            {
                case IInvocationOperation { TargetMethod.Name: "AllowCrossSite" }:
                    return true;
                case IInvocationOperation or IArgumentOperation or IConversionOperation:
                    break;
                default:
                    return false;
            }

        return false;
    }

    /// <summary>The way back from another place of sign-in, or a link in a mail: a value that only the right one has.</summary>
    private static bool BringsProof(IMethodSymbol handler) =>
        handler.Parameters.Any(it => it.Name.ToLowerInvariant() is "code" or "state" or "token" or "ticket");

    /// <summary>It asks another scheme who this is, or does one thing or another by the method.</summary>
    private static bool ProvesItself(IOperation operation) =>
        operation switch
        {
            IInvocationOperation { TargetMethod.Name: "AuthenticateAsync" } => true,
            IInvocationOperation
            {
                TargetMethod: { Name: "AllowCrossSite", ContainingType.Name: "SessionHttpContextExtensions" }
            } => true,
            IPropertyReferenceOperation { Property: { Name: "Method", ContainingType.Name: "HttpRequest" } } => true,
            _ => false,
        };
}
