using Microsoft.Extensions.Logging;
using Session.AspNetCore;

namespace Session.CSharp;

/// <summary>Says what becomes of sessions that the framework's middleware began.</summary>
internal sealed class FormerSessionLog(ILoggerFactory loggers)
{
    private readonly ILogger _log = loggers.CreateLogger("Session");

    public void Unreadable() => CompatibilityLog.formerUnreadable(_log);
}
