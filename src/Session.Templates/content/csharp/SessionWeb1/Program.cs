using SessionWeb1;

var builder = WebApplication.CreateBuilder(args);
builder.Services.AddSession<Cart>().UseSqlite("sessions.db");
builder.Services.AddAuthentication().AddSession<Cart>(o => o.LoginPath = "/login");
builder.Services.AddAuthorization();
builder.Services.AddAntiforgery();

var app = builder.Build();
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

app.MapPost(
    "/login",
    async (HttpContext context, Session<Cart> session) =>
    {
        var form = await context.Request.ReadFormAsync();
        var user = form["user"].ToString();
        // Your own check of the password goes here.
        if (user == "" || form["password"] != "tea")
            return Results.LocalRedirect("/login");

        // The cart goes along, under a new token.
        var cart = session.Data ?? Cart.Empty;
        await session.SignInAsync(user, cart with { Device = context.Request.Headers.UserAgent.ToString() });
        return Results.LocalRedirect("/");
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
