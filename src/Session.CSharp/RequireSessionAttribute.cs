using Microsoft.AspNetCore.Mvc.Filters;
using Session.AspNetCore;

namespace Session.CSharp;

/// <summary>The endpoint answers 401 without a live session (of every kind of data whose <c>UseSession</c> the request passes).</summary>
/// <remarks>
/// An anonymous session is let in as well: this is no authentication. Set <see cref="SignedIn"/> where somebody has to have
/// signed in. <c>AllowAnonymous</c> on an endpoint outweighs it. <c>app.UseSession&lt;T&gt;()</c> does the work: where it is missing, or stands before <c>UseRouting</c>, the
/// endpoint does not run and the request fails with an <see cref="InvalidOperationException"/> that says so.
/// </remarks>
[AttributeUsage(AttributeTargets.Class | AttributeTargets.Method)]
public class RequireSessionAttribute : Attribute, IRequireSessionMetadata, ISignedInWithinMetadata, IAuthorizationFilter
{
    private bool _isSignIn;
    private double _withinMinutes;

    /// <summary>Which sessions: null for all.</summary>
    public virtual Type? DataType => null;

    /// <summary>Whether the session needs a subject: 401 as well for an anonymous one. Default false (ASVS 8.2.1).</summary>
    public bool SignedIn
    {
        get => _isSignIn || SignedInWithinMinutes != 0;
        set => _isSignIn = value;
    }

    /// <summary>How long ago the sign-in may be, in minutes (ASVS 7.5.1): 401 with the reason when it is not that recent. Default 0: however long. Needs a sign-in.</summary>
    /// <exception cref="ArgumentOutOfRangeException">Below 0, no number, or no time at all: no sign-in would ever do.</exception>
    public double SignedInWithinMinutes
    {
        get => _withinMinutes;
        set =>
            _withinMinutes =
                value == 0 || value < TimeSpan.MaxValue.TotalMinutes && value * TimeSpan.TicksPerMinute >= 1
                    ? value
                    : throw new ArgumentOutOfRangeException(
                        nameof(value),
                        value,
                        "SignedInWithinMinutes has to be above 0: leave it out where a sign-in of any age will do."
                    );
    }

    /// <inheritdoc />
    TimeSpan ISignedInWithinMetadata.MaxAge =>
        SignedInWithinMinutes != 0 ? TimeSpan.FromMinutes(SignedInWithinMinutes) : TimeSpan.MaxValue;

    /// <summary>For MVC: throws unless the session middleware has let the request in.</summary>
    /// <exception cref="InvalidOperationException">It did not run for this endpoint: the message says where to add it.</exception>
    public void OnAuthorization(AuthorizationFilterContext context)
    {
        ArgumentNullException.ThrowIfNull(context);
        SessionGuard.verify(context.HttpContext, this);
    }
}
