using System.Globalization;
using System.Text;

namespace Bench.Connections;

/// <summary>The figures as a fragment of the results.</summary>
internal static class Report
{
    private const double MostMilliseconds = 250;
    private const double MostBytes = 1024;

    public static string Of(ConnectionFigures figures)
    {
        var text = new StringBuilder("## Open connections\n\n");
        text.Append(
            CultureInfo.InvariantCulture,
            $"""
            {figures.Connections:N0} WebSockets of {figures.Sessions:N0} sessions on {Scale.Nodes} nodes, each a process, with one redis-server; {Scale.ConnectionsOfSession} connections of a
            session, spread over the nodes. Then sessions are ended, eight requests at a time, each on one of the nodes. Client, nodes and
            redis-server share the machine's cores.


            """
        );
        Targets(text, figures);
        Ends(text, figures);
        Memory(text, figures);
        Peers(text, figures);
        return text.Append(CultureInfo.InvariantCulture, $"{figures.Machine}\n").ToString();
    }

    private static void Targets(StringBuilder text, ConnectionFigures figures)
    {
        var noticed = figures.Ends.Take(3).ToArray();
        var most =
            figures.Memory.Where(it => it.Variant == Variants.Ours).Max(it => it.Bytes)
            - Bytes(figures, Variants.Unwatched);
        text.Append("| | target | measured | |\n| --- | ---: | ---: | --- |\n");
        Row(
            "connections of ended sessions that are open one `LiveCheck` later",
            "0",
            $"{figures.Ends.Sum(end => end.Survivors):N0} of {figures.Ends.Sum(end => end.Connections):N0}",
            figures.Ends.All(end => end.Survivors == 0)
        );
        Row(
            "connections of other sessions that are closed",
            "0",
            figures.Ends.All(end => end.OthersAnswer) ? "0" : "some",
            figures.Ends.All(end => end.OthersAnswer)
        );
        Row(
            "from the acknowledgement to the close, 99th percentile, ms",
            $"≤ {MostMilliseconds}",
            $"{noticed.Max(end => end.P99):0.0}",
            noticed.All(end => end.P99 <= MostMilliseconds)
        );
        Row(
            "bytes of `Ended` for an open connection, above the same request with its session",
            $"≤ {MostBytes:N0}",
            $"{most:N0}",
            most <= MostBytes
        );
        Row(
            "store commands of a look for each 500 open sessions",
            "≤ 1",
            $"{figures.Looks.CommandsFor500:0.00}",
            figures.Looks.CommandsFor500 <= 1
        );
        text.Append('\n');

        void Row(string what, string target, string measured, bool isMet) =>
            text.Append(
                CultureInfo.InvariantCulture,
                $"| {what} | {target} | **{measured}** | {(isMet ? "pass" : "**missed**")} |\n"
            );
    }

    private static void Ends(StringBuilder text, ConnectionFigures figures)
    {
        text.Append(
            CultureInfo.InvariantCulture,
            $"""
            ### How late

            Milliseconds from the acknowledgement of the end to the close that the client sees; 0: it came before. `LiveCheck` is {Scale.LiveCheck.TotalSeconds} s, so
            that no look comes in between; in the last two lines it is {Scale.ShortLiveCheck.TotalSeconds} s, and the look is what closes. *Cut*: what the nodes hear
            notices by hangs; the ends come spread over one interval. *Stopped*: one of them stands still (`SIGSTOP`) from before the ends until two intervals after; counted are its own
            connections, from when it goes on.

            | | sessions | connections | survivors | p50 | p99 | worst | all others answer |
            | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |

            """
        );
        foreach (var end in figures.Ends)
            text.Append(
                CultureInfo.InvariantCulture,
                $"| {end.What} | {end.Sessions:N0} | {end.Connections:N0} | {end.Survivors:N0} | {end.P50:0.0} | {end.P99:0.0} | {end.Worst:0.0} | {(end.OthersAnswer ? "yes" : "**NO**")} |\n"
            );
        text.Append(
            CultureInfo.InvariantCulture,
            $"\nLooks while nothing happens: {figures.Looks.Commands:N0} commands for {figures.Looks.Records:N0} records, in {figures.Looks.OpenSessions:N0} sessions that are open on each node.\n\n"
        );
    }

    private static void Memory(StringBuilder text, ConnectionFigures figures)
    {
        text.Append(
            """
            ### Bytes of an open connection

            Of the managed heap of one server, after a full collection; the middle of three rounds. A request keeps its session, its data and
            what leads to both for as long as it is open; *`Ended`* is what is new with a connection that ends together with its session, the
            application's linked token included.

            | | connections of a session | bytes | above no session | `Ended` |
            | --- | ---: | ---: | ---: | ---: |

            """
        );
        var (bare, unwatched) = (Bytes(figures, Variants.Bare), Bytes(figures, Variants.Unwatched));
        foreach (var figure in figures.Memory)
            text.Append(
                CultureInfo.InvariantCulture,
                $"| {Name(figure.Variant)} | {figure.ConnectionsOfSession} | {figure.Bytes:N0} | {figure.Bytes - bare:N0} | {(figure.Variant == Variants.Ours ? $"{figure.Bytes - unwatched:N0}" : "")} |\n"
            );
        text.Append('\n');

        static string Name(string variant) =>
            variant switch
            {
                Variants.Bare => "no sessions on the server",
                Variants.Unwatched => "the request has its session",
                _ => "and asks for `Ended`",
            };
    }

    private static double Bytes(ConnectionFigures figures, string variant) =>
        figures.Memory.Single(figure => figure.Variant == variant).Bytes;

    private static void Peers(StringBuilder text, ConnectionFigures figures)
    {
        text.Append(
            CultureInfo.InvariantCulture,
            $"""
            ### Beside the framework's own

            Each session is logged out, on one node and by its own user; {Scale.Patience.TotalSeconds} seconds later:

            | | connections | open | still answering |
            | --- | ---: | ---: | ---: |

            """
        );
        foreach (var peer in figures.Peers)
            text.Append(
                CultureInfo.InvariantCulture,
                $"| {peer.Variant} | {peer.Connections:N0} | {peer.Open:N0} | {peer.Answering:N0} |\n"
            );
        text.Append('\n');
    }
}
