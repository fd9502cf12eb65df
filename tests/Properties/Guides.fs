/// The pages for readers: every link leads somewhere, every snippet is compiled, every test and metric that they name is there.
module Properties.Guides

open System
open System.IO
open System.Text.RegularExpressions
open Expecto

let private under (path: string) = Repository.under [ path ]

let private pages =
    lazy
        ("README.md"
         :: "CONTRIBUTING.md"
         :: "SECURITY.md"
         :: "CHANGELOG.md"
         :: [ for file in Directory.EnumerateFiles(under "docs", "*.md") -> "docs/" + nonNull (Path.GetFileName file) ])

let private textOf (page: string) = File.ReadAllText(under page)

let private sources folder =
    [ for pattern in [ "*.fs"; "*.cs" ] do
          for path in Directory.EnumerateFiles(under folder, pattern, SearchOption.AllDirectories) do
              if not (path.Contains "/obj/") then
                  path ]

/// Without what is shown as code: a link in there is none.
let private prose (page: string) =
    let withoutBlocks = Regex.Replace(textOf page, "(?ms)^[ ]*```.*?^[ ]*```", "")
    Regex.Replace(withoutBlocks, "`[^`\r\n]*`", fun span -> String('x', span.Length))

/// A heading's anchor, as web pages of repositories make it.
let anchorOf (heading: string) =
    let plain = Regex.Replace(heading, @"\[([^\]]*)\]\([^)]*\)", "$1").Trim().ToLowerInvariant()
    Regex.Replace(plain, @"[^\p{L}\p{N} _-]", "").Replace(' ', '-')

let private anchors (page: string) =
    let withoutBlocks = Regex.Replace(textOf page, "(?ms)^[ ]*```.*?^[ ]*```", "")

    [ for heading in Regex.Matches(withoutBlocks, "(?m)^#{1,6} +(.+?)\r?$") do
          anchorOf heading.Groups[1].Value ]

/// Where a link of a page leads: a path of the repository, and what is after the #.
let private targetOf (page: string) (link: string) =
    let path, anchor =
        match link.IndexOf '#' with
        | -1 -> link, ""
        | at -> link.Substring(0, at), link.Substring(at + 1)

    let folder =
        match Path.GetDirectoryName page with
        | null -> ""
        | folder -> folder

    let full = if path = "" then under page else Path.GetFullPath(Path.Combine(under folder, path))
    Path.GetRelativePath(under "", full), anchor

let private linksOf (page: string) =
    [ for link in Regex.Matches(prose page, @"\]\(([^)\s]+)\)") do
          let link = link.Groups[1].Value

          if not (Regex.IsMatch(link, "^[a-z]+:")) then
              link ]

let private broken (page: string) =
    [ for link in linksOf page do
          let path, anchor = targetOf page link

          if not (Path.Exists(under path)) then
              $"{page}: {link} leads nowhere"
          elif anchor <> "" && path.EndsWith ".md" && not (List.contains anchor (anchors path)) then
              $"{page}: {link} has no such heading" ]

let private flat (text: string) = String.filter (Char.IsWhiteSpace >> not) text

let private blocks (text: string) =
    [ for block in Regex.Matches(text, "(?ms)^[ ]*```(csharp|fsharp)\r?\n(.*?)^[ ]*```") do
          block.Groups[2].Value ]

/// Pages whose promises name their tests, besides those that `Documents` reads.
let private guides =
    [ "QUICK-START"
      "QUICK-START-FSHARP"
      "FROM-COOKIES"
      "DEPLOYMENT"
      "SPA-AND-MOBILE"
      "OPERATING"
      "TROUBLESHOOTING"
      "SETTINGS" ]
    |> List.map (fun name -> $"docs/{name}.md")

let private spans (page: string) =
    [ for span in Regex.Matches(textOf page, "`([^`\r\n]+)`") do
          span.Groups[1].Value ]

let private explained =
    lazy
        [ for file in [ "Reading.fs"; "Visit.fs"; "Beginning.fs"; "Request.fs" ] do
              let text = File.ReadAllText(under ("src/Session.AspNetCore/" + file))
              let openings = "no session|live session|new session|signed in:|nothing is changed:"

              for sentence in Regex.Matches(text, "\"((?:" + openings + ")[^\"]*)\"") do
                  sentence.Groups[1].Value ]

