using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Diagnostics;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Session.AspNetCore;

namespace Session.CSharp;

/// <summary>
/// A ticket is read by the framework's middlewares, where no middleware of ours is around it. What fails there is answered as
/// everywhere (503 when the store is down): by the application's error handling where there is any, else around the pipeline.
/// </summary>
internal sealed class TicketFailures : IStartupFilter, IExceptionHandler, IDeveloperPageExceptionFilter
{
    public Action<IApplicationBuilder> Configure(Action<IApplicationBuilder> next) =>
        app =>
        {
            app.Use(
                async (context, rest) =>
                {
                    try
                    {
                        await rest(context).ConfigureAwait(false);
                    }
                    catch (SessionFailedException failure) when (!context.Response.HasStarted)
                    {
                        await AnswerAsync(context, failure).ConfigureAwait(false);
                    }
                }
            );
            next(app);
        };

    public async ValueTask<bool> TryHandleAsync(
        HttpContext httpContext,
        Exception exception,
        CancellationToken cancellationToken
    )
    {
        if (exception is not SessionFailedException failure || httpContext.Response.HasStarted)
            return false;

        await AnswerAsync(httpContext, failure).ConfigureAwait(false);
        return true;
    }

    public Task HandleExceptionAsync(ErrorContext errorContext, Func<ErrorContext, Task> next) =>
        errorContext.Exception is SessionFailedException failure && !errorContext.HttpContext.Response.HasStarted
            ? AnswerAsync(errorContext.HttpContext, failure)
            : next(errorContext);

    private static Task AnswerAsync(HttpContext context, SessionFailedException failure) =>
        Answers.write(context, failure.StatusCode, failure.Message);
}
