using System.Collections.Immutable;
using System.Composition;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CodeActions;
using Microsoft.CodeAnalysis.CodeFixes;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using Microsoft.CodeAnalysis.FindSymbols;
using Microsoft.CodeAnalysis.Formatting;
using Microsoft.CodeAnalysis.Simplification;

namespace Session.Analyzers;

/// <summary>Puts <c>await</c> before a session call, and makes the function around it asynchronous where that changes nothing else.</summary>
[ExportCodeFixProvider(LanguageNames.CSharp, Name = nameof(AwaitCodeFixProvider))]
[Shared]
public sealed class AwaitCodeFixProvider : CodeFixProvider
{
    /// <inheritdoc/>
    public override ImmutableArray<string> FixableDiagnosticIds { get; } = [Rules.NotAwaitedId];

    /// <inheritdoc/>
    public override FixAllProvider GetFixAllProvider() => WellKnownFixAllProviders.BatchFixer;

    /// <inheritdoc/>
    public override async Task RegisterCodeFixesAsync(CodeFixContext context)
    {
        var root = await context.Document.GetSyntaxRootAsync(context.CancellationToken).ConfigureAwait(false);
        var model = await context.Document.GetSemanticModelAsync(context.CancellationToken).ConfigureAwait(false);
        if (root is null || model is null)
            return;

        foreach (var diagnostic in context.Diagnostics)
        {
            var found = root.FindNode(diagnostic.Location.SourceSpan, getInnermostNodeForTie: true);
            if (Whole(found) is not { } expression || model.GetTypeInfo(found).Type?.Name == "IAsyncEnumerable")
                continue;

            var function = expression.Ancestors().FirstOrDefault(IsFunction);
            var asynchronous = function is null ? null : Asynchronous(function, model);
            if (
                function is not null && asynchronous is null
                || expression.Ancestors().TakeWhile(it => it != function).Any(it => it is LockStatementSyntax)
                || HoldsOnTo(expression, function ?? root, model)
                || function is not null
                    && !await IsItsOwn(function, model, context.Document.Project.Solution, context.CancellationToken)
                        .ConfigureAwait(false)
            )
                continue;

            context.RegisterCodeFix(
                CodeAction.Create(
                    "Await the call",
                    _ =>
                        Task.FromResult(
                            context.Document.WithSyntaxRoot(Fixed(root, expression, function, asynchronous))
                        ),
                    nameof(AwaitCodeFixProvider)
                ),
                diagnostic
            );
        }
    }

    /// <summary>The call with its <c>ConfigureAwait</c>, with <c>_ =</c> before it. After <c>?.</c> there may be nothing to await.</summary>
    private static ExpressionSyntax? Whole(SyntaxNode found)
    {
        var call = found as ExpressionSyntax;
        if (call?.Parent is MemberAccessExpressionSyntax { Parent: InvocationExpressionSyntax configured })
            call = configured;

        if (call?.Parent is AssignmentExpressionSyntax assignment)
            call = assignment;

        return call?.Parent is ExpressionStatementSyntax or ArrowExpressionClauseSyntax or LambdaExpressionSyntax
            ? call
            : null;
    }

    /// <summary>Whether what no wait may come between, such as a span, is used behind the call, or again in a loop around it.</summary>
    private static bool HoldsOnTo(ExpressionSyntax expression, SyntaxNode function, SemanticModel model)
    {
        var loops = expression
            .Ancestors()
            .TakeWhile(it => it != function)
            .Where(it =>
                it is ForStatementSyntax or CommonForEachStatementSyntax or WhileStatementSyntax or DoStatementSyntax
            )
            .ToList();
        return function.DescendantNodes().OfType<IdentifierNameSyntax>().Any(IsUsedAcross);

        bool IsUsedAcross(IdentifierNameSyntax name)
        {
            if (
                model.GetSymbolInfo(name).Symbol is not ILocalSymbol local
                || !(local.IsRef || local.Type.IsRefLikeType)
                || local.DeclaringSyntaxReferences.FirstOrDefault() is not { } begun
                || begun.Span.Start > expression.SpanStart
            )
                return false;

            return name.SpanStart > expression.Span.End
                || loops.Any(it => it.Span.Contains(name.Span) && !it.Span.Contains(begun.Span));
        }
    }

    private static SyntaxNode Fixed(
        SyntaxNode root,
        ExpressionSyntax expression,
        SyntaxNode? function,
        Func<SyntaxNode, SyntaxNode>? asynchronous
    )
    {
        var awaited = expression is AssignmentExpressionSyntax assignment ? assignment.Right : expression;
        var with = SyntaxFactory
            .AwaitExpression(awaited.WithoutTrivia())
            .WithTriviaFrom(expression)
            .WithAdditionalAnnotations(Formatter.Annotation);
        return function is null || asynchronous is null
            ? root.ReplaceNode(expression, with)
            : root.ReplaceNode(function, asynchronous(function.ReplaceNode(expression, with)));
    }

