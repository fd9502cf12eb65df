using System.Runtime.CompilerServices;

namespace Facade;

/// <summary>The sample runs beside the tests, wherever they were started: its own folder is for those who run it.</summary>
internal static class Samples
{
#pragma warning disable CA2255 // once, before any test
    [ModuleInitializer]
    internal static void Settle()
    {
        Environment.SetEnvironmentVariable("ASPNETCORE_TEST_CONTENTROOT_SHOP", AppContext.BaseDirectory);
        Environment.SetEnvironmentVariable("SHOP_STORE", "memory");
        Environment.SetEnvironmentVariable("Logging__Console__LogLevel__Default", "None");
    }
#pragma warning restore CA2255
}
