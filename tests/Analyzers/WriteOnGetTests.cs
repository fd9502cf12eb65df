using Microsoft.CodeAnalysis;
using Session.Analyzers;
using Xunit;

namespace Analyzers;

/// <summary>SESSION004: changes of a session by a GET.</summary>
public class WriteOnGetTests
{
    private static Task LookAsync(string members) =>
        Compiled.FindsAsync<WriteOnGetAnalyzer>(
            $$"""
            {{members}}
            public static class Startup { private static void Main() { } }
            """,
            "SESSION004",
            DiagnosticSeverity.Warning
        );

    private static string Routes(string line) =>
        $$"""
            public static class Routes
            {
                private static async Task<string> Show(Session<Cart> s) { await Task.Yield(); return s.Subject ?? ""; }
                public static void Map(WebApplication app) { {{line}} }
            }
            """;

    [Theory]
    [InlineData(
        "app.MapGet(\"/login/{user}\", (string user, Session<Cart> s) => [|s.SignInAsync(user, Cart.Empty)|]);"
    )]
    [InlineData(
        "app.MapGet(\"/logout\", async (Session<Cart> s) => { await [|s.DestroyAsync()|]; return Results.Redirect(\"/\"); });"
    )]
    [InlineData("app.MapGet(\"/add/{sku}\", (string sku, Session<Cart> s) => [|s.UpdateAsync(c => c!.Add(sku))|]);")]
    [InlineData("app.MapGet(\"/save\", (Session<Cart> s) => [|s.SaveAsync(Cart.Empty)|]);")]
    [InlineData("app.MapGet(\"/up\", (Session<Cart> s) => [|s.RegenerateAsync()|]).RequireSignIn<Cart>();")]
    [InlineData(
        "app.MapGet(\"/end/{id}\", (string id, SessionManager<Cart> m) => [|m.DestroySessionAsync(SessionId.Parse(id))|]);"
    )]
    [InlineData(
        "app.MapGet(\"/all\", async (Session<Cart> s, SessionManager<Cart> m) => await [|m.DestroyAllAsync(s.Subject!)|]);"
    )]
    [InlineData("app.MapGet(\"/every\", async (SessionManager<Cart> m) => await [|m.DestroyEverySessionAsync()|]);")]
    [InlineData(
        "app.MapGet(\"/role/{id}\", (string id, SessionManager<Cart> m) => [|m.UpdateAsync(SessionId.Parse(id), c => c!)|]);"
    )]
    [InlineData("app.MapGroup(\"/a\").MapGet(\"/x\", (Session<Cart> s) => [|s.DestroyAsync()|]);")]
    [InlineData("app.MapMethods(\"/x\", [\"GET\", \"HEAD\"], (Session<Cart> s) => [|s.DestroyAsync()|]);")]
    [InlineData("app.MapMethods(\"/x\", [\"get\"], (Session<Cart> s) => [|s.DestroyAsync()|]);")]
    [InlineData("Task Out(Session<Cart> s) => [|s.DestroyAsync()|]; app.MapGet(\"/x\", Out);")]
    [InlineData(
        "app.MapGet(\"/x\", async context => { var s = await context.GetSessionAsync<Cart>(); await [|s.DestroyAsync()|]; });"
    )]
    public Task It_is_found_in_a_route(string line) => LookAsync(Routes(line));

    [Theory]
    [InlineData(
        "public class Account : Controller { [HttpGet] public Task Logout(Session<Cart> s) => [|s.DestroyAsync()|]; }"
    )]
    [InlineData(
        "public class Account : ControllerBase { [HttpGet(\"/out\")] public async Task<IActionResult> Logout(Session<Cart> s) { await [|s.DestroyAsync()|]; return Ok(); } }"
    )]
    [InlineData(
        "public class Account : Controller { [AcceptVerbs(\"GET\", \"POST\")] public Task Add(Session<Cart> s) => [|s.UpdateAsync(c => c!)|]; }"
    )]
    [InlineData(
        "public class Account : Controller { [AcceptVerbs(\"get\")] public Task Out(Session<Cart> s) => [|s.DestroyAsync()|]; }"
    )]
    [InlineData(
        "public class Account : Controller { [AcceptVerbs(\"Post\", \"Get\")] public Task Out(Session<Cart> s) => [|s.DestroyAsync()|]; }"
    )]
    [InlineData(
        "public class Logout(Session<Cart> s) : PageModel { public Task OnGetAsync() => [|s.DestroyAsync()|]; }"
    )]
    [InlineData(
        "public class Logout(Session<Cart> s) : PageModel { public async Task OnGet() { await [|s.DestroyAsync()|]; } }"
    )]
    [InlineData(
        "public class Logout(Session<Cart> s) : PageModel { public async Task OnGetAllAsync() { await [|s.DestroyAsync()|]; } }"
    )]
    [InlineData(
        "public abstract class Base : PageModel; public class Logout(Session<Cart> s) : Base { public Task OnGet() => [|s.SignInAsync(\"a\", Cart.Empty)|]; }"
    )]
    public Task It_is_found_in_actions_and_pages(string type) => LookAsync(type);

