var builder = WebApplication.CreateBuilder(args);
builder.Services.AddSession<Cart>(o => o.IdleTimeout = TimeSpan.FromMinutes(30)).UseSqlite("sessions.db");
var app = builder.Build();
app.UseSession<Cart>();

app.MapPost("/cart/{sku}", (string sku, Session<Cart> s) => s.UpdateAsync(c => new Cart([.. c?.Items ?? [], sku])));
app.MapGet("/cart", (Session<Cart> s) => s.Data ?? new Cart([]));

// After your own check of the password.
app.MapPost("/login", (Login l, Session<Cart> s) => s.SignInAsync(l.User, s.Data ?? new Cart([])));
app.MapGet("/me", (Session<Cart> s) => s.Subject).RequireSignIn<Cart>();
app.MapPost("/logout", (Session<Cart> s) => s.DestroyAsync());
app.Run();

record Cart(string[] Items);

record Login(string User);
