namespace Session.Stores.Testing;

/// <summary>One test of the contract: a name, the sentence of the port that it proves, and what to run.</summary>
public sealed class ContractTest
{
    private readonly Func<CancellationToken, Task> _run;

    internal ContractTest(string name, string sentence, Func<CancellationToken, Task> run) =>
        (Name, Sentence, _run) = (name, sentence, run);

    /// <summary>What is tried.</summary>
    public string Name { get; }

    /// <summary>The sentence of <c>ISessionStore</c> that has to hold.</summary>
    public string Sentence { get; }

    /// <summary>Runs it, on a place of its own.</summary>
    /// <exception cref="ContractViolationException">The store does not keep the sentence; the message tells the story and how to replay it.</exception>
    public Task RunAsync(CancellationToken cancellationToken = default) => _run(cancellationToken);

    /// <summary>The name, for test runners.</summary>
    public override string ToString() => Name;
}
