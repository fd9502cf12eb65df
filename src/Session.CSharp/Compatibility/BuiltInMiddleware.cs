using Microsoft.AspNetCore.Session;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;

namespace Session.CSharp;

/// <summary>
/// The framework's session middleware asks for its store when the pipeline is built: that is where both in one application meet, at
/// start. Two of them would answer to <c>HttpContext.Session</c>, each with half of the data.
/// </summary>
internal static class BuiltInMiddleware
{
    public static void Refuse(IServiceCollection services)
    {
        services.RemoveAll<ISessionStore>();
        services.AddTransient<ISessionStore>(static _ =>
            throw new InvalidOperationException(
                "app.UseSession() is the framework's session, and services.AddSessionCompatibility() puts another one in its place: call app.UseSessionCompatibility() instead of app.UseSession()."
            )
        );
    }
}
