using Bench.Shared;

namespace Bench.Runner;

/// <summary>One of those that are compared.</summary>
internal sealed record Variant(string Name, string Title, Variant.Store Keeps, bool OnNode = false)
{
    internal enum Store
    {
        Nothing,
        Memory,
        File,
        Redis,
    }

    public static IReadOnlyList<Variant> All { get; } =
    [
        new("none", "no session", Store.Nothing),
        new("json", "no session, but the JSON of the cart", Store.Nothing),
        new("ours-memory", "this library, memory", Store.Memory),
        new("builtin-memory", "Microsoft.AspNetCore.Session, memory", Store.Memory),
        new("ours-sqlite", "this library, SQLite", Store.File),
        new("redis-bare", "bare GET / GET and SET (the limit)", Store.Redis),
        new("redis-swap", "the same, but SET only if nothing has changed (a script)", Store.Redis),
        new("ours-redis", "this library, Redis", Store.Redis),
        new("builtin-redis", "Microsoft.AspNetCore.Session, Redis", Store.Redis),
        new("express", "express-session and connect-redis on Node", Store.Redis, OnNode: true),
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
