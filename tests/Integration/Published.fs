/// A program with the library, published trimmed and as native code: every warning is an error, and it works.
module Integration.Published

open System
open System.IO
open Expecto
open Integration.Http

let private program =
    """using System.Text.Json.Serialization;
using Session.CSharp;

var builder = WebApplication.CreateSlimBuilder(args);
builder.Services.ConfigureHttpJsonOptions(o => o.SerializerOptions.TypeInfoResolverChain.Insert(0, Json.Default));
builder.Services.AddSession(Json.Default.Cart).UseSqlite("sessions.db");
builder.Services.AddAuthorization();

var app = builder.Build();
app.UseSession<Cart>();

app.MapPost("/login/{user}", async (string user, Session<Cart> session) =>
    await session.SignInAsync(user, session.Data ?? new Cart([])));
app.MapPost("/cart/{item}", async (string item, Session<Cart> session) =>
    await session.UpdateAsync(cart => new Cart([.. cart?.Items ?? [], item])));
app.MapGet("/cart", (Session<Cart> session) => session.Data ?? new Cart([]));
app.MapGet("/me", (Session<Cart> session) => session.Subject).RequireSignIn<Cart>();
app.MapPost("/logout", (Session<Cart> session) => session.DestroyAsync());
app.Run();

public sealed record Cart(List<string> Items);

[JsonSerializable(typeof(Cart))]
[JsonSerializable(typeof(string))]
internal sealed partial class Json : JsonSerializerContext;
"""

let private project how =
    $"""<Project Sdk="Microsoft.NET.Sdk.Web">
  <PropertyGroup>
    <TargetFramework>net10.0</TargetFramework>
    <Nullable>enable</Nullable>
    <ImplicitUsings>enable</ImplicitUsings>
    <{how}>true</{how}>
    <InvariantGlobalization>true</InvariantGlobalization>
    <TreatWarningsAsErrors>true</TreatWarningsAsErrors>
    <TrimmerSingleWarn>false</TrimmerSingleWarn>
    <!-- FSharp.Core's own list of what may go names resources that it does not have. -->
    <NoWarn>$(NoWarn);IL2040</NoWarn>
  </PropertyGroup>
  <ItemGroup>
    <PackageReference Include="Session.CSharp" Version="{Packages.version}" />
    <PackageReference Include="Session.Stores.Sqlite" Version="{Packages.version}" />
    <!-- Trimmed, an ASP.NET Core program without sessions does not start either: X509Certificate2Collection loses a method. -->
    <TrimmerRootAssembly Include="System.Security.Cryptography" />
  </ItemGroup>
</Project>
"""

/// Ours from a folder; what publishing needs besides from where this machine has packages from.
let private sources packages =
    $"""<configuration>
  <packageSources>
    <add key="ours" value="{packages}" />
  </packageSources>
</configuration>"""

let private works (program: string) (folder: string) =
    task {
        let port = RedisServer.freePort ()
        let address = Uri $"http://localhost:{port}"

        let running, said = Stranger.start program [ "--urls"; address.ToString(); "--contentRoot"; folder ]

        use running = running

        try
            do! Stranger.answers (running, said) address
            use client = newClient ()
            let! nobody = send client address "GET" "/me" []
            Expect.equal nobody.Status 401 "nobody"
            let! added = send client address "POST" "/cart/tea" []
            Expect.equal (added.Status, added.Body) (200, """{"items":["tea"]}""") "the cart"
            let with' answer = [ "Cookie", $"__Host-sid={token answer}" ]
            let! signedIn = send client address "POST" "/login/ada" (with' added)
            Expect.equal signedIn.Status 200 "signed in"
            let! me = send client address "GET" "/me" (with' signedIn)
            Expect.equal (me.Status, me.Body) (200, "ada") "who it is"
            let! cart = send client address "GET" "/cart" (with' signedIn)
            Expect.equal cart.Body """{"items":["tea"]}""" "and the cart is kept"
            let! _ = send client address "POST" "/logout" (with' signedIn)
            let! me = send client address "GET" "/me" (with' signedIn)
            Expect.equal me.Status 401 "over"
        finally
            running.Kill()
            running.WaitForExit()
    }

let private published (name: string) (how: string) =
    testCaseTask name (fun () ->
        task {
            let work = World.temporaryFolder ()

            try
                let packages, shop = Packages.made.Value, Path.Combine(work, "shop")
                Directory.CreateDirectory shop |> ignore
                File.WriteAllText(Path.Combine(shop, "NuGet.config"), sources packages)
                File.WriteAllText(Path.Combine(shop, "shop.csproj"), project how)
                File.WriteAllText(Path.Combine(shop, "Program.cs"), program)
                // Not among the packages of whoever runs this: they may hold another build of the same version.
                let restored = "-p:RestorePackagesPath=" + Path.Combine(work, "restored")
                let runtime = Runtime.InteropServices.RuntimeInformation.RuntimeIdentifier
                Stranger.dotnet shop [ "publish"; "-v"; "q"; "-r"; runtime; restored; "-o"; "out" ]
                do! works (Path.Combine(shop, "out", "shop")) shop
            finally
                Directory.Delete(work, true)
        })

let all =
    testList
        "published"
        [ published "a trimmed program with sessions has no warnings, and works" "PublishTrimmed"
          published "native code with sessions has no warnings, and works" "PublishAot" ]
