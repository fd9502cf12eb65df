using System.Text.Encodings.Web;
using Microsoft.AspNetCore.Antiforgery;

namespace Shop;

/// <summary>The login page. Whatever comes from outside is encoded.</summary>
internal static class LoginPage
{
    public static IResult Show(HttpContext context, IAntiforgery forms, string? error = null)
    {
        var token = forms.GetAndStoreTokens(context);
        var note = error is null
            ? """<p class="quiet small">No password: this is a sample, any name works.</p>"""
            : $"""<p class="wrong" role="alert">{Text(error)}</p>""";
        return Results.Content(
            $"""
            <!doctype html>
            <html lang="en">
            <head>
              <meta charset="utf-8">
              <meta name="viewport" content="width=device-width, initial-scale=1">
              <meta name="color-scheme" content="light dark">
              <title>Sign in: Tea Shelf</title>
              <link rel="icon" href="/favicon.svg" type="image/svg+xml">
              <link rel="stylesheet" href="/shop.css">
            </head>
            <body>
              <header class="top"><div class="wide"><a class="brand" href="/"><img src="/favicon.svg" alt="" width="28" height="28">Tea Shelf</a></div></header>
              <main class="card login">
                <h1>Sign in</h1>
                <form method="post" action="/signin{Text(context.Request.QueryString.Value ?? "")}">
                  <input type="hidden" name="{token.FormFieldName}" value="{token.RequestToken}">
                  <div class="field">
                    <label for="user">User name</label>
                    <input id="user" name="user" required maxlength="100" autocomplete="username" autocapitalize="none" spellcheck="false" autofocus>
                  </div>
                  <fieldset>
                    <legend>Role</legend>
                    <div class="choice">
                      <label><input type="radio" name="role" value="customer" checked><span>Customer</span></label>
                      <label><input type="radio" name="role" value="admin"><span>Admin</span></label>
                    </div>
                  </fieldset>
                  <button class="button strong">Sign in</button>
                  {note}
                </form>
              </main>
            </body>
            </html>
            """,
            "text/html; charset=utf-8",
            statusCode: error is null ? StatusCodes.Status200OK : StatusCodes.Status400BadRequest
        );
    }

    private static string Text(string text) => HtmlEncoder.Default.Encode(text);
}
