using System.Net;

namespace SessionWeb1;

/// <summary>The pages, as text. What comes from outside is encoded.</summary>
public static class Pages
{
    public static IResult Home(string? user, Cart cart) =>
        Page(
            $"""
            <h1>Shop</h1>
            <ul>{string.Concat(cart.Items.Select(item => $"<li>{WebUtility.HtmlEncode(item)}</li>"))}</ul>
            <form method="post" action="/cart/tea"><button>Tea</button></form>
            <form method="post" action="/cart/cake"><button>Cake</button></form>
            {(user is null ? SignIn : SignedIn(user))}
            """
        );

    public static IResult Login(string? wrong = null) =>
        Page(
            $"""
            <h1>Sign in</h1>
            {(wrong is null ? "" : $"""<p role="alert">{WebUtility.HtmlEncode(wrong)}</p>""")}
            <form method="post">
              <label>Name <input name="user" autocomplete="username"></label>
              <label>Password <input name="password" type="password" autocomplete="current-password"></label>
              <button>Sign in</button>
            </form>
            """,
            wrong is null ? StatusCodes.Status200OK : StatusCodes.Status400BadRequest
        );

    private const string SignIn = """<p><a href="/login">Sign in</a></p>""";

    private static string SignedIn(string user) =>
        $"""
            <p>{WebUtility.HtmlEncode(user)}, <a href="/devices">your devices</a></p>
            <form method="post" action="/logout"><button>Sign out</button></form>
            """;

    private static IResult Page(string body, int status = StatusCodes.Status200OK) =>
        Results.Content(
            $"""<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Shop</title>{body}</html>""",
            "text/html; charset=utf-8",
            statusCode: status
        );
}
