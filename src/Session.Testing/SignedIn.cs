using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.FSharp.Core;
using Session.AspNetCore;
using Session.Engine;

namespace Session.Testing;

/// <summary>Begins sessions on the application's own engine and store.</summary>
internal static class SignedIn
{
    /// <summary>A jar with the token of a new session that somebody has signed in to.</summary>
    public static CookieJar Begin<T>(IServiceProvider services, string subject, T data)
        where T : class
    {
        ArgumentNullException.ThrowIfNull(subject);
        ArgumentNullException.ThrowIfNull(data);
        if (!Subject.isValid(subject))
            throw new ArgumentException(
                "A subject is 1 to 1,024 bytes of UTF-8, without half of a surrogate pair.",
                nameof(subject)
            );

        var service =
            services.GetService<SessionService<T>>()
            ?? throw new InvalidOperationException(
                $"The application has no sessions of {typeof(T).Name}: it has to call AddSession<{typeof(T).Name}>()."
            );
        // Outside of the test's own context, which may have one thread only: the test waits for this.
        var token = Task.Run(() => BeginAsync(service, services, subject, data)).GetAwaiter().GetResult();
        return new CookieJar(SessionSettingsModule.cookieName(service.Settings), token, service.Clock);
    }

    private static async Task<string> BeginAsync<T>(
        SessionService<T> service,
        IServiceProvider services,
        string subject,
        T data
    )
        where T : class
    {
        var bytes = OrThrow(service.Serialize(data));
        using var scope = services.CreateScope();
        var context = new DefaultHttpContext { RequestServices = scope.ServiceProvider };
        var nextId = FuncConvert.FromFunc(() => service.Settings.GenerateId?.Value.Invoke(context) ?? Token.newId());
        var opened = await service
            .Engine.Create(nextId, FSharpOption<string>.Some(subject), bytes, CancellationToken.None)
            .ConfigureAwait(false);
        return OrThrow(opened).Issued!.Value.Reveal();
    }

    private static TValue OrThrow<TValue>(FSharpResult<TValue, SessionError> result) =>
        result.IsOk ? result.ResultValue : throw SessionFailure.toException(result.ErrorValue);
}
