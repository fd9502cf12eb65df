using Microsoft.IdentityModel.Protocols;
using Microsoft.IdentityModel.Protocols.OpenIdConnect;

namespace Session.OpenIdConnect;

/// <summary>
/// The provider's issuer and keys, as its discovery document says them. Read when they are needed first, when they are old, and when
/// a token names a key that is not among them. Who comes while they are read waits for that reading, and begins none.
/// </summary>
internal sealed class ProviderKeys(BackChannelLogoutOptions options, TimeProvider clock)
{
    /// <summary>Anybody can send tokens with names of keys.</summary>
    private static readonly TimeSpan s_pause = TimeSpan.FromSeconds(30);

    /// <summary>Both documents: a provider that hangs must not hold its own logouts up for longer.</summary>
    private static readonly TimeSpan s_longest = TimeSpan.FromSeconds(10);

    private static readonly Lazy<HttpClient> s_client = new(Client);

    private readonly Lock _gate = new();
    private readonly string _address = options.Authority.TrimEnd('/') + "/.well-known/openid-configuration";
    private readonly Lazy<HttpDocumentRetriever> _documents = new(() =>
        new(options.Backchannel ?? s_client.Value) { RequireHttps = options.RequireHttpsMetadata }
    );
    private OpenIdConnectConfiguration? _known;
    private Task<OpenIdConnectConfiguration>? _reading;
    private DateTimeOffset _readAt;
    private DateTimeOffset _askedFor = DateTimeOffset.MinValue;

    /// <summary>With the key of this name, if the provider has it.</summary>
    /// <exception cref="ProviderUnreachableException">There are no keys, and none can be read.</exception>
    public Task<OpenIdConnectConfiguration> ForAsync(string? keyId, CancellationToken cancellationToken)
    {
        lock (_gate)
        {
            if (_known is null || IsOld())
                return Reading(cancellationToken);

            if (Has(_known, keyId) || !MayRead())
                return Task.FromResult(_known);

            return Reading(cancellationToken);
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
        Task<OpenIdConnectConfiguration> reading;
        lock (_gate)
        {
            if (_known != tried)
                return _known;

            if (!IsReading && clock.GetUtcNow() - _readAt < s_pause || !MayRead())
                return null;

            reading = Reading(cancellationToken);
        }

        return await reading.ConfigureAwait(false);
    }

    private static HttpClient Client() =>
        new(new SocketsHttpHandler { PooledConnectionLifetime = TimeSpan.FromMinutes(5) })
        {
            Timeout = TimeSpan.FromSeconds(10),
            MaxResponseContentBufferSize = 1024 * 1024,
        };

    private static bool Has(OpenIdConnectConfiguration known, string? keyId) =>
        string.IsNullOrEmpty(keyId) || known.SigningKeys.Any(key => key.KeyId == keyId);

    private bool IsReading => _reading is { IsCompleted: false };

    /// <summary>Whether somebody's token may have the keys read: now and then, and beside a reading that is under way at any time.</summary>
    private bool MayRead()
    {
        if (IsReading)
            return true;

        var now = clock.GetUtcNow();
        if (now - _askedFor < s_pause)
            return false;

        _askedFor = now;
        return true;
    }

    private bool IsOld() => clock.GetUtcNow() - _readAt >= options.KeysFor;

    /// <summary>The one that is under way, or a new one: it goes on for the others, and for those who come later, when one gives up.</summary>
    private Task<OpenIdConnectConfiguration> Reading(CancellationToken cancellationToken)
    {
        if (_reading is not { IsCompleted: false })
        {
            _reading = Task.Run(ReadAsync, CancellationToken.None);
            // Where all have given up nobody hears of its failure.
            _reading.ContinueWith(
                static reading => reading.Exception,
                CancellationToken.None,
                TaskContinuationOptions.OnlyOnFaulted,
                TaskScheduler.Default
            );
        }

        return _reading.WaitAsync(cancellationToken);
    }

    /// <summary>What was known is used no longer than it may be, whatever the provider's state.</summary>
    private async Task<OpenIdConnectConfiguration> ReadAsync()
    {
        using var stop = new CancellationTokenSource(s_longest);
        OpenIdConnectConfiguration read;
        try
        {
            read = await OpenIdConnectConfigurationRetriever
                .GetAsync(_address, _documents.Value, stop.Token)
                .WaitAsync(stop.Token)
                .ConfigureAwait(false);
        }
        catch (Exception error)
        {
            throw new ProviderUnreachableException("the keys of the identity provider cannot be read", error);
        }

        if (string.IsNullOrEmpty(read.Issuer) || read.SigningKeys.Count == 0)
            throw new ProviderUnreachableException("the identity provider names no issuer, or no keys");

        lock (_gate)
            (_readAt, _known) = (clock.GetUtcNow(), read);

        return read;
    }
}
