using System.Reflection;
using Microsoft.Extensions.Options;
using Session.AspNetCore;
using Session.CSharp;
using Xunit;

namespace Facade;

/// <summary>What this library gives an application may stand in the application's data: it is refused at start, or comes back.</summary>
public class LibraryTypeTests
{
    public sealed record Held<T>(T Value);

    public static TheoryData<Type> Types =>
        [
            .. new[]
            {
                typeof(SessionId),
                typeof(SessionService<Cart>),
                typeof(Session.Engine.SessionEngine),
                typeof(Session.Domain.Command),
                typeof(Session.OpenIdConnect.BackChannelLogoutOptions),
            }
                .SelectMany(it => it.Assembly.GetExportedTypes())
                .Where(it => it.IsValueType && !it.IsGenericTypeDefinition && !it.IsByRefLike)
                .Distinct(),
        ];

    [Theory, MemberData(nameof(Types))]
    public void Each_value_that_the_library_gives_is_refused_in_data_or_comes_back(Type type) =>
        typeof(LibraryTypeTests)
            .GetMethod(nameof(Look), BindingFlags.NonPublic | BindingFlags.Static)!
            .MakeGenericMethod(type)
            .Invoke(null, null);

    private static void Look<T>()
        where T : struct
    {
        ISessionSerializer<Held<T>> serializer;
        try
        {
            serializer = SessionSerializer.json<Held<T>>(SessionSettingsModule.defaults);
        }
        catch (OptionsValidationException)
        {
            return;
        }

        // A member that nobody has set.
        var held = new Held<T>(default);
        byte[] written;
        try
        {
            written = serializer.Serialize(held);
        }
        catch (UnwritableSessionDataException)
        {
            return;
        }

        Assert.Equal(held, serializer.Deserialize(written));
    }
}
