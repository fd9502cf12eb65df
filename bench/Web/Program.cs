// One server of the comparison: Web VARIANT PORT [REDIS, FILE or POSTGRES]. The endpoints are the same in each:
//   /plain  touches no session      /read  reads the cart      /write  changes the cart      /new  begins a session
using System.Text.Json;
using Bench.Web;
using Session.CSharp;
using StackExchange.Redis;

var (variant, port) = (args[0], int.Parse(args[1]));

// The connection has the variant's name: that is how its commands are told from those of the others.
var place = args.Length > 2 ? args[2] : "";
var redis = $"{place},name={variant}";

var builder = WebApplication.CreateSlimBuilder();
builder.Logging.ClearProviders();
builder.WebHost.UseUrls($"http://127.0.0.1:{port}");
builder.Services.ConfigureHttpJsonOptions(o => o.SerializerOptions.TypeInfoResolverChain.Insert(0, BenchJson.Default));

// The same settings in all of them: plain HTTP here, so that wrk can send the cookies.
void Ours(Action<Session.Engine.SessionBuilder> store) =>
    store(
        builder.Services.AddSession(
            BenchJson.Default.Cart,
            o => o.Cookie.SecurePolicy = CookieSecurePolicy.SameAsRequest
        )
    );

IDatabase? database = null;
byte[]? swap = null;
BarePostgres? postgres = null;
switch (variant)
{
    case "none":
    case "json":
        break;
    case "redis-bare":
        database = (await ConnectionMultiplexer.ConnectAsync(redis)).GetDatabase();
        break;
    case "redis-swap":
        var pooled = ConfigurationOptions.Parse(redis);
        pooled.SocketManager = SocketManager.ThreadPool;
        database = (await ConnectionMultiplexer.ConnectAsync(pooled)).GetDatabase();
        swap = await database
            .Multiplexer.GetServers()[0]
            .ScriptLoadAsync(
                """
                if redis.call('GETRANGE', KEYS[1], 0, 35) ~= ARGV[1] then return 1 end
                redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
                return 0
                """
            );
        break;
    case "ours-memory":
        Ours(sessions => sessions.UseMemory());
        break;
    case "ours-sqlite":
        Ours(sessions => sessions.UseSqlite(place));
        break;
    case "ours-redis":
        Ours(sessions => sessions.UseRedis(redis));
        break;
    case "postgres-bare":
    case "postgres-tuned":
        postgres = await BarePostgres.OpenAsync(place, isTuned: variant == "postgres-tuned");
        break;
    case "ours-postgres":
        Ours(sessions => sessions.UsePostgres(place));
        break;
    case "compat-redis":
        // Two lines of `builtin-redis` changed, and the cookie for plain HTTP.
        builder
            .Services.AddSessionCompatibility(o => o.Cookie.SecurePolicy = CookieSecurePolicy.SameAsRequest)
            .UseRedis(redis);
        break;
    case "builtin-memory":
        builder.Services.AddDistributedMemoryCache();
        builder.Services.AddSession();
        break;
    case "builtin-redis":
        builder.Services.AddStackExchangeRedisCache(o => o.Configuration = redis);
        builder.Services.AddSession();
        break;
    default:
        Console.Error.WriteLine($"No variant '{variant}'.");
        return 2;
}

var app = builder.Build();
app.MapGet("/allocated", () => GC.GetTotalAllocatedBytes(precise: true).ToString());
app.MapGet("/plain", () => new Answer(0, 3));
var listening = new Listening();
app.MapGet("/listening/{mode}", (string mode) => listening.Switch(mode));

