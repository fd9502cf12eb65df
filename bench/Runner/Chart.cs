using System.Globalization;
using System.Text;

namespace Bench.Runner;

/// <summary>Requests per second as bars, one panel for each endpoint, as SVG; light or dark as the reader has it.</summary>
internal static class Chart
{
    private const int Width = 860;
    private const int Left = 150;
    private const int Right = 150;
    private const int Bar = 18;
    private const int Row = 26;
    private const int Head = 44;

    public static string Of(Results results)
    {
        var variants = results.Variants.ToArray();
        var panel = Head + variants.Length * Row + 12;
        var height = panel * Plan.Endpoints.Count + 24;
        var svg = new StringBuilder();
        svg.Append(
            CultureInfo.InvariantCulture,
            $"""
            <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {Width} {height}" width="{Width}" height="{height}" role="img" aria-label="Requests per second by variant and endpoint">

            """
        );
        svg.Append(Style);
        svg.Append(CultureInfo.InvariantCulture, $"<rect class=\"paper\" width=\"{Width}\" height=\"{height}\"/>\n");
        var top = 8;
        foreach (var (endpoint, title) in s_panels)
        {
            Panel(svg, results, variants, endpoint, title, top);
            top += panel;
        }
        return svg.Append("</svg>\n").ToString();
    }

    private const string Style = """
        <style>
          .paper { fill: #ffffff }
          text { font: 13px system-ui, sans-serif; fill: #1f2328 }
          .title { font-weight: 600; font-size: 15px }
          .soft { fill: #59636e }
          .axis { stroke: #d1d9e0 }
          .spread { stroke: #1f2328; stroke-width: 1.5 }
          .ours { fill: #0969da } .peer { fill: #bc4c00 } .limit { fill: #8c959f }
          @media (prefers-color-scheme: dark) {
            .paper { fill: #0d1117 }
            text { fill: #f0f6fc }
            .soft { fill: #9198a1 }
            .axis { stroke: #3d444d }
            .spread { stroke: #f0f6fc }
            .ours { fill: #4493f8 } .peer { fill: #db6d28 } .limit { fill: #6e7681 }
          }
        </style>

        """;

    private static readonly (string, string)[] s_panels =
    [
        ("read", "/read: the session is read"),
        ("write", "/write: the session is changed"),
        ("plain", "/plain: the cookie is sent, the session untouched"),
    ];

    private static void Panel(
        StringBuilder svg,
        Results results,
        IReadOnlyList<Variant> variants,
        string endpoint,
        string title,
        int top
    )
    {
        var rates = variants.Select(v => results.Of(v.Name, endpoint, m => m.PerSecond)!).ToArray();
        var scale = (Width - Left - Right) / rates.Max(rate => rate.Max);
        svg.Append(
            CultureInfo.InvariantCulture,
            $"<text class=\"title\" x=\"16\" y=\"{top + 22}\">{title}</text>\n<text class=\"soft\" x=\"{Width - 16}\" y=\"{top + 22}\" text-anchor=\"end\">requests per second; line: smallest to largest round</text>\n"
        );
        for (var i = 0; i < variants.Count; i++)
        {
            var (y, rate) = (top + Head + i * Row - 8, rates[i]);
            var kind =
                variants[i].Name.StartsWith("ours", StringComparison.Ordinal) ? "ours"
                : variants[i].Name is "none" or "redis-bare" ? "limit"
                : "peer";
            var middle = y + Bar / 2;
            svg.Append(
                CultureInfo.InvariantCulture,
                $"""
                <text x="{Left - 10}" y="{middle + 5}" text-anchor="end">{variants[i].Name}</text>
                <rect class="{kind}" x="{Left}" y="{y}" width="{rate.Median * scale:0.#}" height="{Bar}" rx="2"/>
                <path class="spread" d="M{Left + rate.Min * scale:0.#} {middle}H{Left + rate.Max * scale:0.#}"/>
                <text class="soft" x="{Left + rate.Max * scale + 8:0.#}" y="{middle + 5}">{rate.Median:N0}</text>

                """
            );
        }
        var bottom = top + Head + variants.Count * Row - 8;
        svg.Append(CultureInfo.InvariantCulture, $"<path class=\"axis\" d=\"M{Left} {top + Head - 12}V{bottom}\"/>\n");
    }
}
