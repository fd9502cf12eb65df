using System.Collections.Concurrent;
using Microsoft.AspNetCore.Identity;

namespace Integration.App;

/// <summary>Users in memory, with security stamps, shared by several nodes as a database would be.</summary>
public sealed class TicketUsers : IUserSecurityStampStore<IdentityUser>
{
    private readonly ConcurrentDictionary<string, IdentityUser> _byId = new();

    public void Add(string name)
    {
        var user = new IdentityUser(name)
        {
            NormalizedUserName = name.ToUpperInvariant(),
            SecurityStamp = Guid.NewGuid().ToString("N"),
        };
        _byId[user.Id] = user;
    }

    public Task<IdentityResult> CreateAsync(IdentityUser user, CancellationToken cancellationToken) =>
        throw new NotSupportedException("Add adds users.");

    public Task<IdentityResult> DeleteAsync(IdentityUser user, CancellationToken cancellationToken) =>
        throw new NotSupportedException("Users stay.");

    public Task<IdentityUser?> FindByIdAsync(string userId, CancellationToken cancellationToken) =>
        Task.FromResult(_byId.GetValueOrDefault(userId));

    public Task<IdentityUser?> FindByNameAsync(string normalizedUserName, CancellationToken cancellationToken) =>
        Task.FromResult(_byId.Values.FirstOrDefault(it => it.NormalizedUserName == normalizedUserName));

    public Task<string?> GetNormalizedUserNameAsync(IdentityUser user, CancellationToken cancellationToken) =>
        Task.FromResult(user.NormalizedUserName);

    public Task<string?> GetSecurityStampAsync(IdentityUser user, CancellationToken cancellationToken) =>
        Task.FromResult(user.SecurityStamp);

    public Task<string> GetUserIdAsync(IdentityUser user, CancellationToken cancellationToken) =>
        Task.FromResult(user.Id);

    public Task<string?> GetUserNameAsync(IdentityUser user, CancellationToken cancellationToken) =>
        Task.FromResult(user.UserName);

    public Task SetNormalizedUserNameAsync(
        IdentityUser user,
        string? normalizedName,
        CancellationToken cancellationToken
    )
    {
        user.NormalizedUserName = normalizedName;
        return Task.CompletedTask;
    }

    public Task SetSecurityStampAsync(IdentityUser user, string stamp, CancellationToken cancellationToken)
    {
        user.SecurityStamp = stamp;
        return Task.CompletedTask;
    }

    public Task SetUserNameAsync(IdentityUser user, string? userName, CancellationToken cancellationToken)
    {
        user.UserName = userName;
        return Task.CompletedTask;
    }

    public Task<IdentityResult> UpdateAsync(IdentityUser user, CancellationToken cancellationToken) =>
        Task.FromResult(IdentityResult.Success);

    public void Dispose() { }
}
