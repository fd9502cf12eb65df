using System.Diagnostics;
using System.Text.RegularExpressions;

namespace Facade;

/// <summary>A program of this repository that was built with the tests, as a process of its own in a folder of its own.</summary>
internal sealed partial class Launched : IAsyncDisposable
{
    private readonly Process _program;

    private Launched(Process program, Uri address) => (_program, Address) = (program, address);

    public Uri Address { get; }

    public static async Task<Launched> StartAsync(string name, string folder, params string[] arguments)
    {
        var file = Repository.Under("artifacts", "bin", name, "release", name + ".dll");
        if (!File.Exists(file))
            file = file.Replace("release", "debug", StringComparison.Ordinal);
        if (!File.Exists(file))
            throw new InvalidOperationException($"{name} is not built: {file}");

        var info = new ProcessStartInfo("dotnet")
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = folder,
            ArgumentList = { file, "--urls", "http://127.0.0.1:0" },
        };
        foreach (var argument in arguments)
            info.ArgumentList.Add(argument);
        // Where it listens is said on the console, which samples have to be quiet on.
        info.Environment["Logging__Console__LogLevel__Default"] = "Information";
        var program = Process.Start(info)!;
        var address = new TaskCompletionSource<Uri>(TaskCreationOptions.RunContinuationsAsynchronously);
        var said = new List<string>();
        void Hear(string? line)
        {
            if (line is null)
                return;

            lock (said)
                said.Add(line);

            if (Listening().Match(line) is { Success: true } found)
                address.TrySetResult(new Uri(found.Groups[1].Value));
        }

        program.OutputDataReceived += (_, line) => Hear(line.Data);
        program.ErrorDataReceived += (_, line) => Hear(line.Data);
        program.BeginOutputReadLine();
        program.BeginErrorReadLine();
        try
        {
            return new Launched(program, await address.Task.WaitAsync(TimeSpan.FromMinutes(2)));
        }
        catch (TimeoutException)
        {
            program.Kill(true);
            throw new InvalidOperationException($"{name} did not start: " + string.Join('\n', said));
        }
    }

    public async ValueTask DisposeAsync()
    {
        _program.Kill(true);
        await _program.WaitForExitAsync();
        _program.Dispose();
    }

    [GeneratedRegex(@"Now listening on: (http://\S+)")]
    private static partial Regex Listening();
}
