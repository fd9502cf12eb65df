using System.Globalization;
using Circuits;
using Microsoft.AspNetCore.DataProtection;
using Session.CSharp;
using Session.Engine;
using Session.Stores.Sqlite;

var builder = WebApplication.CreateBuilder(args);
var data = builder.Configuration["data"]!;
var liveCheck = TimeSpan.Parse(builder.Configuration["live-check"]!, CultureInfo.InvariantCulture);
var hearsNotices = builder.Configuration.GetValue<bool>("notices");

// What its nodes share: the file of the sessions, and the keys.
builder.Services.AddDataProtection().PersistKeysToFileSystem(new DirectoryInfo(Path.Combine(data, "keys")));
AddSession<Member>("member");
AddSession<Cart>("cart");
builder.Services.AddAuthentication().AddSession<Member>();
builder.Services.AddAuthorization();
builder.Services.AddAntiforgery();
builder.Services.AddCascadingAuthenticationState();
builder
    .Services.AddRazorComponents()
    .AddInteractiveServerComponents()
    .AddSessionLifetime<Member>()
    .AddSessionLifetime<Cart>();
builder.Services.AddSingleton<Seen>();

var app = builder.Build();
app.UseSession<Member>();
app.UseSession<Cart>();
app.UseAuthentication();
app.UseAuthorization();
app.UseAntiforgery();
app.MapStaticAssets();
app.MapRazorComponents<App>().AddInteractiveServerRenderMode();

app.MapGet("/plain", () => Results.Content("<!DOCTYPE html><title>plain</title>", "text/html"));
app.MapGet("/seen", (Seen seen) => $"{seen.Presses} {seen.Resumed}");

app.MapPost("/member/sign-in", (string user, Session<Member> session) => session.SignInAsync(user, new Member(user)));
app.MapPost("/member/regenerate", (Session<Member> session) => session.RegenerateAsync());
app.MapPost("/member/sign-out", (Session<Member> session) => session.DestroyAsync());
app.MapPost(
    "/member/everywhere",
    (Session<Member> session, SessionManager<Member> sessions) => sessions.DestroyAllAsync(session.Subject!)
);
app.MapPost("/cart/begin", (Session<Cart> session) => session.CreateAsync(new Cart("apple")));
app.MapPost("/cart/end", (Session<Cart> session) => session.DestroyAsync());

app.Run();

void AddSession<T>(string name)
    where T : class =>
    builder
        .Services.AddSession<T>(o =>
        {
            o.LiveCheck = liveCheck;
            // Plain HTTP, as on a developer's machine.
            o.Cookie.Name = name;
            o.Cookie.SecurePolicy = CookieSecurePolicy.SameAsRequest;
        })
        .UseStore(_ =>
        {
            var store = new SqliteStore(
                new SqliteStoreOptions { Path = Path.Combine(data, "sessions.db"), Table = name + "s" }
            );
            return hearsNotices ? store : new DeafStore(store);
        });
