using Microsoft.AspNetCore.Http.HttpResults;
using SessionWeb1;

var builder = WebApplication.CreateBuilder(args);

//#if (isConnected)
if (builder.Configuration.GetConnectionString("Sessions") is not { Length: > 0 } connection)
    throw new InvalidOperationException(
        "Set ConnectionStrings:Sessions (in the environment: ConnectionStrings__Sessions) to where the sessions are kept."
    );

//#endif
builder.Services.AddSession<Cart>().UseSqlite("sessions.db");
builder.Services.AddAuthentication().AddSession<Cart>(o => o.LoginPath = "/login");
builder.Services.AddAuthorization();
builder.Services.AddAntiforgery();

var app = builder.Build();

// HSTS: browsers stay with HTTPS. Not on a developer's machine, where other programs share the host name.
if (!app.Environment.IsDevelopment())
    app.UseHsts();

app.UseSession<Cart>();

app.MapGet("/", (Session<Cart> session) => Pages.Home(session.Subject, session.Data ?? Cart.Empty));

app.MapPost(
    "/cart/{item}",
    async (string item, Session<Cart> session) =>
    {
        // Called again on the fresh cart when another request was faster: no side effects in it.
        await session.UpdateAsync(cart => (cart ?? Cart.Empty).Add(item));
        return Results.LocalRedirect("/");
    }
);

app.MapGet("/login", () => Pages.Login());

// Replace this by your own check of the password, with a limit to the tries. A password that everybody knows lets anybody in
// as anybody, so this one counts on a developer's machine only.
bool IsRight(string user, string password)
{
    if (app.Environment.IsDevelopment())
        return user != "" && password == "tea";

    app.Logger.LogError("Nobody can sign in yet: in Program.cs, replace IsRight by your own check of the password.");
    return false;
}

app.MapPost(
    "/login",
    async (string? returnUrl, HttpContext context, Session<Cart> session) =>
    {
        var form = await context.Request.ReadFormAsync();
        var user = form["user"].ToString();
        if (!IsRight(user, form["password"].ToString()))
            return Pages.Login("The name or the password is wrong.");

        // The cart goes along, under a new token.
        var cart = session.Data ?? Cart.Empty;
        await session.SignInAsync(user, cart with { Device = context.Request.Headers.UserAgent.ToString() });
        // Back to the page that asked for a sign-in. Anybody can write a link to the login page: it leads to no other site.
        return Results.LocalRedirect(RedirectHttpResult.IsLocalUrl(returnUrl) ? returnUrl : "/");
    }
);

app.MapPost(
    "/logout",
    async (Session<Cart> session) =>
    {
        await session.DestroyAsync();
        return Results.LocalRedirect("/");
    }
);

// Where the user is signed in, and the end of any of it.
app.MapMySessions<Cart>("/devices", o => o.Describe = (_, cart) => cart?.Device);

app.Run();
