using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Session;
using Microsoft.Extensions.Options;
using Session.AspNetCore;

namespace Session.CSharp;

/// <summary>What an application has said in the framework's <c>SessionOptions</c>, in ours. What is the framework's default there counts as not said.</summary>
internal sealed class MappedOptions(IOptions<SessionOptions> framework)
    : IConfigureOptions<SessionOptions<SessionValues>>,
        IPostConfigureOptions<SessionOptions<SessionValues>>
{
    // The framework's middleware knows no limit.
    private const int MaxDataBytes = 1_048_576;
    private static readonly TimeSpan _longestWait = TimeSpan.FromMinutes(10);
    private static readonly SessionOptions _defaults = new();

    public void Configure(SessionOptions<SessionValues> options)
    {
        var said = framework.Value;
        var cookie = said.Cookie;
        options.Cookie = new CookieBuilder
        {
            Domain = cookie.Domain,
            Path = cookie.Path ?? SessionDefaults.CookiePath,
            HttpOnly = cookie.HttpOnly,
            SameSite = cookie.SameSite,
            SecurePolicy =
                cookie.SecurePolicy == _defaults.Cookie.SecurePolicy ? CookieSecurePolicy.Always : cookie.SecurePolicy,
            MaxAge = cookie.MaxAge,
            IsEssential = cookie.IsEssential,
        };
        // The framework's own name says nothing of what protects the cookie.
        if (cookie.Name is { } name && name != SessionDefaults.CookieName)
            options.Cookie.Name = name;

        foreach (var extension in cookie.Extensions)
            options.Cookie.Extensions.Add(extension);

        options.Serializer = new SessionValuesSerializer();
        options.MaxDataBytes = MaxDataBytes;
        options.IdleTimeout = said.IdleTimeout;
        // The framework's middleware has none: a session that may be silent for longer than ours lives as long as that.
        options.AbsoluteTimeout = Longest(options.AbsoluteTimeout, said.IdleTimeout, cookie.MaxAge ?? TimeSpan.Zero);
        // A visitor who reads one page for longer than ten minutes keeps what that page has stored.
        options.ConfirmTimeout = said.IdleTimeout;
        if (said.IOTimeout != _defaults.IOTimeout)
            options.RequestTimeout =
                said.IOTimeout == Timeout.InfiniteTimeSpan || said.IOTimeout > _longestWait
                    ? _longestWait
                    : said.IOTimeout;
    }

    public void PostConfigure(string? name, SessionOptions<SessionValues> options)
    {
        var cookie = options.Cookie;
        cookie.Name ??=
            cookie.SecurePolicy != CookieSecurePolicy.Always ? "session"
            : cookie.Domain is not null || cookie.Path is not (null or "/") ? "__Secure-session"
            : "__Host-session";

        options.GenerateId ??= context =>
            context.Features.Get<Microsoft.AspNetCore.Http.Features.ISessionFeature>() is CompatibleSession session
                ? session.TakeId()
                : CompatibilityHost.NewId();
    }

    private static TimeSpan Longest(params TimeSpan[] spans) => spans.Max();
}
