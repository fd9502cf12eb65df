using Microsoft.AspNetCore.Identity;
using Microsoft.AspNetCore.Identity.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore;

namespace Identity;

/// <summary>The users, in their own database.</summary>
public sealed class Users(DbContextOptions<Users> options) : IdentityDbContext<IdentityUser>(options);
