using System.Diagnostics.CodeAnalysis;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authentication.Cookies;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;

namespace Session.CSharp;

/// <summary>Which schemes keep tickets, which ones a request is passed on to, and which ones are steps on the way to a sign-in.</summary>
internal sealed class TicketSchemes(IServiceProvider services)
{
    // Steps, and a browser that a second factor need not be asked of: nobody is signed in by them.
    private static readonly string[] OfNobody =
    [
        "Identity.External",
        "Identity.TwoFactorUserId",
        "Identity.TwoFactorRememberMe",
    ];

    // Who passes requests on in a circle is refused by the framework, when it comes to that.
    private const int MostForwards = 16;

    public static bool IsCookie(AuthenticationScheme scheme) =>
        typeof(CookieAuthenticationHandler).IsAssignableFrom(scheme.HandlerType);

    /// <summary>The store of a cookie scheme's tickets. Options there are under every name, so that they tell nothing of a scheme.</summary>
    public async Task<TicketStore?> StoreOfAsync(string? scheme) =>
        await FindAsync(scheme).ConfigureAwait(false) is { } found && IsCookie(found)
            ? Options<CookieAuthenticationOptions>(found).SessionStore as TicketStore
            : null;

    /// <summary>The scheme that is asked in the end who the user is, and whether another request might be passed on to another one.</summary>
    public Task<(AuthenticationScheme? Scheme, bool IsChosen)> AuthenticatingAsync(
        HttpContext context,
        string scheme
    ) => FollowAsync(context, scheme, it => it.ForwardAuthenticate);

    /// <summary>
    /// Whether tickets of a cookie scheme sign nobody in here: an identity provider's handler puts its answer there, from which the
    /// application makes a sign-in. Of a scheme that lets users in they are the users', whoever has signed them in.
    /// </summary>
    public async Task<bool> IsStepAsync(string scheme, HttpContext? context)
    {
        if (OfNobody.Contains(scheme, StringComparer.Ordinal))
            return true;

        // The application's own call, of which nobody can tell.
        if (context is null || !await HasProviderAsync(context, scheme).ConfigureAwait(false))
            return false;

        var byDefault = await Schemes.GetDefaultAuthenticateSchemeAsync().ConfigureAwait(false);
        if (byDefault is null)
            return false;

        var (user, _) = await AuthenticatingAsync(context, byDefault.Name).ConfigureAwait(false);
        // A token's request says nothing of the cookie that others would be passed on to.
        var isOther = user is not null && user.Name != scheme && (user == byDefault || IsCookie(user));
        return isOther && !await LetsInAsync(context, scheme).ConfigureAwait(false);
    }

    /// <summary>Whether an identity provider's handler signs in to it.</summary>
    private async Task<bool> HasProviderAsync(HttpContext context, string scheme)
    {
        foreach (var provider in await Schemes.GetAllSchemesAsync().ConfigureAwait(false))
        {
            if (RemoteOptionsOf(provider)?.SignInScheme is not { } signIn)
                continue;

            var (target, _) = await FollowAsync(context, signIn, it => it.ForwardSignIn).ConfigureAwait(false);
            if (target?.Name == scheme)
                return true;
        }

        return false;
    }

    /// <summary>Whether an endpoint or a policy names it as one that lets users in.</summary>
    private async Task<bool> LetsInAsync(HttpContext context, string scheme)
    {
        var named = new HashSet<string>(StringComparer.Ordinal);
        var policies = context.RequestServices.GetService<IAuthorizationPolicyProvider>();
        if (policies is not null)
        {
            named.UnionWith((await policies.GetDefaultPolicyAsync().ConfigureAwait(false)).AuthenticationSchemes);
            if (await policies.GetFallbackPolicyAsync().ConfigureAwait(false) is { } fallback)
                named.UnionWith(fallback.AuthenticationSchemes);
        }

        foreach (var endpoint in services.GetService<EndpointDataSource>()?.Endpoints ?? [])
        {
            foreach (var policy in endpoint.Metadata.GetOrderedMetadata<AuthorizationPolicy>())
                named.UnionWith(policy.AuthenticationSchemes);

            foreach (var data in endpoint.Metadata.GetOrderedMetadata<IAuthorizeData>())
            {
                if (data.AuthenticationSchemes is { } schemes)
                    named.UnionWith(
                        schemes.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries)
                    );

                if (
                    policies is not null
                    && data.Policy is { Length: > 0 } name
                    && await policies.GetPolicyAsync(name).ConfigureAwait(false) is { } policy
                )
                    named.UnionWith(policy.AuthenticationSchemes);
            }
        }

