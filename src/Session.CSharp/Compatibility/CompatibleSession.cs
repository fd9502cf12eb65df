using System.Diagnostics.CodeAnalysis;
using System.Text;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.FSharp.Core;
using Session.AspNetCore;
using Session.Engine;

namespace Session.CSharp;

/// <summary>
/// The framework's <c>ISession</c> on this engine. It collects the changes of the request by key, and makes them on the
/// values as they are stored when it commits: requests side by side lose nothing of each other.
/// </summary>
internal sealed class CompatibleSession : ISession, ISessionFeature
{
    // MVC takes it away after each page that has looked for a message: nobody has asked for that.
    private const string TempDataKey = "__ControllerTempData";

    private readonly HttpContext _context;
    private readonly Received _received;
    private readonly CompatibilityHost _host;

    // What the framework's interface allows: it may be wrapped, or replaced by the application.
    private ISession _shown;
    private RequestSession<SessionValues>? _request;
    private string? _plannedId;
    private CommittingBody? _body;

    // Null: removed.
    private Dictionary<string, byte[]?>? _changes;
    private bool _isCleared;
    private bool _establishes;
    private bool _isDirty;
    private int _version;
    private bool _hasFailed;
    private bool _hasWaited;
    private bool _wasLoadedFirst;
    private bool _isTouched;

    public CompatibleSession(HttpContext context, CompatibilityHost host)
    {
        _context = context;
        _received = Received.Of(TimeProvider.System, context);
        _host = host;
        _shown = this;
    }

    ISession ISessionFeature.Session
    {
        get => _shown;
        set => _shown = value;
    }

    private RequestSession<SessionValues> Request
    {
        get
        {
            ThrowIfOver();
            return _request ??= RequestSession.find<SessionValues>(_context);
        }
    }

    private void ThrowIfOver()
    {
        if (_received.IsOver)
            throw new InvalidOperationException(
                "The request of this session is over, and the server may use its HttpContext for another one: read and write HttpContext.Session while the request goes on."
            );
    }

    /// <summary>As last read or stored; null without a session.</summary>
    private SessionValues? Stored => Request.Data?.Value;

    /// <summary>Whether the next byte of the response has to wait for the store.</summary>
    internal bool MustCommit => IsOwed && !_context.Response.HasStarted;

    /// <summary>Whether there is something to store; no more once that has failed and the answer says so.</summary>
    private bool IsOwed => _isDirty && !(_hasFailed && _context.Response.StatusCode >= 400);

    public bool IsAvailable
    {
        get
        {
            if (_received.IsOver)
                return false;
            try
            {
                Read();
                return true;
            }
            catch (SessionUnavailableException)
            {
                return false;
            }
        }
    }

    public string Id
    {
        get
        {
            Read();
            return Request.Id is not { } stored ? PlannedId
                : Stored is { } values && values.FormerId != Guid.Empty ? values.FormerId.ToString()
                : stored.Value;
        }
    }

    /// <summary>Of a session that does not exist yet: the one that it will have if this request begins it.</summary>
    private string PlannedId => _plannedId ??= CompatibilityHost.NewId();

    public IEnumerable<string> Keys
    {
        get
        {
            Read();
            return Current().Keys.ToArray();
        }
    }

    public async Task LoadAsync(CancellationToken cancellationToken = default)
    {
        _isTouched = true;
        (await Request.Load(cancellationToken).ConfigureAwait(false)).OrThrow();
    }

    public bool TryGetValue(string key, [NotNullWhen(true)] out byte[]? value)
    {
        ArgumentNullException.ThrowIfNull(key);
        if (_changes is not null && _changes.TryGetValue(key, out value))
            return value is not null;

        value = null;
        Read();
        return !_isCleared && Stored is { } stored && stored.TryGetBytes(key, out value);
    }

    public void Set(string key, byte[] value)
    {
        ArgumentNullException.ThrowIfNull(key);
        ArgumentNullException.ThrowIfNull(value);
        ThrowIfOver();
        if (key.Length > SessionValuesSerializer.MaxKeyBytes / 3)
            ThrowIfTooLong(key);

        if (_context.Response.HasStarted)
            ThrowIfNone();

        (_changes ??= new Dictionary<string, byte[]?>())[key] = value.AsSpan().ToArray();
        _establishes = true;
        Changed();
    }

    public void Remove(string key)
    {
        ArgumentNullException.ThrowIfNull(key);
        ThrowIfOver();
        (_changes ??= new Dictionary<string, byte[]?>())[key] = null;
        Changed();
    }

    public void Clear()
    {
        ThrowIfOver();
        _changes = null;
        _isCleared = true;
        Changed();
    }

    public async Task CommitAsync(CancellationToken cancellationToken = default)
    {
        if (!_isDirty)
            return;

        var version = _version;
        try
        {
            await StoreAsync(cancellationToken).ConfigureAwait(false);
        }
        catch
        {
            _hasFailed = true;
            throw;
        }

        // What was written while the store was asked is stored with the next commit, and all of this once more.
        if (version == _version)
        {
            _changes = null;
            _isCleared = _establishes = _isDirty = false;
        }

        _hasFailed = false;
    }

