/// The pages, as text. What comes from outside is encoded.
[<RequireQualifiedAccess>]
module SessionWeb1.Pages

open System.Net
open System.Threading.Tasks
open Microsoft.AspNetCore.Http

let private page (body: string) (ctx: HttpContext) : Task =
    ctx.Response.ContentType <- "text/html; charset=utf-8"

    ctx.Response.WriteAsync
        $"""<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Shop</title>{body}</html>"""

let home (user: string option) (cart: Cart) =
    let items = cart.Items |> List.map (fun item -> $"<li>{WebUtility.HtmlEncode item}</li>") |> String.concat ""

    let who =
        match user with
        | None -> """<p><a href="/login">Sign in</a></p>"""
        | Some user ->
            $"""
            <p>{WebUtility.HtmlEncode user}, <a href="/devices">your devices</a></p>
            <form method="post" action="/logout"><button>Sign out</button></form>
            """

    page
        $"""
        <h1>Shop</h1>
        <ul>{items}</ul>
        <form method="post" action="/cart/tea"><button>Tea</button></form>
        <form method="post" action="/cart/cake"><button>Cake</button></form>
        {who}
        """

let login (wrong: string option) (ctx: HttpContext) =
    let word =
        match wrong with
        | None -> ""
        | Some wrong ->
            ctx.Response.StatusCode <- StatusCodes.Status400BadRequest
            $"""<p role="alert">{WebUtility.HtmlEncode wrong}</p>"""

    page
        $"""
        <h1>Sign in</h1>
        {word}
        <form method="post">
          <label>Name <input name="user" autocomplete="username"></label>
          <label>Password <input name="password" type="password" autocomplete="current-password"></label>
          <button>Sign in</button>
        </form>
        """
        ctx
