namespace Session.Stores;

/// <summary>The checks of settings that several stores have.</summary>
internal static class OptionChecks
{
    /// <summary>Throws an <see cref="ArgumentException"/> with this sentence if the setting is wrong.</summary>
    public static void Require(bool isRight, string sentence)
    {
        if (!isRight)
            throw new ArgumentException(sentence);
    }

    /// <param name="timeout">The setting.</param>
    /// <param name="options">The name of the class that has it, for the sentence.</param>
    public static void RequireOperationTimeout(TimeSpan timeout, string options) =>
        Require(
            timeout > TimeSpan.Zero && timeout <= TimeSpan.FromMinutes(10),
            $"{options}.OperationTimeout must be more than zero and at most ten minutes."
        );
}
