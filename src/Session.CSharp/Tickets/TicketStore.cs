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
internal sealed class TicketStore(SessionService<AuthenticationTicket> service, string scheme) : ITicketStore
{
    private readonly SessionEngine _engine = service.Engine;
    private readonly string _item = "Session.Ticket " + scheme;

    public TicketVisit? VisitOf(HttpContext context) => context.Items[_item] as TicketVisit;

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
        var (opened, error) = await CreateAsync(ticket, httpContext, cancellationToken).ConfigureAwait(false);
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
        if (await OpenAsync(key, cancellationToken).ConfigureAwait(false) is not { } found)
            return null;

        var visit = new TicketVisit(key, found.Opened);
        httpContext.Items[_item] = visit;
        // The handler extends a ticket when the response starts, by a callback that it has registered before: the last
        // one runs first.
        if (!httpContext.Response.HasStarted)
            httpContext.Response.OnStarting(() =>
            {
                visit.IsStarting = true;
                return Task.CompletedTask;
            });

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

        if (visit.IsStarting && visit.Opened.Live.Subject?.Value == TicketSubject.Of(ticket, scheme))
            await ExtendAsync(visit, ticket).ConfigureAwait(false);
        else
            await SignInAsync(visit, ticket, httpContext, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Whatever becomes of the connection: who has asked for a logout does not wait for the answer.</summary>
    public async Task RemoveAsync(string key, HttpContext httpContext, CancellationToken cancellationToken)
    {
        if (VisitOf(httpContext) is not { } visit || visit.Key != key)
        {
            await RemoveAsync(key).ConfigureAwait(false);
            return;
        }

        if (!visit.IsOver)
            await SignOutAsync(visit.Opened).ConfigureAwait(false);

        visit.IsOver = true;
    }

    // -- the same without a request, for the application's own calls

    public async Task<string> StoreAsync(AuthenticationTicket ticket)
    {
        var (opened, error) = await CreateAsync(ticket, null, CancellationToken.None).ConfigureAwait(false);
        return error is null ? opened.Issued!.Value.Reveal() : throw Translate.ToException(error);
    }

    public async Task<AuthenticationTicket?> RetrieveAsync(string key) =>
        (await OpenAsync(key, CancellationToken.None).ConfigureAwait(false))?.Ticket;

    public Task RenewAsync(string key, AuthenticationTicket ticket) =>
        throw new NotSupportedException(
            "A renewed ticket may need a new token, which only a response can carry: pass the HttpContext, or call HttpContext.SignInAsync."
        );

    public async Task RemoveAsync(string key)
    {
        if (await OpenAsync(key, CancellationToken.None).ConfigureAwait(false) is { } found)
            await SignOutAsync(found.Opened).ConfigureAwait(false);
    }

    // -- how

    /// <summary>None: nobody is signed in by this key. An exception: nobody can tell (503).</summary>
    private async Task<Found?> OpenAsync(string key, CancellationToken cancel)
    {
        var token = Token.tryParse(_engine.Hasher, key);
        if (token.IsNone)
            return null;

        var presented = await _engine.Present(token.Value, false, cancel).ConfigureAwait(false);
        if (presented.IsError)
            return IsNobody(presented.ErrorValue) ? null : throw Translate.ToException(presented.ErrorValue);

        var opened = presented.ResultValue;
        var data = service.Deserialize(opened.Live.Data);
        if (data.IsError)
            return IsNobody(data.ErrorValue) ? null : throw Translate.ToException(data.ErrorValue);

        // A token of one scheme opens nothing in another.
        return data.ResultValue?.Value is { } ticket && ticket.AuthenticationScheme == scheme
            ? new Found(opened, ticket)
            : null;
    }

    private bool IsNobody(SessionError error) =>
        error is { IsNoSession: true } or SessionError.Ended or SessionError.Refused or SessionError.Unreadable
        || (error is SessionError.Unavailable && service.Settings.ContinueWithoutStore);

    private async Task<(Opened Opened, SessionError? Error)> CreateAsync(
        AuthenticationTicket ticket,
        HttpContext? context,
        CancellationToken cancel
    )
    {
        var subject = SubjectOf(ticket);
        var data = service.Serialize(ticket).OrThrow();
        if (context is { Response.HasStarted: true })
            throw Translate.ToException(SessionError.ResponseStarted);

        return Handed(await Tickets.create(service, context, subject, data, cancel).ConfigureAwait(false));
    }

    private async Task SignInAsync(
        TicketVisit visit,
        AuthenticationTicket ticket,
        HttpContext context,
        CancellationToken cancel
    )
    {
        var subject = SubjectOf(ticket);
        if (!visit.IsOver && subject is not null && visit.Opened.Live.Subject?.Value == subject)
        {
            var data = service.Serialize(ticket).OrThrow();
            var reply = await Tickets.signIn(service, visit.Opened, subject, data, cancel).ConfigureAwait(false);
            var (elevated, error) = Handed(reply);
            visit.Hand(elevated);
            visit.Failure = error;
            return;
        }

        // Somebody else gets a session of their own: nothing that was known of the one before leads to it.
        var (created, failure) = await CreateAsync(ticket, context, cancel).ConfigureAwait(false);
        if (!visit.IsOver)
            try
            {
                await SignOutAsync(visit.Opened).ConfigureAwait(false);
            }
            catch (SessionException)
            {
                // Not both of them. If this fails as well, nobody has its token.
                await _engine.SignOut(created, CancellationToken.None).ConfigureAwait(false);
                throw;
            }

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
                visit.WithholdsCookie = !ticket.Properties.IsPersistent;
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

    private string? SubjectOf(AuthenticationTicket ticket)
    {
        var subject = TicketSubject.Of(ticket, scheme);
        if (subject is not null)
            Translate.ThrowUnlessSubject(subject);

        return subject;
    }

    private static (Opened Opened, SessionError? Error) Handed(TicketReply reply) =>
        reply.Opened.IsSome
            ? (reply.Opened.Value, reply.Error.IsSome ? reply.Error.Value : null)
            : throw Translate.ToException(reply.Error.Value);

    private sealed record Found(Opened Opened, AuthenticationTicket Ticket);
}
