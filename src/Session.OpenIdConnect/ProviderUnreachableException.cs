namespace Session.OpenIdConnect;

/// <summary>Nobody can tell whether a token is the provider's.</summary>
internal sealed class ProviderUnreachableException(string message, Exception? inner = null) : Exception(message, inner);
