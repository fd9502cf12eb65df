using System.Collections.Immutable;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Session.CSharp;

namespace Integration.App.Readme;

/// <summary>The C# of the README: compiling it is a test.</summary>
public static class Readme
{
    public static WebApplication Create(string[] args)
    {
        var builder = WebApplication.CreateBuilder(args);
        builder.Services.AddSession<Cart>(o => o.IdleTimeout = TimeSpan.FromMinutes(30)).UseSqlite("sessions.db");
        var app = builder.Build();
        app.UseSession<Cart>();

        app.MapPost("/cart/{sku}", (string sku, Session<Cart> s) => s.UpdateAsync(c => (c ?? Cart.Empty).Add(sku)));
        app.MapGet("/cart", (Session<Cart> s) => s.Data ?? Cart.Empty);
        app.MapPost("/login", (Login l, Session<Cart> s) => s.SignInAsync(l.User, s.Data ?? Cart.Empty));
        app.MapGet("/me", (Session<Cart> s) => s.Subject).RequireSession<Cart>();
        app.MapPost("/logout", (Session<Cart> s) => s.DestroyAsync());

        return app;
    }
}

public sealed record Login(string User);

public sealed record Cart(ImmutableArray<string> Items)
{
    public static Cart Empty { get; } = new([]);

    public Cart Add(string sku) => new(Items.Add(sku));
}
