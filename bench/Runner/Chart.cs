using Bench.Shared;

namespace Bench.Runner;

/// <summary>Requests per second as bars, one panel for each endpoint.</summary>
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
        var variants = Variant.In(results).ToArray();
        var panel = Head + variants.Length * Row + 12;
        var height = panel * Plan.Endpoints.Count + 24;
        var svg = new Svg(Width, height, "Requests per second by variant and endpoint");
        var top = 8;
        foreach (var (endpoint, title) in s_panels)
        {
            Panel(svg, results, variants, endpoint, title, top);
            top += panel;
        }
        return svg.ToString();
    }

    private static readonly (string, string)[] s_panels =
    [
        ("read", "/read: the session is read"),
        ("write", "/write: the session is changed"),
        ("plain", "/plain: the cookie is sent, the session untouched"),
    ];

    private static void Panel(
        Svg svg,
        Results results,
        IReadOnlyList<Variant> variants,
        string endpoint,
        string title,
        int top
    )
    {
        var rates = variants.Select(v => results.Of(v.Name, endpoint, m => m.PerSecond)!).ToArray();
        var scale = (Width - Left - Right) / rates.Max(rate => rate.Max);
        svg.Add(
            $"<text class=\"title\" x=\"16\" y=\"{top + 22}\">{title}</text>\n<text class=\"soft\" x=\"{Width - 16}\" y=\"{top + 22}\" text-anchor=\"end\">requests per second; line: smallest to largest round</text>\n"
        );
        for (var i = 0; i < variants.Count; i++)
        {
            var (y, rate) = (top + Head + i * Row - 8, rates[i]);
            var kind = variants[i].Is.ToString().ToLowerInvariant();
            var middle = y + Bar / 2;
            svg.Add(
                $"""
                <text x="{Left - 10}" y="{middle + 5}" text-anchor="end">{variants[i].Name}</text>
                <rect class="{kind}" x="{Left}" y="{y}" width="{rate.Median * scale:0.#}" height="{Bar}" rx="2"/>
                <path class="spread" d="M{Left + rate.Min * scale:0.#} {middle}H{Left + rate.Max * scale:0.#}"/>
                <text class="soft" x="{Left + rate.Max * scale + 8:0.#}" y="{middle + 5}">{rate.Median:N0}</text>

                """
            );
        }
        var bottom = top + Head + variants.Count * Row - 8;
        svg.Add($"<path class=\"axis\" d=\"M{Left} {top + Head - 12}V{bottom}\"/>\n");
    }
}
