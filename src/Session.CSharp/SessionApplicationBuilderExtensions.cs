using Session.AspNetCore;
using Session.CSharp;

namespace Microsoft.AspNetCore.Builder;

/// <summary>Adds the session middleware.</summary>
public static class SessionApplicationBuilderExtensions
{
    /// <summary>The session middleware: after UseRouting (if the app calls it), before the endpoints. Wrong settings throw here.</summary>
    public static IApplicationBuilder UseSession<T>(this IApplicationBuilder app)
        where T : class
    {
        ArgumentNullException.ThrowIfNull(app);
        return SessionRegistration.@using<T>(app);
    }
}
