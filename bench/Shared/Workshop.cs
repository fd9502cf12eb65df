namespace Bench.Shared;

/// <summary>Where things are: everything by the folder of the repository.</summary>
public sealed class Workshop : IDisposable
{
    private readonly string _root;

    public Workshop(bool quick)
    {
        var folder = new DirectoryInfo(AppContext.BaseDirectory);
        while (folder is not null && !File.Exists(Path.Combine(folder.FullName, "Session.slnx")))
            folder = folder.Parent;
        _root = folder?.FullName ?? throw new InvalidOperationException("The repository is not above this program.");
        Scratch = Leftovers.NewFolder();
        // Short rounds are for checking the tool: they leave the published figures alone.
        Output = quick ? Path.Combine(_root, "artifacts", "bench") : Path.Combine(_root, "bench");
        Directory.CreateDirectory(Fragments);
        Directory.CreateDirectory(Artifacts);
    }

    /// <summary>For this run only.</summary>
    public string Scratch { get; }

    /// <summary>Gets RESULTS.md and its charts.</summary>
    public string Output { get; }

    public string Fragments => Path.Combine(Output, "results");

    /// <summary>For logs, and for what the measuring tools leave behind.</summary>
    public string Artifacts => Path.Combine(_root, "artifacts", "bench");

    /// <summary>A file of a part: of this run, or the published one where a short run has made none; null: of neither.</summary>
    public string? Find(string name) =>
        new[] { Fragments, Path.Combine(_root, "bench", "results") }
            .Select(folder => Path.Combine(folder, name))
            .FirstOrDefault(File.Exists);

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

    public void Dispose() => Leftovers.Remove(Scratch);
}
