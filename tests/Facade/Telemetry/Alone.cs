using Xunit;

namespace Facade.Telemetry;

/// <summary>By themselves: listeners to an activity source hear the whole process, and so do counts of allocated bytes.</summary>
[CollectionDefinition(Name, DisableParallelization = true)]
public sealed class Alone
{
    public const string Name = "alone";
}
