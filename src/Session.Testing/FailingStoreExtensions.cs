using Microsoft.Extensions.DependencyInjection.Extensions;
using Session.Engine;
using Session.Testing;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Puts a <see cref="FailingStore"/> around the store of an application under test.</summary>
public static class FailingStoreExtensions
{
    /// <summary>The sessions of <typeparamref name="T"/> stay in the store that the application has chosen, which fails when a test says so. For <c>ConfigureTestServices</c>.</summary>
    /// <typeparam name="T">The session data.</typeparam>
    public static IServiceCollection UseFailingStore<T>(this IServiceCollection services)
        where T : class
    {
        ArgumentNullException.ThrowIfNull(services);
        var chosen = services.LastOrDefault(it =>
            it.IsKeyedService && it.ServiceType == typeof(ISessionStore) && typeof(T).Equals(it.ServiceKey)
        );
        // A service of its own: the container disposes of what it has made.
        var key = new object();
        services.Add(
            chosen switch
            {
                null => ServiceDescriptor.KeyedSingleton<ISessionStore>(key, (_, _) => new MemoryStore()),
                { KeyedImplementationInstance: { } store } => new(typeof(ISessionStore), key, store),
                { KeyedImplementationType: { } type } => new(typeof(ISessionStore), key, type, chosen.Lifetime),
                _ => new(
                    typeof(ISessionStore),
                    key,
                    (provider, _) => chosen.KeyedImplementationFactory!(provider, typeof(T)),
                    chosen.Lifetime
                ),
            }
        );
        services.RemoveAllKeyed<ISessionStore>(typeof(T));
        services.AddKeyedSingleton<ISessionStore>(
            typeof(T),
            (provider, _) => new FailingStore(provider.GetRequiredKeyedService<ISessionStore>(key))
        );
        return services;
    }

    /// <summary>The store of the sessions of <typeparamref name="T"/>, to have it fail.</summary>
    /// <typeparam name="T">The session data.</typeparam>
    /// <exception cref="InvalidOperationException">The application was not set up with <see cref="UseFailingStore{T}"/>.</exception>
    public static FailingStore GetFailingStore<T>(this IServiceProvider services)
        where T : class =>
        services.GetKeyedService<ISessionStore>(typeof(T)) as FailingStore
        ?? throw new InvalidOperationException(
            $"The store of the sessions of {typeof(T).Name} does not fail on demand: call services.UseFailingStore<{typeof(T).Name}>() in ConfigureTestServices."
        );
}
