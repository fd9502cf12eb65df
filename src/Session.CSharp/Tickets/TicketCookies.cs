using System.Security.Claims;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authentication.Cookies;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Http.Features.Authentication;
using Session.AspNetCore;

namespace Session.CSharp;

/// <summary>Sets the cookie of a scheme with the token that works: the framework's handler would put the one before a sign-in into it.</summary>
internal sealed class TicketCookies(ICookieManager inner, TicketStore store, CookieAuthenticationOptions options)
    : ICookieManager
{
    public string? GetRequestCookie(HttpContext context, string key) => inner.GetRequestCookie(context, key);

    public void DeleteCookie(HttpContext context, string key, CookieOptions cookie)
    {
        if (key == options.Cookie.Name)
        {
            // The handler knows of no ticket, and would say that the user is signed out.
            if (store.Unseen(context) is { } why)
                throw Translate.ToException(why);

            if (store.VisitOf(context) is { } visit)
                visit.SetCookieAgain = null;
        }

        inner.DeleteCookie(context, key, cookie);
    }

    public void AppendResponseCookie(HttpContext context, string key, string? value, CookieOptions cookie)
    {
        if (key == options.Cookie.Name && store.VisitOf(context) is null)
            throw new InvalidOperationException(
                "A ticket's cookie is set by the request that stored it: await SignInAsync before the request ends."
            );

        if (key != options.Cookie.Name || value is null || store.VisitOf(context) is not { } visit)
        {
            inner.AppendResponseCookie(context, key, value, cookie);
            return;
        }

        if (visit.WithholdsCookie)
        {
            visit.WithholdsCookie = false;
            return;
        }

        // A cookie of another request's ticket never gets further than this: it does not carry this one's key.
        var sent =
            visit.Successor is { } token ? Readdressed(context, value, visit.Key, token)
            : visit.HasNewToken ? Readdressed(context, value, visit.Key, visit.Key)
            : value;
        inner.AppendResponseCookie(context, key, sent, cookie);
        if (visit.HasNewToken)
            Keep(
                context,
                visit,
                () =>
                {
                    var begin = key + "=";
                    if (!context.Response.Headers.SetCookie.Any(it => it!.StartsWith(begin, StringComparison.Ordinal)))
                        inner.AppendResponseCookie(context, key, sent, cookie);
                }
            );

        if (visit.Failure is not { } failure)
            return;

        visit.Failure = null;
        throw Translate.ToException(failure);
    }

    /// <summary>The endpoint may fail after it has signed somebody in, and error pages clear the headers: the token before is dead.</summary>
    private static void Keep(HttpContext context, TicketVisit visit, Action setAgain)
    {
        if (context.Response.HasStarted)
            return;

        if (visit.SetCookieAgain is null)
        {
            TokenOwed.Note(context);
            context.Response.OnStarting(() =>
            {
                if (visit.SetCookieAgain is { } setAgain)
                {
                    setAgain();
                    Sharing.noStore(context);
                }

                return Task.CompletedTask;
            });
        }

        visit.SetCookieAgain = setAgain;
    }

    /// <summary>The same protected cookie, with the new token in place of the old one.</summary>
    private string Readdressed(HttpContext context, string value, string dead, string token)
    {
        var binding = context.Features.Get<ITlsTokenBindingFeature>()?.GetProvidedTokenBindingId();
        var purpose = binding is null ? null : Convert.ToBase64String(binding);
        var carried = options.TicketDataFormat.Unprotect(value, purpose);
        var claim =
            carried?.Principal.FindFirst(it => it.Value == dead)
            ?? throw new InvalidOperationException(
                "The cookie of a cookie scheme does not carry the key of its ticket as a claim: this version of the framework is not known."
            );

        var identity = claim.Subject!;
        identity.RemoveClaim(claim);
        identity.AddClaim(new Claim(claim.Type, token, claim.ValueType, claim.Issuer));
        return options.TicketDataFormat.Protect(
            new AuthenticationTicket(carried.Principal, carried.Properties, carried.AuthenticationScheme),
            purpose
        );
    }
}
