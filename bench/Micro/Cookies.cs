using System.ComponentModel;
using Bench.Shared;
using BenchmarkDotNet.Attributes;
using Microsoft.AspNetCore.Http;
using Session.AspNetCore;
using Session.Engine;

namespace Bench.Micro;

[DisplayName("The cookie header (`Transport.Read`)")]
public class Cookies
{
    private readonly Transport _transport = new(SessionSettingsModule.defaults, new SecretHasher(null, false));
    private readonly DefaultHttpContext _own = new();
    private readonly DefaultHttpContext _among = new();
    private readonly DefaultHttpContext _none = new();
    private readonly DefaultHttpContext _others = new();

    public Cookies()
    {
        var token = new Population("cookies", 0, default, Population.Settings).Text(1);
        var own = $"{_transport.CookieName}={token}";
        var others = Enumerable.Range(0, 7).Select(i => $"cookie-{i}={new string('x', 40)}").ToArray();
        _own.Request.Headers.Cookie = own;
        _among.Request.Headers.Cookie = string.Join("; ", [.. others[..4], own, .. others[4..]]);
        _others.Request.Headers.Cookie = string.Join("; ", others);
        if (!_transport.Read(_own).IsTokenCame || !_transport.Read(_among).IsTokenCame)
            throw new InvalidOperationException("The token was not read.");
    }

    [Benchmark(Description = "no header")]
    public int None() => _transport.Read(_none).Tag;

    [Benchmark(Description = "seven cookies of others, 350 characters")]
    public int Others() => _transport.Read(_others).Tag;

    [Benchmark(Description = "the session cookie alone; its token parsed and hashed")]
    public int Own() => _transport.Read(_own).Tag;

    [Benchmark(Description = "the session cookie among seven others")]
    public int Among() => _transport.Read(_among).Tag;
}
