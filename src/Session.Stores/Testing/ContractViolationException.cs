namespace Session.Stores.Testing;

/// <summary>A store does not keep its contract. The message tells what was done, what was expected and how to replay it.</summary>
public sealed class ContractViolationException : Exception
{
    internal ContractViolationException(string message, Exception? cause = null)
        : base(message, cause) { }
}
