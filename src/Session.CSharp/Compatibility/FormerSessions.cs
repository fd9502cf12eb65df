using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.DataProtection;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Session;
using Microsoft.Extensions.Caching.Distributed;
using Microsoft.Extensions.Options;
using Microsoft.FSharp.Core;
using Session.AspNetCore;

namespace Session.CSharp;

/// <summary>The sessions of the framework's middleware: a key in a cookie under data protection, the values in a distributed cache.</summary>
internal sealed class FormerSessions(
    IDistributedCache cache,
    IDataProtectionProvider protection,
    IOptions<SessionOptions> framework,
    IOptions<SessionOptions<SessionValues>> options,
    FormerSessionLog log
) : IFormerSessions<SessionValues>
{
    // As the framework's middleware names it.
    private readonly IDataProtector _protector = protection.CreateProtector(nameof(SessionMiddleware));
    private readonly CookieBuilder _cookie = framework.Value.Cookie;
    private readonly string _name = framework.Value.Cookie.Name ?? SessionDefaults.CookieName;
    private readonly string _nameOfOurs = SessionSettingsModule.cookieName(options.Value.ToSettings());

    public FormerSession<SessionValues>? Find(HttpContext context)
    {
        const int KeyLength = 36; // a GUID as text

        if (context.Request.Cookies[_name] is not { Length: > 0 } value)
            return null;

        try
        {
            var sealedKey = Convert.FromBase64String(value.PadRight((value.Length + 3) / 4 * 4, '='));
            var key = Encoding.UTF8.GetString(_protector.Unprotect(sealedKey));
            return key.Length == KeyLength ? new CachedSession(this, key, TokenOf(key, sealedKey)) : null;
        }
        catch (Exception error) when (error is FormatException or CryptographicException)
        {
            // Not of this application, or under keys that are gone: nobody's session.
            return null;
        }
    }

    /// <summary>
    /// The id from the key, so that there is one session of it, however it is written. The secret from the sealed key, which only
    /// the client has: keys stand in logs and in the cache.
    /// </summary>
    private static string TokenOf(string key, byte[] sealedKey)
    {
        var id = SHA256.HashData(Encoding.UTF8.GetBytes("session adopted 1 id " + key));
        var secret = SHA256.HashData([.. "session adopted 1 secret "u8, .. sealedKey]);
        return $"{Base64Url.EncodeToString(id.AsSpan(0, 16))}.{Base64Url.EncodeToString(secret)}";
    }

    private sealed class CachedSession(FormerSessions sessions, string key, string token)
        : FormerSession<SessionValues>(token)
    {
        public override async Task<FSharpValueOption<SessionValues>> Read(CancellationToken cancel)
        {
            var stored = await sessions.Cache.GetAsync(key, cancel).ConfigureAwait(false);
            var values = stored is null ? null : SessionValuesSerializer.TryRead(stored);
            if (stored is not null && values is null)
                sessions.Log.Unreadable();

            return values is null
                ? FSharpValueOption<SessionValues>.ValueNone
                : FSharpValueOption<SessionValues>.NewValueSome(values);
        }

        public override Task Forget(CancellationToken cancel) => sessions.Cache.RemoveAsync(key, cancel);

        public override void LetGo(HttpContext context)
        {
            if (sessions._name != sessions._nameOfOurs)
                context.Response.Cookies.Delete(sessions._name, sessions._cookie.Build(context));
        }
    }

    private IDistributedCache Cache => cache;
    private FormerSessionLog Log => log;
}
