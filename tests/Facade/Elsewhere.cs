using Facade;
using Xunit;

[assembly: AssemblyFixture(typeof(Elsewhere))]

namespace Facade;

/// <summary>
/// Tests run in an empty folder: xUnit starts them where they lie, and a host would read the appsettings.json of a sample that
/// lies there, too.
/// </summary>
public sealed class Elsewhere : IDisposable
{
    private readonly string _before = Directory.GetCurrentDirectory();
    private readonly DirectoryInfo _empty = Directory.CreateTempSubdirectory("session-facade-");

    public Elsewhere() => Directory.SetCurrentDirectory(_empty.FullName);

    public void Dispose()
    {
        Directory.SetCurrentDirectory(_before);
        _empty.Delete(recursive: true);
    }
}