    private async Task StoreAsync(CancellationToken cancellationToken)
    {
        (await Request.Load(cancellationToken).ConfigureAwait(false)).OrThrow();
        if (MayBeSignOut && Request.HasUnseen)
            (await Request.Destroy(cancellationToken).ConfigureAwait(false)).OrThrow();

        if (Request.Live is null && !(_establishes && MayBegin()))
            return;

        // The application has ended the session in this request: what it writes begins another one.
        if (Request.Live is null && Request.HasSignedOut)
        {
            var values = SessionValues.Empty.Merge(_isCleared, _changes);
            (await Request.Create(values, cancellationToken).ConfigureAwait(false)).OrThrow();
            return;
        }

        // To take away what is not there changes nothing: TempData does so in each request that has none, and a form from another
        // site, which may change nothing, gets its answer.
        if (!_isCleared && Stored is { } there && _changes is { } changes && changes.All(it => it.Value is null))
        {
            if (ReferenceEquals(there.Merge(false, changes), there))
                return;
        }

        var merge = FuncConvert.FromFunc<FSharpOption<SessionValues>?, FSharpResult<SessionValues, bool>>(Merge);
        (await Request.TryUpdate<bool>(merge!, cancellationToken).ConfigureAwait(false)).OrThrow();
    }

    /// <summary>
    /// What is taken away may be who is signed in. Where a session lives that this request could not read (the store was down,
    /// the token was refused, two came), that is none the less a sign-out: it ends it, or fails.
    /// </summary>
    private bool MayBeSignOut =>
        _isCleared || _changes?.Any(change => change.Value is null && change.Key != TempDataKey) == true;

    /// <summary>The id for a session that this request begins: the one that it has shown, if it has.</summary>
    internal string TakeId()
    {
        var id = PlannedId;
        // Where it is taken already, another one is asked for.
        _plannedId = null;
        return id;
    }

    /// <summary>Before an endpoint that is known to read it. Where that fails it is for the endpoint to meet it.</summary>
    internal async Task LoadFirstAsync()
    {
        _wasLoadedFirst = true;
        await Request.Load(CancellationToken.None).ConfigureAwait(false);
    }

    /// <summary>While the headers are written: what others have written to it just now.</summary>
    internal async Task StoreAtStartAsync()
    {
        if (!MustCommit)
            return;

        try
        {
            await CommitAsync(CancellationToken.None).ConfigureAwait(false);
        }
        catch (SessionException failure)
        {
            _host.NoteNotStored(failure, failure.StatusCode);
            Answers.withhold(_context, failure.StatusCode);
        }
    }

    /// <summary>The endpoint is done.</summary>
    internal async ValueTask FinishAsync()
    {
        if (_body is not null)
            await _body.FlushAsync().ConfigureAwait(false);

        if (IsOwed)
            await CommitAsync(CancellationToken.None).ConfigureAwait(false);
    }

    /// <summary>The endpoint has failed. As with the framework's middleware, what it has written before is kept.</summary>
    internal async Task StoreDespiteAsync()
    {
        try
        {
            if (!_hasFailed)
                await CommitAsync(CancellationToken.None).ConfigureAwait(false);
        }
        catch (Exception failure)
        {
            // The answer is that of the endpoint's own failure: it is none that says that all went well.
            _host.NoteNotStored(failure, 500);
        }
    }

    internal void LetGoOfBody()
    {
        _body?.LetGo();
        _body = null;
    }

    internal void Note(EndpointHabits.Habit? habit)
    {
        if (_hasWaited)
            habit?.HasWaited();
        else if (_wasLoadedFirst && !_isTouched)
            habit?.WasLoadedForNothing();
    }

    private void Changed()
    {
        _isTouched = true;
        _isDirty = true;
        _version++;
        if (_body is not null || !_received.TryEnter())
            return;
        try
        {
            if (!_context.Response.HasStarted)
                _body = CommittingBody.Before(_context, this);
        }
        finally
        {
            _received.Leave();
        }
    }

    private SessionValues Current() => (Stored ?? SessionValues.Empty).Merge(_isCleared, _changes);

    private FSharpResult<SessionValues, bool> Merge(FSharpOption<SessionValues>? current)
    {
        var nothing = FSharpResult<SessionValues, bool>.NewError(false);
        var merged = (current?.Value ?? SessionValues.Empty).Merge(_isCleared, _changes);
        var changes = current is null ? _establishes : !ReferenceEquals(merged, current.Value);
        return changes ? FSharpResult<SessionValues, bool>.NewOk(merged) : nothing;
    }

    private bool MayBegin()
    {
        if (_host.IsEssential || _context.Features.Get<ITrackingConsentFeature>() is not { CanTrack: false })
            return true;

        _host.NoteNoConsent(_context);
        return false;
    }

    private void Read()
    {
        _isTouched = true;
        var loading = Request.Load(CancellationToken.None);
        if (!loading.IsCompleted)
        {
            _hasWaited = true;
            _host.NoteBlocking(_context);
        }

        (loading.IsCompleted ? loading.Result : loading.AsTask().GetAwaiter().GetResult()).OrThrow();
    }

    private void ThrowIfNone()
    {
        Read();
        if (Request.Live is null)
            throw new InvalidOperationException(
                "The session cannot begin once the response has started: its token would not reach the client. Write to HttpContext.Session before the body."
            );
    }

    private static void ThrowIfTooLong(string key)
    {
        if (Encoding.UTF8.GetByteCount(key) > SessionValuesSerializer.MaxKeyBytes)
            throw new ArgumentOutOfRangeException(
                nameof(key),
                $"A key of the session has at most {SessionValuesSerializer.MaxKeyBytes} bytes of UTF-8."
            );
    }
}
