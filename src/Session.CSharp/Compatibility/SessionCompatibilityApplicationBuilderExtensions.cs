using Microsoft.Extensions.DependencyInjection;
using Session.CSharp;

namespace Microsoft.AspNetCore.Builder;

/// <summary>Adds the middleware of <c>HttpContext.Session</c> on this engine.</summary>
public static class SessionCompatibilityApplicationBuilderExtensions
{
    /// <summary><c>HttpContext.Session</c> on this engine: in place of <c>app.UseSession()</c>, in the same place. Wrong settings throw here.</summary>
    /// <exception cref="InvalidOperationException"><c>services.AddSessionCompatibility()</c> was not called.</exception>
    public static IApplicationBuilder UseSessionCompatibility(this IApplicationBuilder app)
    {
        ArgumentNullException.ThrowIfNull(app);
        if (app.ApplicationServices.GetService<CompatibilityHost>() is not { } host)
            throw new InvalidOperationException(
                "No sessions are registered for HttpContext.Session: call services.AddSessionCompatibility() in place of services.AddSession()."
            );

        app.UseSession<SessionValues>();
        return app.Use(next => new CompatibilityMiddleware(next, host).InvokeAsync);
    }
}
