using System.Reflection;
using Microsoft.CodeAnalysis;

namespace Session.Analyzers;

/// <summary>What is found, and what is said of it.</summary>
internal static class Rules
{
    public const string SideEffectId = "SESSION001";
    public const string NotAwaitedId = "SESSION002";
    public const string MutableDataId = "SESSION003";
    public const string WriteOnGetId = "SESSION004";

    public static readonly DiagnosticDescriptor SideEffect = new(
        SideEffectId,
        "An update has a side effect",
        "{0} happens again when another request's write came first, because the update is called again: do it before or after UpdateAsync",
        "Session",
        DiagnosticSeverity.Warning,
        isEnabledByDefault: true,
        description: "UpdateAsync calls its function on the stored data, and again on the fresh data when another write came first. What it does besides making the new data happens twice then.",
        helpLinkUri: Help(SideEffectId)
    );

    public static readonly DiagnosticDescriptor NotAwaited = new(
        NotAwaitedId,
        "The result of a session call is not awaited",
        "The result of '{0}' is not awaited: the response may start before anything is stored, and an error is lost",
        "Session",
        DiagnosticSeverity.Warning,
        isEnabledByDefault: true,
        description: "The cookie belongs to the response's head, and whether the store took the change is only known when the call has returned.",
        helpLinkUri: Help(NotAwaitedId)
    );

    public static readonly DiagnosticDescriptor ChangedInPlace = new(
        MutableDataId,
        "Session data is changed in place",
        "A change of '{0}' in place is not stored: return the new data from UpdateAsync",
        "Session",
        DiagnosticSeverity.Warning,
        isEnabledByDefault: true,
        description: "The data of a request is a copy of what is stored. Only UpdateAsync and SaveAsync store it.",
        helpLinkUri: Help(MutableDataId)
    );

    public static readonly DiagnosticDescriptor MutableData = new(
        MutableDataId,
        "Session data can be changed in place",
        "'{0}' can be changed in place, and such a change is not stored: {1}",
        "Session",
        DiagnosticSeverity.Info,
        isEnabledByDefault: true,
        description: "Data that cannot be changed in place, such as a record with init properties and immutable collections, leaves UpdateAsync as the one way.",
        helpLinkUri: Help(MutableDataId)
    );

    public static readonly DiagnosticDescriptor WriteOnGet = new(
        WriteOnGetId,
        "A session is changed by a GET",
        "'{0}' in a handler of GET: a link, an image or a browser that loads ahead can send it, so use POST",
        "Session",
        DiagnosticSeverity.Warning,
        isEnabledByDefault: true,
        description: "GET changes nothing by its meaning (RFC 9110 9.2.1): other sites may send it along with the cookie, and no antiforgery token is asked for.",
        helpLinkUri: Help(WriteOnGetId)
    );

    /// <summary>Where the project lives is known to whoever packs.</summary>
    private static string Help(string id)
    {
        var url = typeof(Rules)
            .Assembly.GetCustomAttributes<AssemblyMetadataAttribute>()
            .FirstOrDefault(it => it.Key == "ProjectUrl")
            ?.Value;
        return string.IsNullOrEmpty(url) ? "" : $"{url}/blob/HEAD/docs/ANALYZERS.md#{id.ToLowerInvariant()}";
    }
}
