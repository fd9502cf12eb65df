module SessionWeb1.Tests.ShopTests

open System
open System.Net
open Microsoft.AspNetCore.Mvc.Testing
open Microsoft.AspNetCore.TestHost
open Microsoft.Extensions.DependencyInjection
open Session.AspNetCore
open Session.Testing
open SessionWeb1
open Xunit

/// The application as it ships, with its sessions in this process.
let private application () =
    (new WebApplicationFactory<Program>())
        .WithWebHostBuilder(fun builder ->
            builder.ConfigureTestServices(fun services -> services.AddSession<Cart>(id).UseMemory() |> ignore)
            |> ignore)

[<Fact>]
let ``Who has signed in fills the cart and sees the devices`` () =
    task {
        use factory = application ()
        use ada = factory.CreateSignedInClient("ada", { Cart.empty with Items = [ "tea" ] })
        let! _ = ada.PostAsync("/cart/cake", null)
        let! page = ada.GetStringAsync "/"
        Assert.Contains("<li>tea</li><li>cake</li>", page, StringComparison.Ordinal)
        Assert.Contains("ada", page, StringComparison.Ordinal)
        let! devices = ada.GetAsync "/devices"
        Assert.Equal(HttpStatusCode.OK, devices.StatusCode)
    }

[<Fact>]
let ``A session ends after half an hour of silence`` () =
    task {
        let mutable clock = null
        use factory = application().WithFakeClock(&clock)
        use ada = factory.CreateSignedInClient("ada", Cart.empty)
        clock.Advance(TimeSpan.FromMinutes 31L)
        let! page = ada.GetStringAsync "/"
        Assert.DoesNotContain("ada", page, StringComparison.Ordinal)
    }

[<Fact>]
let ``Whoever asks for devices without a sign-in is sent to the login page`` () =
    task {
        use factory = application ()
        use nobody = factory.CreateClient(WebApplicationFactoryClientOptions(AllowAutoRedirect = false))
        let! answer = nobody.GetAsync "/devices"
        Assert.Equal(HttpStatusCode.Redirect, answer.StatusCode)
        Assert.Equal("/login?ReturnUrl=%2Fdevices", string answer.Headers.Location)
    }
