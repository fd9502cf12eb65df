using Session.Engine;

namespace Session.CSharp;

/// <summary>What one request has of the session that keeps its ticket, for one scheme.</summary>
internal sealed class TicketVisit(string key, Opened opened)
{
    /// <summary>The request is no activity of its user (<c>.NoTouch()</c>): it moves no deadline.</summary>
    public bool IsPolling { get; init; }

    /// <summary>The token as the framework's handler knows it, from the request's cookie or from its first sign-in.</summary>
    public string Key => key;

    public Opened Opened { get; private set; } = opened;

    /// <summary>The token that the cookie has to carry in place of <see cref="Key"/>, which is dead.</summary>
    public string? Successor { get; private set; }

    /// <summary>The browser does not have the session's token yet: it was begun or elevated by this request.</summary>
    public bool HasNewToken => Opened.Issued is not null;

    /// <summary>This request has ended it.</summary>
    public bool IsOver { get; set; }

    /// <summary>The response's headers are being written: what the handler renews now is no sign-in.</summary>
    public bool IsStarting { get; set; }

    /// <summary>The next cookie that the handler sets is not sent: the browser has the same token, or a newer one.</summary>
    public bool WithholdsCookie { get; set; }

    /// <summary>The sign-in is stored, and something that belongs to it failed: said once its cookie is set.</summary>
    public SessionError? Failure { get; set; }

    /// <summary>Sets the cookie again, in a response that an error page has cleared. Null: there is none to set.</summary>
    public Action? SetCookieAgain { get; set; }

    public void GoOn(Opened updated) => Opened = updated;

    public void Hand(Opened signedIn)
    {
        Opened = signedIn;
        Successor = signedIn.Issued!.Value.Reveal();
        IsOver = false;
    }
}
