using System.Diagnostics.CodeAnalysis;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.ModelBinding;
using Microsoft.AspNetCore.Mvc.ModelBinding.Metadata;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Options;
using Session.AspNetCore;
using Session.CSharp;
using Session.Engine;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Adds sessions.</summary>
public static class SessionServiceCollectionExtensions
{
    /// <summary>Adds sessions with data <typeparamref name="T"/>, serialized as JSON by reflection. Choose a store on what it returns; without one they live in memory.</summary>
    [RequiresUnreferencedCode("Serializes by reflection: pass a JsonTypeInfo<T> when trimming.")]
    [RequiresDynamicCode("Serializes by reflection: pass a JsonTypeInfo<T> for native AOT.")]
    public static SessionBuilder AddSession<T>(
        this IServiceCollection services,
        Action<SessionOptions<T>>? configure = null
    )
        where T : class
    {
        // When it is needed: what the type cannot keep stops the program with the other settings.
        return services.AddSessionWith(() => SessionSerializer.contract<T>(), configure);
    }

    /// <summary>Adds sessions with data <typeparamref name="T"/>, serialized as JSON with metadata from the source generator: safe for trimming and native AOT.</summary>
    public static SessionBuilder AddSession<T>(
        this IServiceCollection services,
        JsonTypeInfo<T> json,
        Action<SessionOptions<T>>? configure = null
    )
        where T : class
    {
        ArgumentNullException.ThrowIfNull(json);
        return services.AddSessionWith(() => json, configure);
    }

    internal static SessionBuilder AddSessionWith<T>(
        this IServiceCollection services,
        Func<JsonTypeInfo<T>> json,
        Action<SessionOptions<T>>? configure
    )
        where T : class
    {
        ArgumentNullException.ThrowIfNull(services);
        var options = services.AddOptions<SessionOptions<T>>();
        if (configure is not null)
            options.Configure(configure);

        services.TryAddSingleton<SessionManager<T>>();
        services.Configure<MvcOptions>(mvc =>
        {
            mvc.ModelBinderProviders.Insert(0, new SessionModelBinderProvider<T>());
            mvc.ModelMetadataDetailsProviders.Add(
                new BindingSourceMetadataProvider(typeof(Session<T>), BindingSource.Special)
            );
        });

        ISessionSerializer<T> Serializer(IServiceProvider provider)
        {
            var options = provider.GetRequiredService<IOptions<SessionOptions<T>>>().Value;
            return options.Serializer
                ?? new JsonSessionSerializer<T>(json(), options.DataVersion, options.UpcastersAsMap());
        }

        return SessionRegistration.add(
            provider => provider.GetRequiredService<IOptions<SessionOptions<T>>>().Value.ToSettings(),
            Serializer,
            services
        );
    }
}
