namespace Bench.Shared;

/// <summary>A line of a panel: its points in the order of X.</summary>
public sealed record Line(string Name, string Class, IReadOnlyList<(double X, double Y)> Points);

/// <summary>One panel, both axes logarithmic. Mark: how a place on the axis of X is written.</summary>
public sealed record Panel(
    string Title,
    string X,
    string Y,
    IReadOnlyList<Line> Lines,
    Func<double, string>? Mark = null
);

/// <summary>Panels one below the other.</summary>
public static class LineChart
{
    private const int Width = 860;
    private const int Left = 80;
    private const int Right = 190;
    private const int Height = 280;
    private const int Top = 44;
    private const int Bottom = 48;

    public static string Of(string label, IReadOnlyList<Panel> panels)
    {
        var svg = new Svg(Width, Height * panels.Count, label);
        for (var i = 0; i < panels.Count; i++)
            Draw(svg, panels[i], i * Height);
        return svg.ToString();
    }

    private static void Draw(Svg svg, Panel panel, int top)
    {
        var points = panel.Lines.SelectMany(line => line.Points).ToArray();
        if (points.Length == 0)
            return;
        var (x0, x1) = (Math.Log10(points.Min(p => p.X)), Math.Log10(points.Max(p => p.X)));
        var (y0, y1) = (Math.Floor(Math.Log10(points.Min(p => p.Y))), Math.Ceiling(Math.Log10(points.Max(p => p.Y))));
        (x1, y1) = (Math.Max(x1, x0 + 0.1), Math.Max(y1, y0 + 1));
        var (floor, ceiling) = (top + Height - Bottom, top + Top);
        double X(double x) => Left + (Math.Log10(x) - x0) / (x1 - x0) * (Width - Left - Right);
        double Y(double y) => floor - (Math.Log10(y) - y0) / (y1 - y0) * (floor - ceiling);

        svg.Add($"<text class=\"title\" x=\"16\" y=\"{top + 24}\">{panel.Title}</text>\n");
        svg.Add($"<text class=\"soft\" x=\"{Width - 16}\" y=\"{top + 24}\" text-anchor=\"end\">{panel.Y}</text>\n");
        for (var power = y0; power <= y1; power++)
        {
            var value = Math.Pow(10, power);
            svg.Add($"<path class=\"axis\" d=\"M{Left} {Y(value):0.#}H{Width - Right}\"/>\n");
            svg.Add(
                $"<text class=\"soft\" x=\"{Left - 8}\" y=\"{Y(value) + 4:0.#}\" text-anchor=\"end\">{Short(value)}</text>\n"
            );
        }
        foreach (var x in points.Select(p => p.X).Distinct().Order())
            svg.Add(
                $"<text class=\"soft\" x=\"{X(x):0.#}\" y=\"{floor + 18}\" text-anchor=\"middle\">{(panel.Mark ?? Short)(x)}</text>\n"
            );
        svg.Add(
            $"<text class=\"soft\" x=\"{(Left + Width - Right) / 2}\" y=\"{floor + 36}\" text-anchor=\"middle\">{panel.X}</text>\n"
        );

        // Where two lines end beside each other their names make room.
        var last = double.NegativeInfinity;
        foreach (var line in panel.Lines.Where(line => line.Points.Count > 0).OrderBy(line => Y(line.Points[^1].Y)))
        {
            var path = string.Join(
                'L',
                line.Points.Select(p => FormattableString.Invariant($"{X(p.X):0.#} {Y(p.Y):0.#}"))
            );
            svg.Add($"<path class=\"line {line.Class}\" d=\"M{path}\"/>\n");
            last = Math.Max(Y(line.Points[^1].Y) + 4, last + 16);
            svg.Add($"<text x=\"{X(line.Points[^1].X) + 8:0.#}\" y=\"{last:0.#}\">{line.Name}</text>\n");
        }
    }

    private static string Short(double value) =>
        value switch
        {
            >= 1_000_000 => FormattableString.Invariant($"{value / 1e6:0.##}M"),
            >= 1_000 => FormattableString.Invariant($"{value / 1e3:0.##}k"),
            _ => FormattableString.Invariant($"{value:0.###}"),
        };
}
