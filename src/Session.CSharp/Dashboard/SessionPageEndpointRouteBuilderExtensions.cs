using System.Diagnostics.CodeAnalysis;
using Microsoft.AspNetCore.Routing;
using Microsoft.FSharp.Core;
using Session.AspNetCore;
using Session.CSharp;
using Face = Session.AspNetCore.Session;

namespace Microsoft.AspNetCore.Builder;

/// <summary>Pages of the library's own: made on the server, without script, with nothing from elsewhere.</summary>
public static class SessionPageEndpointRouteBuilderExtensions
{
    /// <summary>A page on which whoever has signed in sees on which devices that is so, and ends one of these sessions or all others.</summary>
    /// <remarks>Nobody else's session can be seen or ended there. Where nobody is signed in it answers 401, or with the challenge of the endpoint's authentication scheme. Two commands to the store for each 50 sessions.</remarks>
    /// <typeparam name="T">The session data.</typeparam>
    /// <param name="endpoints">Where it is mapped.</param>
    /// <param name="pattern">Its route, such as <c>/account/sessions</c>.</param>
    /// <param name="configure">What the page says.</param>
    /// <exception cref="InvalidOperationException">The application has no antiforgery: call <c>services.AddAntiforgery()</c>.</exception>
    public static IEndpointConventionBuilder MapMySessions<T>(
        this IEndpointRouteBuilder endpoints,
        [StringSyntax("Route")] string pattern,
        Action<MySessionsOptions<T>>? configure = null
    )
        where T : class
    {
        ArgumentNullException.ThrowIfNull(endpoints);
        ArgumentNullException.ThrowIfNull(pattern);
        var options = new MySessionsOptions<T>();
        configure?.Invoke(options);
        var settings = new MySessionsSettings<T>(options.Title, Describing(options.Describe));
        var set = FuncConvert.FromFunc((MySessionsSettings<T> _) => settings);
        return MySessions.map(pattern, set, endpoints);
    }

    /// <summary>A dashboard for operators: how many sessions live, what happened lately, a session's life, the store and the settings; it ends one session, or all of a subject.</summary>
    /// <remarks>
    /// Say who may see it: <c>app.MapSessionDashboard&lt;Cart&gt;("/sessions").RequireAuthorization("Operators")</c>. Without a
    /// policy or roles the application does not start, but in Development. It shows no token, and data only as
    /// <see cref="SessionDashboardOptions{T}.ShowData"/> says. No page looks through the store.
    /// </remarks>
    /// <typeparam name="T">The session data.</typeparam>
    /// <param name="endpoints">Where it is mapped.</param>
    /// <param name="pattern">Its route, such as <c>/sessions</c>.</param>
    /// <param name="configure">What it shows besides.</param>
    /// <exception cref="InvalidOperationException">The application has no antiforgery: call <c>services.AddAntiforgery()</c>.</exception>
    public static IEndpointConventionBuilder MapSessionDashboard<T>(
        this IEndpointRouteBuilder endpoints,
        [StringSyntax("Route")] string pattern,
        Action<SessionDashboardOptions<T>>? configure = null
    )
        where T : class
    {
        ArgumentNullException.ThrowIfNull(endpoints);
        ArgumentNullException.ThrowIfNull(pattern);
        var options = new SessionDashboardOptions<T>();
        configure?.Invoke(options);
        var data = options.ShowData is { } show
            ? FSharpOption<FSharpFunc<T, string>>.Some(FuncConvert.FromFunc(show))
            : null;
        var settings = new DashboardSettings<T>(options.Title, data, options.AlwaysCount);
        var set = FuncConvert.FromFunc((DashboardSettings<T> _) => settings);
        return SessionDashboard.map(pattern, set, endpoints);
    }

    private static FSharpFunc<Face.Info, FSharpFunc<FSharpOption<T>?, FSharpOption<string>?>> Describing<T>(
        Func<SessionInfo, T?, string?>? describe
    )
        where T : class
    {
        FSharpOption<string>? Describe(Face.Info info, FSharpOption<T>? data) =>
            describe?.Invoke(SessionPages.ToInfo(info), data?.Value) is { } said
                ? FSharpOption<string>.Some(said)
                : null;

        return FuncConvert.FromFunc<Face.Info, FSharpOption<T>?, FSharpOption<string>?>(Describe);
    }
}
