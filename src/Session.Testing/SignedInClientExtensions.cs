using System.Reflection;
using System.Runtime.ExceptionServices;
using Microsoft.AspNetCore.Mvc.Testing.Handlers;
using Session.AspNetCore;
using Session.Testing;

namespace Microsoft.AspNetCore.Mvc.Testing;

/// <summary>Clients of an application under test that somebody has signed in with already.</summary>
/// <remarks>
/// The session is a real one, begun on the application's own engine and store: its events are told, its limits count, and
/// what follows (renewals, sign-outs, timeouts) is as in production. The client keeps its cookies as a browser on HTTPS would,
/// over the plain HTTP of the factory's default address, too.
/// </remarks>
public static class SignedInClientExtensions
{
    /// <summary>A client that <paramref name="subject"/> has signed in with: <c>factory.CreateSignedInClient("ada", new Cart(["tea"]))</c>.</summary>
    /// <param name="factory">The application. Its <c>ClientOptions</c> say the address and whether redirects are followed.</param>
    /// <param name="subject">Whose session it is.</param>
    /// <param name="data">The session's data at the beginning.</param>
    /// <typeparam name="TProgram">The application's entry point.</typeparam>
    /// <typeparam name="T">The session data.</typeparam>
    /// <exception cref="ArgumentException">No session can be of this subject.</exception>
    /// <exception cref="InvalidOperationException">The application has no sessions of this data.</exception>
    /// <exception cref="SessionFailedException">The store did not take the session, or a limit refuses it.</exception>
    public static HttpClient CreateSignedInClient<TProgram, T>(
        this WebApplicationFactory<TProgram> factory,
        string subject,
        T data
    )
        where TProgram : class
        where T : class
    {
        ArgumentNullException.ThrowIfNull(factory);
        // Starts the application, which may change the address of its clients.
        var jar = SignedIn.Begin(factory.Services, subject, data);
        var options = factory.ClientOptions;
        return options.AllowAutoRedirect
            ? factory.CreateDefaultClient(
                options.BaseAddress,
                new RedirectHandler(options.MaxAutomaticRedirections),
                jar
            )
            : factory.CreateDefaultClient(options.BaseAddress, jar);
    }

    /// <summary>The same with the type of the data alone: <c>factory.CreateSignedInClient&lt;Cart&gt;("ada", new Cart(["tea"]))</c>.</summary>
    /// <remarks>C# takes all of a method's type arguments or none: this is for who names that of the data.</remarks>
    /// <param name="factory">A <see cref="WebApplicationFactory{TEntryPoint}"/>.</param>
    /// <param name="subject">Whose session it is.</param>
    /// <param name="data">The session's data at the beginning.</param>
    /// <typeparam name="T">The session data.</typeparam>
    /// <exception cref="ArgumentException">No session can be of this subject; or this is no <see cref="WebApplicationFactory{TEntryPoint}"/>.</exception>
    /// <exception cref="InvalidOperationException">The application has no sessions of this data.</exception>
    /// <exception cref="SessionFailedException">The store did not take the session, or a limit refuses it.</exception>
    public static HttpClient CreateSignedInClient<T>(this IAsyncDisposable factory, string subject, T data)
        where T : class
    {
        ArgumentNullException.ThrowIfNull(factory);
        var type = factory.GetType();
        while (type is not null && !IsFactory(type))
            type = type.BaseType;

        if (type is null)
            throw new ArgumentException(
                $"{factory.GetType().Name} is no WebApplicationFactory: for a TestServer call it on the server.",
                nameof(factory)
            );

        var create = new Func<WebApplicationFactory<object>, string, T, HttpClient>(
            CreateSignedInClient<object, T>
        ).Method.GetGenericMethodDefinition();
        try
        {
            return (HttpClient)
                create
                    .MakeGenericMethod(type.GetGenericArguments()[0], typeof(T))
                    .Invoke(null, [factory, subject, data])!;
        }
        catch (TargetInvocationException error) when (error.InnerException is { } cause)
        {
            ExceptionDispatchInfo.Throw(cause);
            throw;
        }
    }

    private static bool IsFactory(Type type) =>
        type.IsGenericType && type.GetGenericTypeDefinition() == typeof(WebApplicationFactory<>);
}
