namespace Session.CSharp;

/// <summary>What the authentication scheme of sessions is called.</summary>
public static class SessionAuthenticationDefaults
{
    /// <summary>The name of the scheme, unless another is given.</summary>
    public const string AuthenticationScheme = AspNetCore.SessionScheme.Name;

    /// <summary>The type of the claim that says which session the user comes from: its public id.</summary>
    public const string SessionIdClaimType = AspNetCore.SessionUser.IdClaim;
}
