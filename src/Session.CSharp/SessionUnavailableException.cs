namespace Session.CSharp;

/// <summary>The store did not answer, did not say whether it took the change, or too many writers kept one session busy (503).</summary>
/// <remarks>The message says which, and <see cref="MayHaveChanged"/> what it means. What the store threw is the inner exception.</remarks>
public sealed class SessionUnavailableException : SessionException
{
    internal SessionUnavailableException(int statusCode, string message, Exception? inner, bool mayHaveChanged)
        : base(statusCode, message, inner) => MayHaveChanged = mayHaveChanged;

    /// <summary>False: nothing was changed. True: the change, or a part of it, is stored or may be: reload before you try again.</summary>
    public bool MayHaveChanged { get; }
}