    private static bool IsFunction(SyntaxNode node) =>
        node
            is AnonymousFunctionExpressionSyntax
                or LocalFunctionStatementSyntax
                or BaseMethodDeclarationSyntax
                or AccessorDeclarationSyntax;

    /// <summary>
    /// Whether nothing else says what it looks like: no interface that it implements, in a derived type or in its own, no delegate
    /// that it is made into, in any project of the solution, and no argument that a function which waits cannot have.
    /// </summary>
    private static async Task<bool> IsItsOwn(
        SyntaxNode function,
        SemanticModel model,
        Solution solution,
        CancellationToken cancel
    )
    {
        // A lambda has no name that others use, and what is asynchronous returns what it has returned before.
        if (
            function is AnonymousFunctionExpressionSyntax
            || model.GetDeclaredSymbol(function, cancel) is not IMethodSymbol { IsAsync: false } method
        )
            return true;

        if (method.Parameters.Any(it => it.RefKind != RefKind.None || it.Type.IsRefLikeType))
            return false;

        var asked = await SymbolFinder
            .FindImplementedInterfaceMembersAsync(method, solution, cancellationToken: cancel)
            .ConfigureAwait(false);
        if (asked.Any())
            return false;

        var found = await SymbolFinder.FindReferencesAsync(method, solution, cancel).ConfigureAwait(false);
        foreach (var place in found.SelectMany(it => it.Locations))
        {
            var root = await place.Document.GetSyntaxRootAsync(cancel).ConfigureAwait(false);
            // In a comment it is another node that is found there.
            if (
                root?.FindNode(place.Location.SourceSpan, getInnermostNodeForTie: true) is SimpleNameSyntax name
                && name.Identifier.ValueText == method.Name
                && !IsCalled(name)
            )
                return false;
        }

        return true;
    }

    private static bool IsCalled(SimpleNameSyntax name) =>
        (name.Parent is MemberAccessExpressionSyntax access && access.Name == name ? access : (SyntaxNode)name).Parent
        is InvocationExpressionSyntax;

    /// <summary>How the function becomes one that can await; null where that cannot be, or would change an override.</summary>
    private static Func<SyntaxNode, SyntaxNode>? Asynchronous(SyntaxNode function, SemanticModel model)
    {
        var async = SyntaxFactory.Token(SyntaxKind.AsyncKeyword).WithTrailingTrivia(SyntaxFactory.Space);
        switch (function)
        {
            case AnonymousFunctionExpressionSyntax { AsyncKeyword.RawKind: not 0 }:
            case MethodDeclarationSyntax method when method.Modifiers.Any(SyntaxKind.AsyncKeyword):
            case LocalFunctionStatementSyntax local when local.Modifiers.Any(SyntaxKind.AsyncKeyword):
                return same => same;

            // A handler of an endpoint may be of any type; where the type says `void`, nobody would await it.
            case ParenthesizedLambdaExpressionSyntax { Block: not null, ReturnType: null } lambda
                when model.GetTypeInfo(lambda).ConvertedType?.Name is "Delegate" or "MulticastDelegate"
                    && model.GetSymbolInfo(lambda).Symbol is IMethodSymbol { ReturnsVoid: true }:
                return node =>
                    ((ParenthesizedLambdaExpressionSyntax)node)
                        .WithoutLeadingTrivia()
                        .AddModifiers(async)
                        .WithLeadingTrivia(node.GetLeadingTrivia());

            case MethodDeclarationSyntax method
                when model.GetDeclaredSymbol(method)
                    is {
                        ReturnsVoid: true,
                        IsOverride: false,
                        IsVirtual: false,
                        ExplicitInterfaceImplementations.IsEmpty: true
                    }
                    && !method.Modifiers.Any(SyntaxKind.PartialKeyword):
                return node =>
                {
                    var changed = (MethodDeclarationSyntax)node;
                    return changed.WithReturnType(TaskType(changed.ReturnType)).AddModifiers(async);
                };

            case LocalFunctionStatementSyntax local
                when model.GetDeclaredSymbol(local) is IMethodSymbol { ReturnsVoid: true }:
                return node =>
                {
                    var changed = (LocalFunctionStatementSyntax)node;
                    var leading = changed.GetLeadingTrivia();
                    return changed
                        .WithoutLeadingTrivia()
                        .WithReturnType(TaskType(changed.WithoutLeadingTrivia().ReturnType))
                        .AddModifiers(async)
                        .WithLeadingTrivia(leading);
                };

            default:
                return null;
        }
    }

    private static TypeSyntax TaskType(TypeSyntax instead) =>
        SyntaxFactory
            .ParseTypeName("global::System.Threading.Tasks.Task")
            .WithTriviaFrom(instead)
            .WithAdditionalAnnotations(Simplifier.Annotation);
}
