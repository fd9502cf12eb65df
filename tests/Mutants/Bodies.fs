/// Many C# bugs in one assembly, as Lines has it for F#. Of each bug the body around it (of a method, a constructor, an operator or
/// an accessor) is there twice:
///     { if (SeededBug.Is(17)) { with the bug } else { as it was } }
/// What is outside of bodies (a constant, the initial value of a field, a signature) is compiled alone.
module Mutants.Bodies

open System
open Microsoft.CodeAnalysis
open Microsoft.CodeAnalysis.CSharp
open Microsoft.CodeAnalysis.CSharp.Syntax
open Microsoft.CodeAnalysis.Text

/// Comes before all files of the part.
let chooser (setting: string) =
    $$"""internal static class SeededBug
{
    private static int number = -1;
    internal static void read()
    {
        var chosen = System.Environment.GetEnvironmentVariable("{{setting}}");
        number = chosen is null ? 0 : int.Parse(chosen, System.Globalization.CultureInfo.InvariantCulture);
    }
    internal static bool Is(int bug)
    {
        if (number < 0) read();
        return number == bug;
    }
}
"""

/// A body, and what would stand there with the bug, each as a block.
type Choice =
    {
        Bug: int
        Span: TextSpan
        /// It stands in the place of a whole property.
        IsGetter: bool
        Before: string
        Mutated: string
    }

/// How an expression that is a body becomes a block.
type private Shape =
    | Block
    /// What is behind `=>`, of which the value is the answer.
    | Answer
    /// The same, and nobody gets a value.
    | Act
    /// The same of a property that can only be read.
    | Getter

let private isWithoutValue (modifiers: SyntaxTokenList) (answer: TypeSyntax) =
    let isAsync = modifiers |> Seq.exists (fun it -> it.IsKind SyntaxKind.AsyncKeyword)

    match string answer with
    | "void" -> true
    | "Task"
    | "ValueTask" -> isAsync
    | _ -> false

let private shapeOf (arrow: ArrowExpressionClauseSyntax) =
    match arrow.Parent with
    | :? MethodDeclarationSyntax as it when isWithoutValue it.Modifiers it.ReturnType -> Act
    | :? MethodDeclarationSyntax
    | :? OperatorDeclarationSyntax
    | :? ConversionOperatorDeclarationSyntax -> Answer
    | :? AccessorDeclarationSyntax as it when it.IsKind SyntaxKind.GetAccessorDeclaration -> Answer
    | :? PropertyDeclarationSyntax
    | :? IndexerDeclarationSyntax -> Getter
    | _ -> Act

/// The bodies of members; those of functions inside them belong to them.
let private bodiesOf (tree: SyntaxTree) : (TextSpan * Shape) list =
    [ for node in tree.GetRoot().DescendantNodes() do
          match node with
          | :? BlockSyntax as block ->
              match block.Parent with
              | :? BaseMethodDeclarationSyntax
              | :? AccessorDeclarationSyntax -> block.Span, Block
              | _ -> ()
          | :? ArrowExpressionClauseSyntax as arrow ->
              match arrow.Parent with
              | :? LocalFunctionStatementSyntax -> ()
              | null -> ()
              // With the semicolon behind it.
              | parent -> TextSpan.FromBounds(arrow.SpanStart, parent.Span.End), shapeOf arrow
          | _ -> () ]

let private blockOf shape (text: string) =
    // "=> value;"
    let value () = text.Substring(2).Trim().TrimEnd ';'

    let answer () =
        match value () with
        | thrown when thrown.StartsWith("throw ", StringComparison.Ordinal) -> thrown + ";"
        | value -> $"return {value};"

    match shape with
    | Block -> text
    | Act -> $"{{ {value ()}; }}"
    | Answer
    | Getter -> $"{{ {answer ()} }}"

let private same (a: seq<char>) (b: seq<char>) = Seq.zip a b |> Seq.takeWhile (fun (x, y) -> x = y) |> Seq.length

/// None: it has to be compiled alone.
let choiceOf (bug: int) (before: string) (mutated: string) : Choice option =
    let first = same before mutated
    let shorter = min before.Length mutated.Length
    let behind = min (same (Seq.rev before) (Seq.rev mutated)) (shorter - first)
    let last = before.Length - behind
    let grown = mutated.Length - before.Length

    // Strictly inside: neither the arrow nor a brace is part of the bug.
    let isAround (span: TextSpan, shape) =
        let inner = if shape = Block then 1 else 2
        span.Start + inner <= first && last <= span.End - 1

    bodiesOf (CSharpSyntaxTree.ParseText before)
    |> List.tryFind isAround
    |> Option.map (fun (span, shape) ->
        { Bug = bug
          Span = span
          IsGetter = (shape = Getter)
          Before = blockOf shape (before.Substring(span.Start, span.Length))
          Mutated = blockOf shape (mutated.Substring(span.Start, span.Length + grown)) })

/// A file with all these choices in it.
let write (source: string) (choices: Choice list) : string =
    let chosen (own: Choice list) =
        let bugs = [ for it in own -> $"if (SeededBug.Is({it.Bug}))\n{it.Mutated}\nelse\n" ]
        let block = "{\n" + String.Join("", bugs) + own.Head.Before + "\n}"
        if own.Head.IsGetter then $"{{ get {block} }}" else block

    choices
    |> List.groupBy _.Span
    |> List.sortByDescending (fun (span, _) -> span.Start)
    |> List.fold
        (fun (text: string) (span, own) -> text.Remove(span.Start, span.Length).Insert(span.Start, chosen own))
        source
