using System.Globalization;
using System.Text;

namespace Bench.Shared;

/// <summary>A drawing as text; light or dark as the reader has it.</summary>
public sealed class Svg
{
    private readonly StringBuilder _text = new();

    public Svg(int width, int height, string label)
    {
        Add(
            $"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\" aria-label=\"{label}\">\n"
        );
        _text.Append(Style);
        Add($"<rect class=\"paper\" width=\"{width}\" height=\"{height}\"/>\n");
    }

    private const string Style = """
        <style>
          .paper { fill: #ffffff }
          text { font: 13px system-ui, sans-serif; fill: #1f2328 }
          .title { font-weight: 600; font-size: 15px }
          .soft { fill: #59636e }
          .axis { stroke: #d1d9e0; fill: none }
          .spread { stroke: #1f2328; stroke-width: 1.5 }
          .ours { fill: #0969da } .peer { fill: #bc4c00 } .limit { fill: #8c959f }
          .line { fill: none; stroke-width: 2 }
          .first { stroke: #0969da } .second { stroke: #1a7f37 } .third { stroke: #bc4c00 }
          .dash { stroke-dasharray: 5 4 }
          @media (prefers-color-scheme: dark) {
            .paper { fill: #0d1117 }
            text { fill: #f0f6fc }
            .soft { fill: #9198a1 }
            .axis { stroke: #3d444d }
            .spread { stroke: #f0f6fc }
            .ours { fill: #4493f8 } .peer { fill: #db6d28 } .limit { fill: #6e7681 }
            .first { stroke: #4493f8 } .second { stroke: #3fb950 } .third { stroke: #db6d28 }
          }
        </style>

        """;

    /// <summary>Numbers with a point, whatever the machine's language.</summary>
    public void Add(FormattableString text) => _text.Append(text.ToString(CultureInfo.InvariantCulture));

    public override string ToString() => _text + "</svg>\n";
}
