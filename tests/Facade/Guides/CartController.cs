using Microsoft.AspNetCore.Mvc;
using Session.CSharp;

namespace Facade.Guides;

/// <summary>The controller of docs/SETTINGS.md.</summary>
[Route("shop/cart")]
public class CartController : Controller
{
    [HttpPost("{item}"), RequireSession<Cart>(SignedIn = true)]
    public async Task<IActionResult> Add(string item, Session<Cart> session)
    {
        await session.UpdateAsync(cart => new Cart(item, (cart?.Count ?? 0) + 1));
        return RedirectToAction(nameof(Show));
    }

    [HttpGet]
    public string Show(Session<Cart> session) => session.Data?.Item ?? "nothing";
}
