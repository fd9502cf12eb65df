using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Session.AspNetCore;

namespace Session.CSharp;

/// <summary>Gives each request its <c>HttpContext.Session</c>, and stores what it changed. A request that never asks for it costs no store call.</summary>
internal sealed class CompatibilityMiddleware(RequestDelegate next, CompatibilityHost host)
{
    private static readonly Func<object, Task> _atStart = static session =>
        ((CompatibleSession)session).StoreAtStartAsync();

    public Task InvokeAsync(HttpContext context)
    {
        if (context.Features.Get<ISessionFeature>() is not { } feature)
        {
            var session = new CompatibleSession(context, host);
            context.Features.Set<ISessionFeature>(session);
            // First of all, so that it runs last: others write to the session when the response starts.
            context.Response.OnStarting(_atStart, session);
            return RunAsync(context, session);
        }

        // An error page runs in the same request once more, and goes on with its session.
        if (feature is CompatibleSession known)
            return RunAsync(context, known);

        throw new InvalidOperationException(
            $"Another middleware ({feature.GetType().FullName}) has set HttpContext.Session already: remove it, or app.UseSessionCompatibility()."
        );
    }

    private async Task RunAsync(HttpContext context, CompatibleSession session)
    {
        var habit = host.Habits.Of(context.GetEndpoint());
        try
        {
            if (habit is { LoadsFirst: true })
                await session.LoadFirstAsync().ConfigureAwait(false);

            await next(context).ConfigureAwait(false);
            await session.FinishAsync().ConfigureAwait(false);
        }
        catch (Exception error) when (error is not SessionFailedException)
        {
            await session.StoreDespiteAsync().ConfigureAwait(false);
            throw;
        }
        finally
        {
            session.LetGoOfBody();
            session.Note(habit);
        }
    }
}
