using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;
using Session.CSharp;

namespace Pages;

/// <summary>A page whose handler takes the session as a parameter. Its tests send no form, and so no token of one.</summary>
[IgnoreAntiforgeryToken]
public sealed class BasketModel : PageModel
{
    public async Task<IActionResult> OnPostAsync(string item, Session<Basket> session)
    {
        await session.UpdateAsync(_ => new Basket(item));
        return new NoContentResult();
    }
}