if (variant.StartsWith("ours"))
{
    app.UseSession<Cart>();
    app.MapGet(
        "/new",
        async (Session<Cart> s) =>
        {
            await s.UpdateAsync(c => c ?? Cart.New);
            return Of(s.Data!);
        }
    );
    app.MapGet("/read", (Session<Cart> s) => Of(s.Data!));
    app.MapGet("/write", async (Session<Cart> s) => Of(await s.UpdateAsync(c => c! with { Changes = c.Changes + 1 })));
}
else if (variant.StartsWith("builtin") || variant == "compat-redis")
{
    if (variant == "compat-redis")
        app.UseSessionCompatibility();
    else
        app.UseSession();

    app.MapGet(
        "/new",
        async (HttpContext http) =>
        {
            await http.Session.LoadAsync();
            return Put(http.Session, Cart.New);
        }
    );
    app.MapGet(
        "/read",
        async (HttpContext http) =>
        {
            await http.Session.LoadAsync();
            return Of(Take(http.Session));
        }
    );
    app.MapGet(
        "/write",
        async (HttpContext http) =>
        {
            await http.Session.LoadAsync();
            var cart = Take(http.Session);
            return Put(http.Session, cart with { Changes = cart.Changes + 1 });
        }
    );
}
else if (postgres is not null)
{
    app.MapGet(
        "/new",
        async (HttpContext http) =>
        {
            var key = Guid.NewGuid().ToString("N");
            http.Response.Cookies.Append("sid", key);
            await postgres.InsertAsync(key, Bytes(Cart.New));
            return Of(Cart.New);
        }
    );
    app.MapGet(
        "/read",
        async Task<Answer> (HttpContext http) =>
            Of(Parse((await postgres.ReadAsync(http.Request.Cookies["sid"]!)).Body))
    );
    app.MapGet(
        "/write",
        async (HttpContext http) =>
        {
            var key = http.Request.Cookies["sid"]!;
            var (version, body) = await postgres.ReadAsync(key);
            var cart = Parse(body);
            cart = cart with { Changes = cart.Changes + 1 };
            await postgres.SwapAsync(key, version, Bytes(cart));
            return Of(cart);
        }
    );
}
else if (database is not null)
{
    // The limit: one key of the client's own choice, read, or read and written, with nothing around it.
    app.MapGet(
        "/new",
        async (HttpContext http) =>
        {
            var key = Guid.NewGuid().ToString("N");
            http.Response.Cookies.Append("sid", key);
            return await Store(key, Cart.New);
        }
    );
    // With its type said, or it would be a RequestDelegate, whose answer nobody writes.
    app.MapGet("/read", async Task<Answer> (HttpContext http) => Of(Parse(await Read(http.Request.Cookies["sid"]!))));
    app.MapGet(
        "/write",
        async (HttpContext http) =>
        {
            var key = http.Request.Cookies["sid"]!;
            var stored = await Read(key);
            var cart = Parse(stored);
            cart = cart with { Changes = cart.Changes + 1 };
            return swap is null ? await Store(key, cart) : await Swap(key, stored, cart);
        }
    );
}
else
{
    app.MapGet(
        "/new",
        (HttpContext http) =>
        {
            http.Response.Cookies.Append("sid", Guid.NewGuid().ToString("N"));
            return Of(Cart.New);
        }
    );
    if (variant == "json")
    {
        // What the data alone costs whoever keeps it as JSON.
        var json = Bytes(Cart.New);
        app.MapGet("/read", () => Of(Parse(json)));
        app.MapGet(
            "/write",
            () =>
            {
                var cart = Parse(json);
                var changed = cart with { Changes = cart.Changes + 1 };
                return Bytes(changed).Length > 0 ? Of(changed) : null;
            }
        );
    }
    else
    {
        app.MapGet("/read", () => Of(Cart.New));
        app.MapGet("/write", () => Of(Cart.New with { Changes = 1 }));
    }
}

app.Run();
return 0;

static Answer Of(Cart cart) => new(cart.Changes, cart.Items.Length);

static Cart Parse(byte[] json) => JsonSerializer.Deserialize(json, BenchJson.Default.Cart)!;

static byte[] Bytes(Cart cart) => JsonSerializer.SerializeToUtf8Bytes(cart, BenchJson.Default.Cart);

static Cart Take(ISession session) => Parse(session.Get("cart")!);

static Answer Put(ISession session, Cart cart)
{
    session.Set("cart", Bytes(cart));
    return Of(cart);
}

async Task<byte[]> Read(string key) => (byte[])(await database!.StringGetAsync("bare:" + key))!;

// In place of the set: only if nobody has changed the cart since (its first bytes have the number of changes).
async Task<Answer> Swap(string key, byte[] stored, Cart cart)
{
    RedisKey[] keys = ["bare:" + key];
    RedisValue[] values = [stored.AsMemory(0, 36), Bytes(cart), 1_800_000];
    await database!.ScriptEvaluateAsync(swap!, keys, values);
    return Of(cart);
}

async Task<Answer> Store(string key, Cart cart)
{
    await database!.StringSetAsync("bare:" + key, Bytes(cart), TimeSpan.FromMinutes(30));
    return Of(cart);
}
