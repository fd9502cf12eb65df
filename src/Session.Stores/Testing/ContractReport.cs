namespace Session.Stores.Testing;

/// <summary>What a run of the whole contract found.</summary>
/// <param name="Store">The name that the contract was given.</param>
/// <param name="Seed">The seed, to replay it.</param>
/// <param name="Commands">How many commands were compared with the model.</param>
/// <param name="Divergences">How many sequences of them got another answer than the model gives.</param>
/// <param name="Histories">How many histories were checked for linearizability.</param>
/// <param name="Violations">How many of these cannot be put in any order.</param>
/// <param name="Passed">The tests that passed.</param>
/// <param name="Failures">The tests that did not, and why.</param>
public sealed record ContractReport(
    string Store,
    int Seed,
    long Commands,
    long Divergences,
    long Histories,
    long Violations,
    IReadOnlyList<string> Passed,
    IReadOnlyDictionary<string, string> Failures
)
{
    /// <summary>The report as text.</summary>
    public override string ToString() =>
        string.Join(
            Environment.NewLine,
            Failures
                .Select(failure => $"FAILED {failure.Key}: {failure.Value}")
                .Prepend(
                    $"{Store}: {Passed.Count} passed, {Failures.Count} failed; {Commands} commands, {Divergences} divergences, {Histories} histories, {Violations} violations, seed {Seed}"
                )
        );
}
