using System.Security.Claims;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Http;
using Microsoft.FSharp.Core;
using Session.AspNetCore;

namespace Session.CSharp;

/// <summary>The session as an authentication scheme: who its user is, and where people are sent.</summary>
/// <typeparam name="T">The session data.</typeparam>
public sealed class SessionAuthenticationOptions<T> : AuthenticationSchemeOptions
    where T : class
{
    /// <summary>What is claimed of a subject with this data: its roles, say. Default: nothing more than who it is.</summary>
    /// <remarks>
    /// A pure function: it is called for each request that asks for its user. The subject is the name identifier and the name,
    /// unless the function gives claims of these types.
    /// </remarks>
    public Func<string, T, IEnumerable<Claim>>? Claims { get; set; }

    /// <summary>
    /// The data of a session to which a principal signs in through the scheme (<c>HttpContext.SignInAsync</c>,
    /// <c>Results.SignIn</c>, an identity provider). Default: the data that is there; without any the sign-in throws.
    /// </summary>
    /// <remarks>
    /// From the principal, and the data that is there: null of a new session, and of one that was another subject's. Claims that
    /// are to be there at the next request belong into the data, and <see cref="Claims"/> gives them back.
    /// </remarks>
    public Func<ClaimsPrincipal, T?, T>? Data { get; set; }

    /// <summary>Where somebody who has to sign in is sent to. Default none: 401.</summary>
    /// <remarks>
    /// Programs get a 401 in any case, as with the framework's cookies: endpoints with <c>IDisableCookieRedirectMetadata</c>
    /// (API controllers, JSON, hubs), requests with <c>X-Requested-With: XMLHttpRequest</c>, and gRPC.
    /// </remarks>
    public PathString LoginPath { get; set; }

    /// <summary>Where somebody is sent to who is signed in and may not. Default none: 403. Programs get a 403 in any case.</summary>
    public PathString AccessDeniedPath { get; set; }

    /// <summary>The query parameter that tells the login page where to go after the sign-in. Default <c>ReturnUrl</c>.</summary>
    /// <remarks>A sign-in through the scheme on <see cref="LoginPath"/> goes there by itself, if it is a path of this site.</remarks>
    public string ReturnUrlParameter { get; set; } = SessionScheme.defaults<T>().ReturnUrlParameter;

    internal SessionScheme<T> ToScheme(string name)
    {
        var defaults = SessionScheme.defaults<T>();
        static FSharpOption<string>? Path(PathString path) =>
            path.Value is { Length: > 0 } said ? FSharpOption<string>.Some(said) : null;

        return new SessionScheme<T>(
            name,
            Claims is { } claims
                ? FuncConvert.FromFunc((string subject, T data) => claims(subject, data) ?? [])
                : defaults.Claims,
            Data is { } data
                ? FuncConvert.FromFunc(
                    (ClaimsPrincipal user, FSharpOption<T>? current) =>
                        data(user, current?.Value) is { } next ? FSharpOption<T>.Some(next) : null
                )
                : defaults.Data,
            Path(LoginPath),
            Path(AccessDeniedPath),
            ReturnUrlParameter,
            FuncConvert.FromAction<AuthenticationSchemeOptions>(CopyTo)
        );
    }

    /// <summary>What every scheme has.</summary>
    private void CopyTo(AuthenticationSchemeOptions other)
    {
        other.ClaimsIssuer = ClaimsIssuer;
        other.Events = Events;
        other.EventsType = EventsType;
        other.ForwardDefault = ForwardDefault;
        other.ForwardDefaultSelector = ForwardDefaultSelector;
        other.ForwardAuthenticate = ForwardAuthenticate;
        other.ForwardChallenge = ForwardChallenge;
        other.ForwardForbid = ForwardForbid;
        other.ForwardSignIn = ForwardSignIn;
        other.ForwardSignOut = ForwardSignOut;
    }
}