        foreach (var name in named)
        {
            var (target, _) = await AuthenticatingAsync(context, name).ConfigureAwait(false);
            if (target?.Name == scheme)
                return true;
        }

        return false;
    }

    private IAuthenticationSchemeProvider Schemes => services.GetRequiredService<IAuthenticationSchemeProvider>();

    private Task<AuthenticationScheme?> FindAsync(string? scheme) =>
        scheme is null ? Task.FromResult<AuthenticationScheme?>(null) : Schemes.GetSchemeAsync(scheme);

    private TOptions Options<
        [DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicParameterlessConstructor)] TOptions
    >(AuthenticationScheme scheme)
        where TOptions : class => services.GetRequiredService<IOptionsMonitor<TOptions>>().Get(scheme.Name);

    /// <summary>As the framework's handlers do it. Null: there is no such scheme.</summary>
    private async Task<(AuthenticationScheme? Scheme, bool IsChosen)> FollowAsync(
        HttpContext context,
        string name,
        Func<AuthenticationSchemeOptions, string?> forward
    )
    {
        var isChosen = false;
        for (var i = 0; i < MostForwards; i++)
        {
            if (await FindAsync(name).ConfigureAwait(false) is not { } scheme)
                break;

            string? next = null;
            // Identity's endpoints: its handler asks for a token first, and for the cookie then.
            if (name == "Identity.BearerAndApplication")
                (next, isChosen) = ("Identity.Application", true);
            else if (ForwardsOf(scheme) is { } options)
            {
                next = forward(options);
                if (next is null && options.ForwardDefaultSelector is { } select)
                    (next, isChosen) = (select(context), true);

                next ??= options.ForwardDefault;
            }

            if (next is null || next == name)
                return (scheme, isChosen);

            name = next;
        }

        return (null, isChosen);
    }

    private AuthenticationSchemeOptions? ForwardsOf(AuthenticationScheme scheme) =>
        IsCookie(scheme) ? Options<CookieAuthenticationOptions>(scheme)
        : typeof(PolicySchemeHandler).IsAssignableFrom(scheme.HandlerType) ? Options<PolicySchemeOptions>(scheme)
        : null;

    [UnconditionalSuppressMessage("Trimming", "IL2055", Justification = Why)]
    [UnconditionalSuppressMessage("Trimming", "IL2071", Justification = Why)]
    [UnconditionalSuppressMessage("Trimming", "IL2072", Justification = Why)]
    [UnconditionalSuppressMessage("AOT", "IL3050", Justification = Why)]
    private RemoteAuthenticationOptions? RemoteOptionsOf(AuthenticationScheme scheme)
    {
        for (Type? type = scheme.HandlerType; type is not null; type = type.BaseType)
        {
            if (!type.IsGenericType || type.GetGenericTypeDefinition() != typeof(RemoteAuthenticationHandler<>))
                continue;

            var options = type.GetGenericArguments()[0];
            var reader =
                options == typeof(RemoteAuthenticationOptions)
                    ? new Remote<RemoteAuthenticationOptions>()
                    : (IRemote)Activator.CreateInstance(typeof(Remote<>).MakeGenericType(options))!;
            return reader.OptionsOf(services, scheme.Name);
        }

        return null;
    }

    private const string Why =
        "The handler of the scheme has the same options of the container; they are a class, whose code is that of the one named here.";

    private interface IRemote
    {
        RemoteAuthenticationOptions OptionsOf(IServiceProvider services, string scheme);
    }

    private sealed class Remote<
        [DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicParameterlessConstructor)] TOptions
    > : IRemote
        where TOptions : RemoteAuthenticationOptions, new()
    {
        public RemoteAuthenticationOptions OptionsOf(IServiceProvider services, string scheme) =>
            services.GetRequiredService<IOptionsMonitor<TOptions>>().Get(scheme);
    }
}
