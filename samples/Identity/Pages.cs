using System.Globalization;
using System.Text.Encodings.Web;
using Microsoft.AspNetCore.Antiforgery;
using Session.CSharp;

namespace Identity;

/// <summary>The pages, as text. Whatever comes from outside goes through <see cref="Text"/>.</summary>
internal static class Pages
{
    public static IResult Home(HttpContext context) =>
        Page(
            context,
            "Welcome",
            """
            <p>ASP.NET Core Identity, with its sessions on the server: what you end here has ended, on every device,
            from its next request on.</p>
            """
        );

    public static IResult Register(HttpContext context, IEnumerable<string>? errors = null) =>
        Page(
            context,
            "New account",
            Errors(errors)
                + Form(
                    context,
                    "/register",
                    """
                    <label>User name <input name="user" autocomplete="username" required autofocus></label>
                    <label>Password <input name="password" type="password" autocomplete="new-password" minlength="12" required></label>
                    <button>Create account</button>
                    """
                )
                + """<p class="aside">There is one already? <a href="/login">Sign in</a></p>"""
        );

    public static IResult Login(HttpContext context, IEnumerable<string>? errors = null) =>
        Page(
            context,
            "Sign in",
            Errors(errors)
                + Form(
                    context,
                    "/login" + context.Request.QueryString,
                    """
                    <label>User name <input name="user" autocomplete="username" required autofocus></label>
                    <label>Password <input name="password" type="password" autocomplete="current-password" required></label>
                    <label class="check"><input name="remember" type="checkbox" value="true"> Stay signed in here</label>
                    <button>Sign in</button>
                    """
                )
                + """<p class="aside">New here? <a href="/register">Create an account</a></p>"""
        );

    public static IResult Devices(HttpContext context, IEnumerable<SessionInfo> devices, SessionId current)
    {
        var rows = string.Concat(
            devices.Select(it =>
                $"""
                <li>
                  <div><strong>{(it.Id == current ? "This browser" : "Another browser")}</strong>
                  <small>signed in {Time(it.AuthenticatedAt ?? it.CreatedAt)} · last seen {Time(
                    it.LastSeen
                )} · until {Time(it.ExpiresAt)}</small></div>
                  {(it.Id == current ? "" : End(it.Id))}
                </li>
                """
            )
        );
        return Page(
            context,
            "Where you are signed in",
            $"""<ul class="devices">{rows}</ul>"""
                + Form(context, "/devices/end-others", """<button class="quiet">End all others</button>""")
        );

        string End(SessionId id) =>
            Form(
                context,
                "/devices/end",
                $"""<input type="hidden" name="id" value="{Text(id.Value)}"><button class="quiet">End</button>"""
            );
    }

    public static IResult Password(HttpContext context, IEnumerable<string>? errors = null) =>
        Page(
            context,
            "New password",
            Errors(errors)
                + Form(
                    context,
                    "/password",
                    """
                    <label>Password <input name="current" type="password" autocomplete="current-password" required></label>
                    <label>New password <input name="next" type="password" autocomplete="new-password" minlength="12" required></label>
                    <button>Change it, and end all other sessions</button>
                    """
                )
        );

    private static IResult Page(HttpContext context, string title, string body)
    {
        var user = context.User.Identity is { IsAuthenticated: true, Name: { } name } ? name : null;
        var links = user is null
            ? """<a href="/login">Sign in</a>"""
            : $"""
                <a href="/devices">Devices</a> <a href="/password">Password</a>
                {Form(context, "/logout", $"<button class=\"quiet\">Sign out {Text(user)}</button>")}
                """;
        return Results.Content(
            $"""
            <!doctype html>
            <html lang="en">
            <head>
              <meta charset="utf-8">
              <meta name="viewport" content="width=device-width, initial-scale=1">
              <title>{title}</title>
              <link rel="stylesheet" href="/site.css">
            </head>
            <body>
              <header><a class="brand" href="/">Identity</a><nav>{links}</nav></header>
              <main><h1>{title}</h1>{body}</main>
            </body>
            </html>
            """,
            "text/html; charset=utf-8"
        );
    }

    private static string Form(HttpContext context, string action, string fields)
    {
        var tokens = context.RequestServices.GetRequiredService<IAntiforgery>().GetAndStoreTokens(context);
        return $"""
            <form method="post" action="{Text(action)}">
              <input type="hidden" name="{tokens.FormFieldName}" value="{tokens.RequestToken}">
              {fields}
            </form>
            """;
    }

    private static string Errors(IEnumerable<string>? errors) =>
        string.Concat((errors ?? []).Select(it => $"""<p class="error" role="alert">{Text(it)}</p>"""));

    private static string Time(DateTimeOffset time) =>
        time.ToString("d MMM yyyy, HH:mm 'UTC'", CultureInfo.InvariantCulture);

    private static string Text(string text) => HtmlEncoder.Default.Encode(text);
}
