namespace Facade;

public enum Fault
{
    None,
    FailsBefore,
    FailsAfter,
    IsNotConfirmed,
    IsSilent,
}
