using System.Security.Cryptography;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Options;
using Session.AspNetCore;

namespace Session.CSharp;

/// <summary>What the requests of one application share: said once, and learned.</summary>
internal sealed class CompatibilityHost(
    SessionService<SessionValues> service,
    IOptions<SessionOptions<SessionValues>> options
)
{
    private int _isBlockingSaid;
    private int _isConsentSaid;

    public EndpointHabits Habits { get; } = new();

    /// <summary>Whether the application cannot do without the cookie, so that nobody need consent to it.</summary>
    public bool IsEssential { get; } = options.Value.Cookie.IsEssential;

    /// <summary>A GUID as text, as the framework's ids are; all of its bits are random.</summary>
    public static string NewId() => new Guid(RandomNumberGenerator.GetBytes(16)).ToString();

    public void NoteBlocking(HttpContext context)
    {
        if (Interlocked.Exchange(ref _isBlockingSaid, 1) == 0)
            CompatibilityLog.readInPlace(service.Log, context.Request.Path);
    }

    public void NoteNoConsent(HttpContext context)
    {
        if (Interlocked.Exchange(ref _isConsentSaid, 1) == 0)
            CompatibilityLog.noConsent(service.Log, context.Request.Path);
    }

    public void NoteNotStored(Exception failure, int status) =>
        CompatibilityLog.notStoredAtStart(service.Log, failure, status);
}
