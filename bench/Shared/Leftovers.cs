using System.Diagnostics;
using System.Runtime.InteropServices;

namespace Bench.Shared;

/// <summary>What must not outlive this program, Ctrl-C and kill included: processes, by their id, and then folders.</summary>
public static class Leftovers
{
    private static readonly Lock s_gate = new();
    private static readonly List<Process> s_processes = [];
    private static readonly List<string> s_folders = [];
    private static readonly List<PosixSignalRegistration> s_signals = [];

    /// <summary>To be called first.</summary>
    public static void Watch()
    {
        AppDomain.CurrentDomain.ProcessExit += (_, _) => RemoveAll();
        foreach (var signal in new[] { PosixSignal.SIGINT, PosixSignal.SIGTERM, PosixSignal.SIGHUP })
            s_signals.Add(
                PosixSignalRegistration.Create(
                    signal,
                    context =>
                    {
                        context.Cancel = true;
                        Environment.Exit(130);
                    }
                )
            );
    }

    public static Process Start(ProcessStartInfo start)
    {
        lock (s_gate)
        {
            var process = Process.Start(start)!;
            s_processes.Add(process);
            return process;
        }
    }

    /// <summary>Ends it, if it has not ended by itself.</summary>
    public static async Task EndAsync(Process process)
    {
        lock (s_gate)
            s_processes.Remove(process);
        if (!process.HasExited)
            process.Kill();
        await process.WaitForExitAsync();
        process.Dispose();
    }

    public static string NewFolder()
    {
        lock (s_gate)
        {
            var folder = Directory.CreateTempSubdirectory("session-bench-").FullName;
            s_folders.Add(folder);
            return folder;
        }
    }

    public static void Remove(string folder)
    {
        lock (s_gate)
            if (s_folders.Remove(folder))
                Directory.Delete(folder, recursive: true);
    }

    private static void RemoveAll()
    {
        lock (s_gate)
        {
            foreach (var process in s_processes.Where(process => !process.HasExited))
            {
                process.Kill();
                process.WaitForExit(5000);
            }
            s_processes.Clear();
            foreach (var folder in s_folders.Where(Directory.Exists))
                Directory.Delete(folder, recursive: true);
            s_folders.Clear();
        }
    }
}
