using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authentication.Cookies;
using Microsoft.AspNetCore.Http;
using Microsoft.FSharp.Core;
using Session.AspNetCore;
using Session.Domain;
using Session.Engine;

namespace Session.CSharp;

/// <summary>Keeps the tickets of one cookie scheme as sessions. The framework's key of a ticket is the session's token.</summary>
/// <remarks>
/// The handler of the framework renews under the same key at a sign-in, and puts that key into the cookie: what it means by
/// it is told apart here, and <see cref="TicketCookies"/> sets the token that works then.
/// </remarks>
internal sealed class TicketStore(SessionService<AuthenticationTicket> service, TicketSchemes schemes, string scheme)
    : ITicketStore
{
    private readonly SessionEngine _engine = service.Engine;
    private readonly string _item = "Session.Ticket " + scheme;
    private readonly string _unseen = "Session.Ticket unseen " + scheme;

    public TicketVisit? VisitOf(HttpContext context) => context.Items[_item] as TicketVisit;

    /// <summary>Why this request goes on as nobody's although a ticket may live; null: it does not.</summary>
    public SessionError? Unseen(HttpContext context) => (context.Items[_unseen] as UnseenTicket)?.Why;

    /// <summary>The session of this request, empty where there is none.</summary>
    public SessionId IdIn(HttpContext context) =>
        VisitOf(context) is { IsOver: false } visit ? SessionId.Of(visit.Opened.Snapshot.Id) : SessionId.Empty;

    // -- what the handler calls

    public async Task<string> StoreAsync(
        AuthenticationTicket ticket,
        HttpContext httpContext,
        CancellationToken cancellationToken
    )
    {
        var request = Received.Of(service.Clock, httpContext);
        var (opened, error) = await CreateAsync(ticket, httpContext, cancellationToken).ConfigureAwait(false);
        // The store was down when the request's own ticket was read, and may be back: that one ends, as at any other sign-in.
        if (httpContext.Items[_unseen] is UnseenTicket before)
        {
            await EndOrUndoAsync(() => RemoveAsync(before.Key), opened).ConfigureAwait(false);
            if (request.TryEnter())
            {
                httpContext.Items.Remove(_unseen);
                request.Leave();
            }
        }

        await EndIfLateAsync(request, opened).ConfigureAwait(false);
        var key = opened.Issued!.Value.Reveal();
        httpContext.Items[_item] = new TicketVisit(key, opened) { Failure = error };
        return key;
    }

    public async Task<AuthenticationTicket?> RetrieveAsync(
        string key,
        HttpContext httpContext,
        CancellationToken cancellationToken
    )
    {
        var request = Received.Of(service.Clock, httpContext);
        // An error page in its place may be routed to before anybody asks again.
        request.First ??= httpContext.GetEndpoint();
        var isPolling = NoTouch.isOn(request, httpContext);
        var (found, unclear) = await LookAsync(key, isPolling, cancellationToken).ConfigureAwait(false);
        ThrowIfOver(request);
        if (unclear is not null)
            httpContext.Items[_unseen] = MayGoOn(unclear)
                ? new UnseenTicket(key, unclear)
                : throw Translate.ToException(unclear);

        if (found is null)
            return null;

        var visit = new TicketVisit(key, found.Opened) { IsPolling = isPolling };
        httpContext.Items[_item] = visit;
        // The handler extends a ticket when the response starts, by a callback that it has registered before: the last
        // one runs first.
        if (!httpContext.Response.HasStarted)
            httpContext.Response.OnStarting(() =>
            {
                visit.IsStarting = true;
                Sharing.claimAgain(httpContext);
                return Task.CompletedTask;
            });

        Sharing.claim(httpContext);

        return found.Ticket;
    }

    public async Task RenewAsync(
        string key,
        AuthenticationTicket ticket,
        HttpContext httpContext,
        CancellationToken cancellationToken
    )
    {
        if (VisitOf(httpContext) is not { } visit || visit.Key != key)
            throw new InvalidOperationException(
                "A ticket can be renewed by the request that brought its key, and by no other."
            );

        if (httpContext.Response.HasStarted)
            throw Translate.ToException(SessionError.ResponseStarted);

        var request = Received.Of(service.Clock, httpContext);
        var whose = await WhoseAsync(ticket, httpContext).ConfigureAwait(false);
        if (visit.IsStarting && visit.Opened.Live.Subject?.Value == whose)
            await ExtendAsync(visit, ticket).ConfigureAwait(false);
        else
        {
            await SignInAsync(visit, ticket, httpContext, cancellationToken).ConfigureAwait(false);
            await EndIfLateAsync(request, visit.Opened).ConfigureAwait(false);
        }
    }

    /// <summary>Whatever becomes of the connection: who has asked for a logout does not wait for the answer.</summary>
    public async Task RemoveAsync(string key, HttpContext httpContext, CancellationToken cancellationToken)
    {
        var request = Received.Of(service.Clock, httpContext);
        if (VisitOf(httpContext) is not { } visit || visit.Key != key)
        {
            await RemoveAsync(key).ConfigureAwait(false);
            ThrowIfOver(request);
            return;
        }

        if (!visit.IsOver)
            await SignOutAsync(visit.Opened).ConfigureAwait(false);

        visit.IsOver = true;
        ThrowIfOver(request);
    }

    // -- the same without a request, for the application's own calls

    public async Task<string> StoreAsync(AuthenticationTicket ticket)
    {
        var (opened, error) = await CreateAsync(ticket, null, CancellationToken.None).ConfigureAwait(false);
        return error is null ? opened.Issued!.Value.Reveal() : throw Translate.ToException(error);
    }

    public async Task<AuthenticationTicket?> RetrieveAsync(string key)
    {
        var (found, unclear) = await LookAsync(key, false, CancellationToken.None).ConfigureAwait(false);
        return unclear is null || MayGoOn(unclear) ? found?.Ticket : throw Translate.ToException(unclear);
    }

    public Task RenewAsync(string key, AuthenticationTicket ticket) =>
        throw new NotSupportedException(
            "A renewed ticket may need a new token, which only a response can carry: pass the HttpContext, or call HttpContext.SignInAsync."
        );

    public async Task RemoveAsync(string key)
    {
        var (found, unclear) = await LookAsync(key, false, CancellationToken.None).ConfigureAwait(false);
        if (unclear is not null)
            throw Translate.ToException(unclear);

        if (found is not null)
            await SignOutAsync(found.Opened).ConfigureAwait(false);
    }

    // -- how

    /// <summary>The handler goes on with the HttpContext, which the server may use for somebody else's request by now.</summary>
    private static void ThrowIfOver(Received request)
    {
        if (request.IsOver)
            throw Late();
    }

    /// <summary>No response carries its token: it would stand among its user's devices until it ends by time.</summary>
    private async Task EndIfLateAsync(Received request, Opened opened)
    {
        if (!request.IsOver)
            return;
        await _engine.SignOut(opened, CancellationToken.None).ConfigureAwait(false);
        throw Late();
    }

    private static InvalidOperationException Late() =>
        new(
            "The request was over before its ticket was stored or ended, and no response carries its cookie; a ticket that was stored has ended again. Await SignInAsync and SignOutAsync."
        );

    /// <summary>Neither: nobody is signed in by this key. An error: nobody can tell.</summary>
    private async Task<(Found? Found, SessionError? Unclear)> LookAsync(
        string key,
        bool isPolling,
        CancellationToken cancel
    )
    {
        var token = Token.tryParse(_engine.Hasher, key);
        if (token.IsNone)
            return default;

        var presented = isPolling
            ? await Tickets.look(service, token.Value, cancel).ConfigureAwait(false)
            : await _engine.Present(token.Value, false, cancel).ConfigureAwait(false);
        if (presented.IsError)
            return IsNobody(presented.ErrorValue) ? default : (null, presented.ErrorValue);

        var opened = presented.ResultValue;
        var data = service.Deserialize(opened.Live.Data);
        if (data.IsError)
            return IsNobody(data.ErrorValue) ? default : (null, data.ErrorValue);

        // A token of one scheme opens nothing in another.
        return data.ResultValue?.Value is { } ticket && ticket.AuthenticationScheme == scheme
            ? (new Found(opened, ticket), null)
            : default;
    }

    private static bool IsNobody(SessionError error) =>
        error is { IsNoSession: true } or SessionError.Ended or SessionError.Refused or SessionError.Unreadable;

    /// <summary>Requests that only read; what would sign somebody out must not say that it has.</summary>
    private bool MayGoOn(SessionError error) =>
        error is SessionError.Unavailable && service.Settings.ContinueWithoutStore;

    /// <summary>What was there before ends; where that fails what was begun in its place does, too: not both of them.</summary>
    private async Task EndOrUndoAsync(Func<Task> end, Opened created)
    {
        try
        {
            await end().ConfigureAwait(false);
        }
        catch (SessionException)
        {
            // If this fails as well, nobody has its token.
            await _engine.SignOut(created, CancellationToken.None).ConfigureAwait(false);
            throw;
        }
    }

    private async Task<(Opened Opened, SessionError? Error)> CreateAsync(
        AuthenticationTicket ticket,
        HttpContext? context,
        CancellationToken cancel
    )
    {
        var subject = await SubjectOfAsync(ticket, context).ConfigureAwait(false);
        var data = service.Serialize(ticket).OrThrow();
        if (context is { Response.HasStarted: true })
            throw Translate.ToException(SessionError.ResponseStarted);

        return Handed(
            await Tickets.create(service, context, ExternalOf(ticket), subject, data, cancel).ConfigureAwait(false)
        );
    }

    private async Task SignInAsync(
        TicketVisit visit,
        AuthenticationTicket ticket,
        HttpContext context,
        CancellationToken cancel
    )
    {
        var subject = await SubjectOfAsync(ticket, context).ConfigureAwait(false);
        if (!visit.IsOver && subject is not null && visit.Opened.Live.Subject?.Value == subject)
        {
            var data = service.Serialize(ticket).OrThrow();
            var reply = await Tickets
                .signIn(service, visit.Opened, ExternalOf(ticket), subject, data, cancel)
                .ConfigureAwait(false);
            var (elevated, error) = Handed(reply);
            visit.Hand(elevated);
            visit.Failure = error;
            return;
        }

        // Somebody else gets a session of their own: nothing that was known of the one before leads to it.
        var (created, failure) = await CreateAsync(ticket, context, cancel).ConfigureAwait(false);
        if (!visit.IsOver)
            await EndOrUndoAsync(() => SignOutAsync(visit.Opened), created).ConfigureAwait(false);

        visit.Hand(created);
        visit.Failure = failure;
    }

    /// <summary>Never fails: what the endpoint did is done. The ticket ends when it would have.</summary>
    private async Task ExtendAsync(TicketVisit visit, AuthenticationTicket ticket)
    {
        visit.WithholdsCookie = true;
        try
        {
            var read = service.Deserialize(visit.Opened.Live.Data).OrThrow()!.Value;
            if (visit.IsPolling)
            {
                if (TicketMerge.IsExtension(read, ticket))
                    return;

                // Another principal is kept, such as one without a role that was taken away; until when is not the page's to say.
                ticket.Properties.IssuedUtc = read.Properties.IssuedUtc;
                ticket.Properties.ExpiresUtc = read.Properties.ExpiresUtc;
            }

            var stored = TicketMerge.IsExtension(read, ticket)
                ? await Tickets
                    .update(service, visit.Opened, bytes => Merged(read, ticket, bytes), CancellationToken.None)
                    .ConfigureAwait(false)
                : await ReplaceAsync(visit.Opened, ticket).ConfigureAwait(false);

            if (stored.OrThrow() is { } updated)
            {
                visit.GoOn(updated.Value);
                // A cookie that ends with the browser has all that it needs. Each one that is sent might cross with that
                // of a sign-in.
                visit.WithholdsCookie = visit.IsPolling || !ticket.Properties.IsPersistent;
            }
        }
        catch (Exception error)
        {
            Tickets.noteNotExtended(service, scheme, error);
        }
    }

    private byte[]? Merged(AuthenticationTicket read, AuthenticationTicket renewed, byte[] bytes)
    {
        var stored = service.Deserialize(bytes).OrThrow()!.Value;
        return TicketMerge.TryApply(read, renewed, stored) ? service.Serialize(stored).OrThrow() : null;
    }

    /// <summary>Another principal, computed from what this request has read: not over what somebody else has written since.</summary>
    private async Task<FSharpResult<FSharpOption<Opened>?, SessionError>> ReplaceAsync(
        Opened opened,
        AuthenticationTicket ticket
    )
    {
        var data = service.Serialize(ticket).OrThrow();
        var saved = await _engine.Save(opened, data, CancellationToken.None).ConfigureAwait(false);
        return saved.IsOk
            ? FSharpResult<FSharpOption<Opened>?, SessionError>.NewOk(FSharpOption<Opened>.Some(saved.ResultValue))
            : FSharpResult<FSharpOption<Opened>?, SessionError>.NewError(saved.ErrorValue);
    }

    private async Task SignOutAsync(Opened opened) =>
        (await _engine.SignOut(opened, CancellationToken.None).ConfigureAwait(false)).OrThrow();

    /// <summary>The session at the provider that a logout there names; null: the user comes from none.</summary>
    private ExternalSession? ExternalOf(AuthenticationTicket ticket) =>
        RemoteSignIn.from(service, ticket.Principal, ticket.Properties);

    /// <summary>Null: nobody's. The name in a step on the way to a sign-in is the provider's, and might be another user's here.</summary>
    private async Task<string?> WhoseAsync(AuthenticationTicket ticket, HttpContext? context) =>
        await schemes.IsStepAsync(scheme, context).ConfigureAwait(false) ? null : TicketSubject.Of(ticket);

    private async Task<string?> SubjectOfAsync(AuthenticationTicket ticket, HttpContext? context)
    {
        var subject = await WhoseAsync(ticket, context).ConfigureAwait(false);
        if (subject is not null)
            Translate.ThrowUnlessSubject(subject);

        return subject;
    }

    private static (Opened Opened, SessionError? Error) Handed(TicketReply reply) =>
        reply.Opened.IsSome
            ? (reply.Opened.Value, reply.Error.IsSome ? reply.Error.Value : null)
            : throw Translate.ToException(reply.Error.Value);

    private sealed record UnseenTicket(string Key, SessionError Why);

    private sealed record Found(Opened Opened, AuthenticationTicket Ticket);
}
