namespace Facade;

/// <summary>Files of this repository. A copy of the tests elsewhere is told of it by SESSION_REPOSITORY.</summary>
internal static class Repository
{
    private static readonly string _root = Find();

    public static string Under(params string[] names) => Path.Combine([_root, .. names]);

    private static string Find()
    {
        if (Environment.GetEnvironmentVariable("SESSION_REPOSITORY") is { Length: > 0 } told)
            return Path.GetFullPath(told);

        var folder = new DirectoryInfo(AppContext.BaseDirectory);
        while (folder is not null && !File.Exists(Path.Combine(folder.FullName, "Session.slnx")))
            folder = folder.Parent;

        return folder?.FullName ?? throw new InvalidOperationException("The tests are not inside of the repository.");
    }
}
