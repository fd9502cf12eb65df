/// HTML as text: small pieces, everything escaped.
module Audit.Html

open System
open System.Net

let escape (text: string) = string (WebUtility.HtmlEncode text)
let count (n: int64) = n.ToString("#,0", Globalization.CultureInfo.InvariantCulture)

let tag name (content: string) = $"<{name}>{content}</{name}>"
let classed name kind (content: string) = $"<{name} class=\"{kind}\">{content}</{name}>"
let code (text: string) = tag "code" (escape text)
let link (target: string) (content: string) = $"<a href=\"#{target}\">{content}</a>"
let lines (pieces: string list) = String.concat "\n" pieces

let badge isGood text = classed "span" (if isGood then "good" else "bad") (escape text)
let missing (text: string) = classed "span" "none" (escape text)

/// Folded away on the screen, open on paper.
let folded isOpen (summary: string) (content: string) =
    $"""<details{if isOpen then " open" else ""}><summary>{summary}</summary>{content}</details>"""

let story (told: string list) = tag "pre" (escape (String.concat "\n" told))

/// A table; its cells are HTML.
let table (head: string list) (rows: string list list) =
    let cells name row = row |> List.map (tag name) |> String.concat ""

    lines
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
        let light = 97.0 - 50.0 * share
        let ink = if light < 66.0 then "#fff" else "#123"
        $"<td class=\"heat\" style=\"background:hsl(205 60%% {light:F0}%%);color:{ink}\">{count n}</td>"

/// A table whose cells are counts: its rows and columns have names.
let heatMap corner (rows: string list) (columns: string list) (at: string -> string -> int64) =
    lines
        [ "<table><thead><tr>"
          + (corner :: columns |> List.map (escape >> tag "th") |> String.concat "")
          + "</tr></thead><tbody>"
          for row in rows do
              tag "tr" (tag "th" (escape row) + (columns |> List.map (at row >> heat) |> String.concat ""))
          "</tbody></table>" ]

/// Bars to one scale.
let bars (rows: (string * int64) list) =
    let most = rows |> List.map snd |> List.fold max 1L
    let height = 24 * rows.Length + 4

    lines
        [ $"<svg viewBox=\"0 0 960 {height}\" role=\"img\">"
          for i, (name, value) in List.indexed rows do
              let y = 24 * i
              let width = max 1.0 (380.0 * float value / float most)
              $"<text x=\"490\" y=\"{y + 16}\" text-anchor=\"end\">{escape name}</text>"
              $"<rect x=\"500\" y=\"{y + 3}\" width=\"{width:F1}\" height=\"17\"/>"
              $"<text x=\"{506.0 + width:F1}\" y=\"{y + 16}\">{count value}</text>"
          "</svg>" ]

let style =
    """
:root { color-scheme: light; --ink: #15232e; --soft: #5a6b78; --line: #d5dde4; --blue: #2f6d9c; --good: #176f41; --bad: #b3261e }
* { box-sizing: border-box }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); max-width: 1040px; margin: 2rem auto; padding: 0 1rem }
h1 { margin: 0; font-size: 1.7rem } h2 { margin: 2.6rem 0 .6rem; border-bottom: 2px solid var(--line); padding-bottom: .2rem }
h3 { margin: 1.2rem 0 .3rem; font-size: 1.05rem } p { margin: .5rem 0 } a { color: var(--blue) } nav a { margin-right: 1rem; white-space: nowrap }
.soft { color: var(--soft); font-size: 13.5px } ol li, ul li { margin: .2rem 0 }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; margin: .6rem 0 }
th, td { border: 1px solid var(--line); padding: .25rem .5rem; text-align: left; vertical-align: top }
thead th { background: #edf1f5 } tbody th { background: #f7f9fb; font-weight: 600; white-space: nowrap }
td.heat, td.never { text-align: right; font-variant-numeric: tabular-nums } td.never { background: #f1f1f1; color: #888 }
.verdict { font-size: 1.35rem; padding: .6rem 1rem; border-radius: .4rem; color: #fff; margin: 1rem 0; font-weight: 600 }
.verdict.good { background: var(--good) } .verdict.bad { background: var(--bad) }
span.good { color: var(--good); font-weight: 600 } span.bad { color: #fff; background: var(--bad); font-weight: 700; padding: 0 .35rem; border-radius: .2rem }
span.none { color: #7a5b00; background: #fff3cd; padding: 0 .35rem; border-radius: .2rem; font-weight: 600 }
.missing { background: #fff3cd; border-left: 4px solid #d39e00; padding: .4rem .8rem }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: .6rem; margin: 1rem 0 }
.tile { border: 1px solid var(--line); border-radius: .4rem; padding: .5rem .8rem } .tile b { display: block; font-size: 1.45rem; line-height: 1.3 }
.card { border: 1px solid var(--line); border-left: 5px solid var(--good); border-radius: .4rem; padding: .2rem 1.1rem .7rem; margin: 1rem 0 }
.card.bad { border-left-color: var(--bad) } .card.none { border-left-color: #d39e00 } .card h3 { font-size: 1.15rem; margin-top: .7rem }
.card dl { display: grid; grid-template-columns: 7.5rem 1fr; gap: .35rem .8rem; margin: .6rem 0 0 } dt { color: var(--soft) } dd { margin: 0 }
.card ul { margin: 0; padding-left: 1.1rem } .failure { border: 2px solid var(--bad); border-radius: .4rem; padding: 0 1rem .6rem; margin: 1rem 0 }
blockquote { margin: .3rem 0; font-size: 1.02rem; font-style: italic }
pre { background: #f5f7f9; border-radius: .3rem; padding: .5rem .7rem; overflow-x: auto; white-space: pre-wrap; font-size: 12.5px; line-height: 1.4; margin: .3rem 0 }
pre del, pre ins { display: block; text-decoration: none } pre del { background: #fbe3e1 } pre ins { background: #dff2e4 }
svg { width: 100%; font: 12.5px system-ui, sans-serif } svg rect { fill: var(--blue) } svg text { fill: var(--ink) } code { font-size: 12.5px }
summary { cursor: pointer } td code { white-space: nowrap } .matrix { font-size: 12.5px } .matrix td, .matrix th { padding: .05rem .3rem; text-align: center }
.matrix tbody th { text-align: left; font-weight: 400 } .matrix td.n { width: 2em; min-width: 1.5em } .matrix td.hit { background: #7fabcb } .matrix td.alone { background: var(--good) } .matrix td.text { text-align: left }
.key { display: inline-block; width: 1em; height: 1em; vertical-align: -.15em; margin: 0 .3em 0 .8em } .key.hit { background: #7fabcb } .key.alone { background: var(--good) }
@media print { body { margin: 0; max-width: none; font-size: 11px } nav, .tests { display: none } h2, h3 { break-after: avoid } tr, svg, .tile, pre { break-inside: avoid }
  table, .soft, pre, code { font-size: 10.5px } a { color: inherit; text-decoration: none } details::details-content { content-visibility: visible; block-size: auto }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact } }
@page { margin: 14mm }
"""
