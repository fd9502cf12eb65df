using Microsoft.IdentityModel.Protocols;
using Microsoft.IdentityModel.Protocols.OpenIdConnect;

namespace Session.OpenIdConnect;

/// <summary>The provider's issuer and keys, as its discovery document says them. Read when they are needed first, when they are old, and when a token names a key that is not among them.</summary>
internal sealed class ProviderKeys : IDisposable
{
    /// <summary>Anybody can send tokens with names of keys.</summary>
    private static readonly TimeSpan s_pause = TimeSpan.FromSeconds(30);

    private readonly BackChannelLogoutOptions _options;
    private readonly TimeProvider _clock;
    private readonly HttpClient? _own;
    private readonly HttpDocumentRetriever _documents;
    private readonly string _address;
    private readonly SemaphoreSlim _turn = new(1);
    private OpenIdConnectConfiguration? _known;
    private DateTimeOffset _readAt;
    private DateTimeOffset _askedFor = DateTimeOffset.MinValue;

    public ProviderKeys(BackChannelLogoutOptions options, TimeProvider clock)
    {
        _options = options;
        _clock = clock;
        _own = options.Backchannel is null ? Client() : null;
        _documents = new HttpDocumentRetriever(options.Backchannel ?? _own!)
        {
            RequireHttps = options.RequireHttpsMetadata,
        };
        _address = options.Authority.TrimEnd('/') + "/.well-known/openid-configuration";
    }

    /// <summary>With the key of this name, if the provider has it.</summary>
    /// <exception cref="ProviderUnreachableException">There are no keys, and none can be read.</exception>
    public async Task<OpenIdConnectConfiguration> ForAsync(string? keyId, CancellationToken cancellationToken)
    {
        if (Volatile.Read(ref _known) is { } known && !IsOld() && Has(known, keyId))
            return known;

        await _turn.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            if (_known is null || IsOld())
                return await ReadAsync(cancellationToken).ConfigureAwait(false);

            var now = _clock.GetUtcNow();
            if (Has(_known, keyId) || now - _askedFor < s_pause)
                return _known;

            return await AskAsync(now, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            _turn.Release();
        }
    }

    /// <summary>
    /// What the provider has by now, where its keys did not do: they need no names, and a name may get another key. Null: that is
    /// all, or it was asked a moment ago.
    /// </summary>
    /// <exception cref="ProviderUnreachableException">Nobody can tell.</exception>
    public async Task<OpenIdConnectConfiguration?> AnewAsync(
        OpenIdConnectConfiguration tried,
        CancellationToken cancellationToken
    )
    {
        await _turn.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            if (_known != tried)
                return _known;

            var now = _clock.GetUtcNow();
            if (now - _askedFor < s_pause || now - _readAt < s_pause)
                return null;

            return await AskAsync(now, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            _turn.Release();
        }
    }

    public void Dispose()
    {
        _own?.Dispose();
        _turn.Dispose();
    }

    private static HttpClient Client() =>
        new(new SocketsHttpHandler { PooledConnectionLifetime = TimeSpan.FromMinutes(5) })
        {
            Timeout = TimeSpan.FromSeconds(10),
            MaxResponseContentBufferSize = 1024 * 1024,
        };

    private static bool Has(OpenIdConnectConfiguration known, string? keyId) =>
        string.IsNullOrEmpty(keyId) || known.SigningKeys.Any(key => key.KeyId == keyId);

    private bool IsOld() => _clock.GetUtcNow() - _readAt >= _options.KeysFor;

    /// <summary>Because of a token, which anybody can send.</summary>
    private Task<OpenIdConnectConfiguration> AskAsync(DateTimeOffset now, CancellationToken cancellationToken)
    {
        _askedFor = now;
        return ReadAsync(cancellationToken);
    }

    /// <summary>What was known is used no longer than it may be, whatever the provider's state.</summary>
    private async Task<OpenIdConnectConfiguration> ReadAsync(CancellationToken cancellationToken)
    {
        OpenIdConnectConfiguration read;
        try
        {
            read = await OpenIdConnectConfigurationRetriever
                .GetAsync(_address, _documents, cancellationToken)
                .ConfigureAwait(false);
        }
        catch (Exception error) when (!cancellationToken.IsCancellationRequested)
        {
            throw new ProviderUnreachableException("the keys of the identity provider cannot be read", error);
        }

        if (string.IsNullOrEmpty(read.Issuer) || read.SigningKeys.Count == 0)
            throw new ProviderUnreachableException("the identity provider names no issuer, or no keys");

        _readAt = _clock.GetUtcNow();
        Volatile.Write(ref _known, read);
        return read;
    }
}
