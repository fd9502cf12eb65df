using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Npgsql;
using Session.CSharp;
using Session.Engine;
using Session.Stores.Sqlite;
using Session.Stores.Testing;

namespace Snippets;

/// <summary>What the READMEs of the stores show, word by word: a test compares.</summary>
internal static class StoreSnippets
{
    internal sealed record Cart;

    public static void Sqlite(WebApplicationBuilder builder)
    {
        builder.Services.AddSession<Cart>().UseSqlite("/var/lib/shop/sessions.db");
    }

    public static void SqliteDurably(WebApplicationBuilder builder)
    {
        builder
            .Services.AddSession<Cart>()
            .UseSqlite("/var/lib/shop/sessions.db", options => options.Durability = SqliteDurability.Full);
    }

    public static void Redis(WebApplicationBuilder builder)
    {
        builder.Services.AddSession<Cart>().UseRedis("localhost:6379");
    }

    public static void Moving(WebApplicationBuilder builder)
    {
        builder.Services.AddSession<Cart>().UseRedis("localhost:6379").MigrateFrom(b => b.UseSqlite("sessions.db"));
    }

    public static void Postgres(WebApplicationBuilder builder)
    {
        builder.Services.AddSession<Cart>().UsePostgres("Host=localhost;Database=shop;Username=shop");
    }

    public static async Task PasswordChange(
        SessionManager<Cart> sessions,
        NpgsqlDataSource database,
        string user,
        string password
    )
    {
        await using var connection = await database.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        await SetPasswordAsync(user, password, transaction);
        var ends = await sessions.DestroyAllAsync(user, transaction);
        await ends.CommitAsync();

        static Task SetPasswordAsync(string user, string password, NpgsqlTransaction transaction) => Task.CompletedTask;
    }

    public static void Mongo(WebApplicationBuilder builder)
    {
        builder.Services.AddSession<Cart>().UseMongo("mongodb://db1,db2,db3/shop?replicaSet=rs0");
    }

    public static void DistributedCache(WebApplicationBuilder builder)
    {
        builder.Services.AddDistributedMemoryCache(); // or any other IDistributedCache
        builder.Services.AddSession<Cart>().UseDistributedCache(options => options.KeyPrefix = "shop:session:");
    }

    public static async Task Testing()
    {
        var contract = new StoreContract(
            "MyStore",
            open: _ => Task.FromResult<ISessionStore>(new MemoryStore()), // yours, on an empty place: each test calls it
            new StoreContractOptions { Commands = 10_000 }
        );
        var report = await contract.RunAllAsync();
        Console.WriteLine(report);
    }
}
