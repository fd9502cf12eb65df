using System.Net;

var builder = WebApplication.CreateBuilder(args);
builder.Services.AddSession<Visit>().UseSqlite("sessions.db");
builder.Services.AddAuthentication().AddSession<Visit>(o => o.LoginPath = "/login");
builder.Services.AddAuthorization();

var app = builder.Build();
app.UseSession<Visit>();

app.MapGet("/", (Session<Visit> session) => Home(session)).RequireAuthorization();
app.MapGet(
    "/login",
    () =>
        Page(
            """<form method="post">Name <input name="user"> Password <input name="password" type="password"> <button>Sign in</button></form>"""
        )
);

app.MapPost(
    "/login",
    async (HttpContext context, Session<Visit> session) =>
    {
        var form = await context.Request.ReadFormAsync();
        var user = form["user"].ToString();
        // Your own check of the password goes here.
        if (user == "" || form["password"] != "tea")
            return Results.LocalRedirect("/login");

        await session.SignInAsync(user, new Visit(0));
        return Results.LocalRedirect("/");
    }
);

app.MapPost(
        "/click",
        async (Session<Visit> session) =>
        {
            await session.UpdateAsync(visit => new Visit((visit?.Clicks ?? 0) + 1));
            return Results.LocalRedirect("/");
        }
    )
    .RequireAuthorization();

app.MapPost(
    "/logout",
    async (Session<Visit> session) =>
    {
        await session.DestroyAsync();
        return Results.LocalRedirect("/login");
    }
);

app.Run();

static IResult Page(string body) => Results.Content($"<!doctype html><title>Quick start</title>{body}", "text/html");

static IResult Home(Session<Visit> session) =>
    Page(
        $"""
        <p>{WebUtility.HtmlEncode(session.Subject)}, {session.Data?.Clicks} clicks</p>
        <form method="post" action="/click"><button>Click</button></form>
        <form method="post" action="/logout"><button>Sign out</button></form>
        """
    );

record Visit(int Clicks);
