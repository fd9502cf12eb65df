namespace Session.CSharp;

/// <summary>The endpoint answers 401 without a live session of this data. An anonymous one is let in, unless <see cref="RequireSessionAttribute.SignedIn"/> is set.</summary>
/// <typeparam name="T">The session data.</typeparam>
[AttributeUsage(AttributeTargets.Class | AttributeTargets.Method)]
public sealed class RequireSessionAttribute<T> : RequireSessionAttribute
    where T : class
{
    /// <inheritdoc />
    public override Type? DataType => typeof(T);
}
