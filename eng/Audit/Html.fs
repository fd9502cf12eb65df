/// HTML as text: small pieces, everything escaped.
module Audit.Html

open System
open System.Net

let escape (text: string) = string (WebUtility.HtmlEncode text)
let count (n: int64) = n.ToString("#,0", Globalization.CultureInfo.InvariantCulture)

let tag name (content: string) = $"<{name}>{content}</{name}>"
let classed name kind (content: string) = $"<{name} class=\"{kind}\">{content}</{name}>"

let badge isGood text = classed "span" (if isGood then "good" else "bad") (escape text)

/// A table; its cells are HTML.
let table (head: string list) (rows: string list list) =
    let cells name row = row |> List.map (tag name) |> String.concat ""

    String.concat
        "\n"
        [ "<table><thead><tr>" + cells "th" (List.map escape head) + "</tr></thead><tbody>"
          for row in rows do
              tag "tr" (cells "td" row)
          "</tbody></table>" ]

/// How often something was met, as a colour: by its order of magnitude.
let heat (n: int64) =
    if n = 0L then
        "<td class=\"never\">never</td>"
    else
        let share = min 1.0 (Math.Log10(float n + 1.0) / 6.0)
        let light = 96.0 - 46.0 * share
        let ink = if light < 68.0 then "#fff" else "#123"
        $"<td class=\"heat\" style=\"background:hsl(205 70%% {light:F0}%%);color:{ink}\">{count n}</td>"

/// Bars to one scale.
let bars (rows: (string * int64) list) =
    let most = rows |> List.map snd |> List.fold max 1L

    let height = 22 * rows.Length + 4

    String.concat
        "\n"
        [ $"<svg viewBox=\"0 0 900 {height}\" role=\"img\">"
          for i, (name, value) in List.indexed rows do
              let y = 22 * i
              let width = max 1.0 (480.0 * float value / float most)
              $"<text x=\"290\" y=\"{y + 15}\" text-anchor=\"end\">{escape name}</text>"
              $"<rect x=\"300\" y=\"{y + 3}\" width=\"{width:F1}\" height=\"16\"/>"
              $"<text x=\"{306.0 + width:F1}\" y=\"{y + 15}\">{count value}</text>"
          "</svg>" ]

let style =
    """
:root { color-scheme: light }
body { font: 15px/1.5 system-ui, sans-serif; color: #123; max-width: 1020px; margin: 2rem auto; padding: 0 1rem }
h1 { margin-bottom: .2rem } h2 { margin-top: 2.4rem; border-bottom: 1px solid #ccd; padding-bottom: .2rem }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; margin: .6rem 0 }
th, td { border: 1px solid #d4dae2; padding: .25rem .5rem; text-align: left; vertical-align: top }
th { background: #eef2f6 } td.heat, td.never { text-align: right; font-variant-numeric: tabular-nums }
td.never { background: #eee; color: #777 }
.verdict { font-size: 1.4rem; padding: .6rem 1rem; border-radius: .4rem; color: #fff }
.verdict.good { background: #1a7f4b } .verdict.bad { background: #b3261e }
span.good { color: #1a7f4b; font-weight: 600 } span.bad { color: #b3261e; font-weight: 700 }
.missing { background: #fff3cd; border-left: 4px solid #d39e00; padding: .4rem .8rem }
pre { background: #f5f7fa; padding: .6rem; overflow-x: auto; white-space: pre-wrap; font-size: 12.5px }
svg { width: 100%; font: 12px system-ui, sans-serif } svg rect { fill: #3c78a8 } code { font-size: 12.5px }
td.hit { background: #3c78a8 } td.alone { background: #1a7f4b } .matrix td, .matrix th { padding: .1rem .3rem; text-align: center }
.matrix td:first-child { text-align: left; white-space: nowrap }
@media print { body { margin: 0; font-size: 11px } h2 { break-after: avoid } tr, svg { break-inside: avoid } details[open] summary { display: none } * { print-color-adjust: exact; -webkit-print-color-adjust: exact } }
"""
