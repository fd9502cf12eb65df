namespace Bench.Runner;

/// <summary>Where things are: everything by the folder of the repository.</summary>
internal sealed class Workshop : IDisposable
{
    private readonly string _root;

    public Workshop(bool quick)
    {
        var folder = new DirectoryInfo(AppContext.BaseDirectory);
        while (folder is not null && !File.Exists(Path.Combine(folder.FullName, "Session.slnx")))
            folder = folder.Parent;
        _root = folder?.FullName ?? throw new InvalidOperationException("The repository is not above this program.");
        Scratch = Directory.CreateTempSubdirectory("session-bench-").FullName;
        // Short rounds are for checking the tool: they leave the published figures alone.
        Output = quick ? Path.Combine(_root, "artifacts", "bench") : Path.Combine(_root, "bench");
        Directory.CreateDirectory(Fragments);
    }

    /// <summary>For this run only.</summary>
    public string Scratch { get; }

    /// <summary>Gets RESULTS.md and its charts.</summary>
    public string Output { get; }

    public string Fragments => Path.Combine(Output, "results");
    public string PublishedFragments => Path.Combine(_root, "bench", "results");
    public string CookiesScript => Path.Combine(_root, "bench", "cookies.lua");
    public string NodeServer => Path.Combine(_root, "bench", "node", "server.js");
    public string NodeModules => Path.Combine(_root, "bench", "node", "node_modules");

    /// <summary>Of the same configuration as this program.</summary>
    public string WebAssembly
    {
        get
        {
            var configuration = Path.GetFileName(AppContext.BaseDirectory.TrimEnd(Path.DirectorySeparatorChar));
            return Path.Combine(_root, "artifacts", "bin", "Web", configuration, "Web.dll");
        }
    }

    public void Dispose() => Directory.Delete(Scratch, recursive: true);
}
