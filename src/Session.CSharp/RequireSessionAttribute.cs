using Session.AspNetCore;

namespace Session.CSharp;

/// <summary>The endpoint answers 401 without a live session (of every kind of data that the application uses).</summary>
[AttributeUsage(AttributeTargets.Class | AttributeTargets.Method)]
public class RequireSessionAttribute : Attribute, IRequireSessionMetadata
{
    /// <summary>Which sessions: null for all.</summary>
    public virtual Type? DataType => null;
}