    [Theory]
    [InlineData("app.MapPost(\"/logout\", (Session<Cart> s) => s.DestroyAsync());")]
    [InlineData("app.MapDelete(\"/cart\", (Session<Cart> s) => s.SaveAsync(Cart.Empty));")]
    [InlineData("app.MapGet(\"/cart\", (Session<Cart> s) => s.Data);")]
    [InlineData("app.MapGet(\"/fresh\", (Session<Cart> s) => s.ReloadAsync());")]
    [InlineData(
        "app.MapGet(\"/\", async (Session<Cart> s) => { if (s.Data is null) await s.CreateAsync(Cart.Empty); });"
    )]
    [InlineData("app.MapGet(\"/list\", (Session<Cart> s, SessionManager<Cart> m) => m.ListAsync(s.Subject!));")]
    [InlineData(
        "app.MapGet(\"/back\", (string code, string state, Session<Cart> s) => s.SignInAsync(code, Cart.Empty));"
    )]
    [InlineData("app.MapGet(\"/mail\", (string token, Session<Cart> s) => s.SignInAsync(token, Cart.Empty));")]
    [InlineData("app.MapGet(\"/cas\", (string ticket, Session<Cart> s) => s.SignInAsync(ticket, Cart.Empty));")]
    [InlineData("app.MapGet(\"/back\", (string state, Session<Cart> s) => s.SignInAsync(state, Cart.Empty));")]
    [InlineData("app.MapGet(\"/back\", (string Code, Session<Cart> s) => s.SignInAsync(Code, Cart.Empty));")]
    [InlineData(
        "app.MapGet(\"/back\", async (HttpContext c, Session<Cart> s) => { var who = await c.AuthenticateAsync(\"Outside\"); await s.SignInAsync(who.Principal!.Identity!.Name!, Cart.Empty); });"
    )]
    [InlineData("app.MapGet(\"/x\", (Session<Cart> s) => s.DestroyAsync()).AllowCrossSite();")]
    [InlineData(
        "app.MapGet(\"/x\", (Session<Cart> s) => s.DestroyAsync()).RequireSignIn<Cart>().AllowCrossSite(\"https://a.example\");"
    )]
    [InlineData(
        "app.MapGet(\"/x\", (HttpContext c, Session<Cart> s) => { c.AllowCrossSite(); return s.DestroyAsync(); });"
    )]
    [InlineData("app.MapMethods(\"/x\", [\"POST\", \"PUT\"], (Session<Cart> s) => s.DestroyAsync());")]
    [InlineData("app.MapMethods(\"/x\", [\"GET\", \"POST\"], (Session<Cart> s) => s.DestroyAsync());")]
    [InlineData("app.Map(\"/x\", (Session<Cart> s) => s.DestroyAsync());")]
    [InlineData("app.MapGet(\"/x\", Show);")]
    [InlineData("app.MapGet(\"/x\", (HttpContext c) => c.SignOutAsync());")]
    public Task Routes_are_left_alone(string line) => LookAsync(Routes(line));

    [Theory]
    [InlineData(
        "public class Account : Controller { [HttpPost] public Task Logout(Session<Cart> s) => s.DestroyAsync(); }"
    )]
    [InlineData(
        "public class Account : Controller { [HttpGet] public string Show(Session<Cart> s) => s.Subject ?? \"\"; [HttpPost] public Task Out(Session<Cart> s) => s.DestroyAsync(); }"
    )]
    [InlineData(
        "public class Account : Controller { [AcceptVerbs(\"GET\", \"POST\")] public async Task Add(Session<Cart> s) { if (Request.Method == \"POST\") await s.DestroyAsync(); } }"
    )]
    [InlineData(
        "public class Account : Controller { [HttpGet, AllowCrossSite] public Task Logout(Session<Cart> s) => s.DestroyAsync(); }"
    )]
    [InlineData(
        "[AllowCrossSite] public class Account : Controller { [HttpGet] public Task Logout(Session<Cart> s) => s.DestroyAsync(); }"
    )]
    [InlineData(
        "public class Logout(Session<Cart> s) : PageModel { public void OnGet() { } public Task OnPostAsync() => s.DestroyAsync(); }"
    )]
    [InlineData("public class Logout(Session<Cart> s) : PageModel { public Task OnGettingOut() => s.DestroyAsync(); }")]
    [InlineData("public class Loop(Session<Cart> s) { public Task OnGet() => s.DestroyAsync(); }")]
    [InlineData(
        "public class Account : Controller { [AcceptVerbs(\"POST\", \"PUT\")] public Task Out(Session<Cart> s) => s.DestroyAsync(); }"
    )]
    [InlineData(
        "public class Logout(Session<Cart> s) : PageModel { public Task OnPostAsync() => OnGetOut(); private Task OnGetOut() => s.DestroyAsync(); }"
    )]
    [InlineData(
        "public class Logout(Session<Cart> s) : PageModel { [NonHandler] public Task OnGetOut() => s.DestroyAsync(); }"
    )]
    public Task Actions_and_pages_are_left_alone(string type) => LookAsync(type);
}
