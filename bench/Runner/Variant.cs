using Bench.Shared;

namespace Bench.Runner;

/// <summary>One of those that are compared.</summary>
internal sealed record Variant(
    string Name,
    string Title,
    Variant.Store Keeps,
    Variant.Role Is = Variant.Role.Peer,
    bool OnNode = false
)
{
    internal enum Store
    {
        Nothing,
        Memory,
        File,
        Redis,
        Postgres,
    }

    internal enum Role
    {
        Peer,
        Ours,

        /// <summary>What no session can be faster than.</summary>
        Limit,
    }

    public static IReadOnlyList<Variant> All { get; } =
    [
        new("none", "no session", Store.Nothing, Role.Limit),
        new("json", "no session, but the JSON of the cart", Store.Nothing, Role.Limit),
        new("ours-memory", "this library, memory", Store.Memory, Role.Ours),
        new("builtin-memory", "Microsoft.AspNetCore.Session, memory", Store.Memory),
        new("ours-sqlite", "this library, SQLite", Store.File, Role.Ours),
        new("redis-bare", "bare GET / GET and SET, the driver as it comes", Store.Redis, Role.Limit),
        new(
            "redis-swap",
            "what this library asks of Redis, with nothing around it: bare GET / GET and compare-and-set, the driver's I/O on the thread pool",
            Store.Redis,
            Role.Limit
        ),
        new("ours-redis", "this library, Redis", Store.Redis, Role.Ours),
        new("builtin-redis", "Microsoft.AspNetCore.Session, Redis", Store.Redis),
        new("compat-redis", "HttpContext.Session on this library, Redis", Store.Redis, Role.Ours),
        new("express", "express-session and connect-redis on Node", Store.Redis, OnNode: true),
        new(
            "postgres-bare",
            "bare SELECT / SELECT and versioned UPDATE in a table like this library's, the driver as it comes, commits as those of our routine writes",
            Store.Postgres,
            Role.Limit
        ),
        new(
            "postgres-tuned",
            "the same with prepared statements, on connections that are not reset: what this library asks of PostgreSQL, with nothing around it",
            Store.Postgres,
            Role.Limit
        ),
        new("ours-postgres", "this library, PostgreSQL", Store.Postgres, Role.Ours),
        new("express-pg", "express-session and connect-pg-simple on Node", Store.Postgres, OnNode: true),
    ];

    /// <summary>Those that were measured.</summary>
    public static IEnumerable<Variant> In(Results results) =>
        All.Where(variant => results.Measurements.Any(m => m.Variant == variant.Name));

    public bool HasSessions => Keeps != Store.Nothing;

    /// <summary>What its server process is started with.</summary>
    public string[] Command(Workshop workshop, int port, string place) =>
        OnNode
            ? ["node", workshop.NodeServer, port.ToString(), place]
            : ["dotnet", workshop.WebAssembly, Name, port.ToString(), place];
}
