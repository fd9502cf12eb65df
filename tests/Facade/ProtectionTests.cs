using System.Text;
using Microsoft.AspNetCore.DataProtection;
using Microsoft.Extensions.DependencyInjection;
using Session.Engine;
using Xunit;

namespace Facade;

public class ProtectionTests
{
    private static readonly byte[] Record = Encoding.UTF8.GetBytes("a record");
    private readonly EphemeralDataProtectionProvider _keys = new();

    private IRecordProtector Of<T>(Func<SessionBuilder, SessionBuilder> protect, IDataProtectionProvider? keys = null)
        where T : class
    {
        var services = new ServiceCollection();
        services.AddSingleton(keys ?? _keys);
        protect(services.AddSession<T>());
        using var provider = services.BuildServiceProvider();
        return provider.GetRequiredKeyedService<IRecordProtector>(typeof(T));
    }

    private byte[] Under(string name) => _keys.CreateProtector(["Session.Record." + name, "1"]).Protect(Record);

    [Fact]
    public void No_purpose_of_new_records_has_the_version_of_an_assembly()
    {
        var recorded = new Recording();
        Of<Dictionary<string, string>>(it => it.ProtectWithDataProtection(), recorded).Protect(Record);
        Assert.DoesNotContain("Version", recorded.Used);
        Assert.Contains("Dictionary", recorded.Used);
    }

    [Fact]
    public void Records_of_the_former_purpose_are_read()
    {
        var protector = Of<Dictionary<string, string>>(it => it.ProtectWithDataProtection());
        Assert.Equal(Record, protector.Unprotect(Under(typeof(Dictionary<string, string>).FullName!)));
        Assert.Equal(Record, protector.Unprotect(protector.Protect(Record)));
        Assert.Null(protector.Unprotect(Under(typeof(Dictionary<string, int>).FullName!)));
        Assert.Null(protector.Unprotect(Record));
    }

    [Fact]
    public void The_purpose_of_other_types_is_as_it_was()
    {
        var cart = Of<Cart>(it => it.ProtectWithDataProtection());
        Assert.Equal(Record, cart.Unprotect(Under("Facade.Cart")));
        Assert.Equal(
            Record,
            _keys.CreateProtector(["Session.Record.Facade.Cart", "1"]).Unprotect(cart.Protect(Record))
        );
    }

    [Fact]
    public void Named_sessions_survive_a_new_name_of_their_type()
    {
        var before = Of<Cart>(it => it.ProtectWithDataProtection("carts"));
        var after = Of<RenamedCart>(it => it.ProtectWithDataProtection("carts"));
        Assert.Equal(Record, after.Unprotect(before.Protect(Record)));

        // What was protected before it had a name is read; not the other way round, and under no other name.
        var unnamed = Of<Cart>(it => it.ProtectWithDataProtection());
        Assert.Equal(Record, before.Unprotect(unnamed.Protect(Record)));
        Assert.Null(unnamed.Unprotect(before.Protect(Record)));
        Assert.Null(Of<Cart>(it => it.ProtectWithDataProtection("others")).Unprotect(before.Protect(Record)));
        Assert.Equal(
            Record,
            Of<Dictionary<string, string>>(it => it.ProtectWithDataProtection("carts"))
                .Unprotect(Under(typeof(Dictionary<string, string>).FullName!))
        );
        Assert.Throws<ArgumentException>(() => Of<Cart>(it => it.ProtectWithDataProtection("")));
    }

    public sealed record RenamedCart(string Item);

    /// <summary>Notes under which purposes something was protected.</summary>
    private sealed class Recording : IDataProtectionProvider
    {
        public string Used { get; private set; } = "";

        public IDataProtector CreateProtector(string purpose) => new Protector(this, purpose);

        private sealed class Protector(Recording all, string purpose) : IDataProtector
        {
            public IDataProtector CreateProtector(string next) => new Protector(all, purpose + "/" + next);

            public byte[] Protect(byte[] plaintext)
            {
                all.Used += purpose;
                return plaintext;
            }

            public byte[] Unprotect(byte[] protectedData) => protectedData;
        }
    }
}