let all =
    testList
        "guides"
        [ testCase "every link of README.md and docs leads to a file, and to a heading of it" (fun () ->
              Expect.isGreaterThan (List.sumBy (linksOf >> List.length) (pages.Force())) 60 "there are links"
              Expect.equal (List.collect broken (pages.Force())) [] "none is broken")

          testCase "a heading's anchor" (fun () ->
              Expect.equal
                  (List.map anchorOf [ "Why there is, or is no session"; "C# `Data`: one_two"; "[A](b.md) list" ])
                  [ "why-there-is-or-is-no-session"; "c-data-one_two"; "a-list" ]
                  "as web pages of repositories make it")

          testCase "every page of docs is in the README's index" (fun () ->
              let index = textOf "README.md"

              let missing =
                  pages.Force()
                  |> List.filter (fun page -> page.StartsWith "docs/" && not (index.Contains $"({page})"))

              Expect.equal missing [] "a reader finds each")

          testCase "the README's requests per second are those of the last run of the bench" (fun () ->
              let measured = textOf "bench/RESULTS.md"
              let rows = File.ReadAllLines(under "README.md") |> Array.filter _.Contains(" times)")
              Expect.equal rows.Length 6 "rows with a rate by another"

              for row in rows do
                  for figure in Regex.Matches(row, "[0-9]+,[0-9]{3}") do
                      Expect.stringContains measured $"| {figure.Value} (" row)

          testCase "the README has at most 150 lines" (fun () ->
              Expect.isLessThanOrEqual (File.ReadAllLines(under "README.md").Length) 150 "the rest is in docs")

          testCase "every snippet of C# and F# is compiled" (fun () ->
              let compiled =
                  [ for folder in [ "samples"; "tests" ] do
                        for path in sources folder do
                            flat (File.ReadAllText path) ]

              // Mistakes in it are shown on purpose: tests/Analyzers compiles each, and finds those and no others.
              let shown =
                  [ for page in pages.Force() |> List.except [ "docs/ANALYZERS.md" ] do
                        for block in blocks (textOf page) do
                            page, block ]

              Expect.isGreaterThan shown.Length 50 "there are snippets"

              for page, block in shown do
                  if
                      not (
                          compiled |> List.exists (fun source -> source.Contains(flat block, StringComparison.Ordinal))
                      )
                  then
                      failtestf "%s shows what no source under samples and tests has:\n%s" page block)

          testCase "every test that a guide names is there" (fun () ->
              let files = sources "tests"

              for page in guides do
                  for span in spans page do
                      if Regex.IsMatch(span, "\\.(fs|cs)(:| \")") then
                          let named = Regex.Match(span, "^([A-Za-z]+\\.(?:fs|cs)): \"([^\"]+)\"$")
                          Expect.isTrue named.Success $"{page}: {span} in the form `File.fs: \"name\"`"
                          let file, name = named.Groups[1].Value, named.Groups[2].Value
                          let sign = if file.EndsWith ".cs" then $" {name}(" else String.Concat("\"", name, "\"")

                          let has (path: string) =
                              Path.GetFileName path = file
                              && (File.ReadAllText path).Contains(sign, StringComparison.Ordinal)

                          Expect.isTrue (List.exists has files) $"{page}: {span}")

          testCase "every metric and setting that a guide names is in the source" (fun () ->
              // Of ASP.NET Core.
              let foreign =
                  [ "OnValidatePrincipal"
                    "UseAuthentication"
                    "UseCookiePolicy"
                    "UseOutputCache" ]

              let text = sources "src" |> List.map File.ReadAllText |> String.concat "\n"

              for page in guides do
                  for span in spans page do
                      if Regex.IsMatch(span, "^session\\.[a-z_.]+$") then
                          Expect.stringContains text $"\"{span}\"" $"{page}: a metric"
                      elif
                          not (List.contains span foreign)
                          && Regex.IsMatch(
                              span,
                              "^(On|Max|When|Use|Allow|Idle|Absolute|Rot|Confirm|Request|Sweep|Tomb)[A-Za-z]+$"
                          )
                      then
                          Expect.isTrue (Regex.IsMatch(text, "\\b" + span + "\\b")) $"{page}: {span}")

          testCase "SETTINGS.md: every setting of C# has its row" (fun () ->
              let options = File.ReadAllText(under "src/Session.CSharp/SessionOptions.cs")

              let names =
                  [ for it in Regex.Matches(options, @"(?m)^    public (?!sealed)[^=({]*?\b(\w+)(?: \{.*|\r?)$") do
                        it.Groups[1].Value ]

              let inRows =
                  [ for line in File.ReadAllLines(under "docs/SETTINGS.md") do
                        if line.StartsWith "| `" then
                            for span in Regex.Matches(line.Split('|')[1], "`([^`]+)`") do
                                span.Groups[1].Value ]

              Expect.isGreaterThan names.Length 25 "there are settings"
              Expect.equal (List.sort inRows) (List.sort names) "each once")

          testCase "LOGS.md: all that is said of why there is or is no session, and nothing else" (fun () ->
              let said =
                  [ for row in Regex.Matches(textOf "docs/LOGS.md", "(?m)^\\| `([^`]+)` \\| [^|]+ \\| [^|]*\\|\r?$") do
                        row.Groups[1].Value ]

              Expect.isGreaterThan said.Length 15 "there are answers"
              Expect.equal (List.sort said) (explained.Force() |> List.distinct |> List.sort) "as the code has them") ]
