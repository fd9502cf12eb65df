using System.Text.Json;
using Microsoft.AspNetCore.Http;
using Microsoft.FSharp.Core;
using Session.AspNetCore;
using Session.Engine;

namespace Session.OpenIdConnect;

/// <summary>Ends what the provider says is over. 200 once no node opens it; else 400, which tells the provider that somebody may still be signed in.</summary>
internal sealed class BackChannelLogoutEndpoint<T>(BackChannelLogoutOptions options)
{
    private readonly Lock _gate = new();
    private LogoutTokens? _tokens;

    public async Task HandleAsync(HttpContext context)
    {
        var service = SessionServiceOf.services<T>(context.RequestServices);
        context.Response.Headers.CacheControl = "no-store";
        context.Response.Headers.Pragma = "no-cache";
        var (text, refusal) = await BackChannelLogoutRequest.ReadAsync(context).ConfigureAwait(false);
        if (text is null)
        {
            await RefuseAsync(context, service, refusal).ConfigureAwait(false);
            return;
        }

        LogoutToken token;
        try
        {
            token = await TokensOf(service).ReadAsync(text, context.RequestAborted).ConfigureAwait(false);
        }
        catch (ProviderUnreachableException error)
        {
            await FailAsync(context, service, error, error.Message).ConfigureAwait(false);
            return;
        }

        if (token.Refusal is { } reason)
            await RefuseAsync(context, service, reason).ConfigureAwait(false);
        else
            await EndAsync(context, service, token).ConfigureAwait(false);
    }

    private LogoutTokens TokensOf(SessionService<T> service)
    {
        lock (_gate)
            return _tokens ??= new LogoutTokens(options, new ProviderKeys(options, service.Clock), service.Clock);
    }

    /// <summary>Not given up when the provider hangs up: half a logout helps nobody.</summary>
    private async Task EndAsync(HttpContext context, SessionService<T> service, LogoutToken token)
    {
        var logout = new ExternalLogout(
            token.Issuer,
            Maybe(token.SessionId),
            Maybe(token.Subject),
            token.Id,
            service.Clock.GetUtcNow() + options.MaxTokenAge + 2 * options.ClockSkew
        );
        FSharpResult<LogoutReply, SessionError> answer;
        try
        {
            answer = await service.Engine.EndExternal(logout).ConfigureAwait(false);
        }
        catch (NotSupportedException error)
        {
            await FailAsync(
                    context,
                    service,
                    error,
                    "the session store cannot list sessions, so no logout finds any: choose one that can"
                )
                .ConfigureAwait(false);
            return;
        }

        if (answer.IsError)
            await FailAsync(
                    context,
                    service,
                    SessionFailure.cause(answer.ErrorValue),
                    "the session store did not take all of it"
                )
                .ConfigureAwait(false);
        else if (answer.ResultValue is LogoutReply.Ended ended)
        {
            LogoutLog.finished(service.Log, ended.Item);
            context.Response.StatusCode = StatusCodes.Status200OK;
        }
        else
            await RefuseAsync(context, service, "the token has been used before (jti)").ConfigureAwait(false);
    }

    private static FSharpOption<string>? Maybe(string? text) => text is null ? null : FSharpOption<string>.Some(text);

    private static Task RefuseAsync(HttpContext context, SessionService<T> service, string reason)
    {
        LogoutLog.refused(service.Log, reason);
        return AnswerAsync(context, "invalid_request", reason);
    }

    private static Task FailAsync(HttpContext context, SessionService<T> service, Exception? error, string reason)
    {
        LogoutLog.failed(service.Log, error, reason);
        return AnswerAsync(context, "temporarily_unavailable", reason);
    }

    /// <summary>A logout that failed is a 400 as well, by the specification (2.8).</summary>
    private static Task AnswerAsync(HttpContext context, string error, string description)
    {
        context.Response.StatusCode = StatusCodes.Status400BadRequest;
        context.Response.ContentType = "application/json";
        using var body = new MemoryStream();
        using (var json = new Utf8JsonWriter(body))
        {
            json.WriteStartObject();
            json.WriteString("error", error);
            json.WriteString("error_description", description);
            json.WriteEndObject();
        }

        return context.Response.Body.WriteAsync(body.ToArray(), CancellationToken.None).AsTask();
    }
}
