/// What docs/SECURITY.md says of tests, files and names is there: a promise whose proof is gone fails here.
module Properties.Documents

open System
open System.IO
open System.Text.RegularExpressions
open Expecto

let private under (path: string) = Repository.under [ path ]
let private page = lazy (File.ReadAllText(under "docs/SECURITY.md"))
let private stores = lazy (File.ReadAllText(under "docs/STORES.md"))
let private former = lazy (File.ReadAllText(under "docs/FROM-HTTPCONTEXT-SESSION.md"))

let private sources folder =
    [ for pattern in [ "*.fs"; "*.cs" ] do
          yield! Directory.EnumerateFiles(under folder, pattern, SearchOption.AllDirectories) ]

let private codeSpans =
    lazy
        [ for page in [ page; stores; former ] do
              for span in Regex.Matches(page.Force(), "`([^`\r\n]+)`") do
                  span.Groups[1].Value ]

/// `File.fs: "name"`, or `File.cs: "Name"`
let private tests =
    lazy
        [ for span in codeSpans.Force() do
              let reference = Regex.Match(span, "^([A-Za-z]+\\.(?:fs|cs)): \"([^\"]+)\"$")

              if reference.Success then
                  reference.Groups[1].Value, reference.Groups[2].Value ]

let private requirements =
    [ for section, count in [ "7.1", 3; "7.2", 4; "7.3", 2; "7.4", 5; "7.5", 3; "7.6", 2; "3.3", 5 ] do
          for i in 1..count do
              $"{section}.{i}" ]

let all =
    testList
        "documents"
        [ testCase "SECURITY.md and STORES.md: every test that they name is there" (fun () ->
              Expect.isGreaterThan (tests.Force().Length) 60 "it names tests"

              // A reference with a slip in its form would not be looked at.
              let slips =
                  codeSpans.Force()
                  |> List.filter (fun span -> Regex.IsMatch(span, "\\.(fs|cs)(:| \")"))
                  |> List.length

              Expect.equal slips (tests.Force().Length) "each in the form `File.fs: \"name\"`"
              let files = sources "tests"

              for file, name in List.distinct (tests.Force()) do
                  match files |> List.filter (fun path -> Path.GetFileName path = file) with
                  | [ path ] ->
                      let text = if file.EndsWith ".cs" then $" {name}(" else String.Concat("\"", name, "\"")
                      Expect.stringContains (File.ReadAllText path) text $"a test in {file}"
                  | found -> failtestf "%s is %d files under tests/" file found.Length)

          testCase "SECURITY.md: every file that it names is there" (fun () ->
              let named =
                  [ for path in
                        Regex.Matches(page.Force(), "\\b(?:src|tests|docs|samples|eng)/[A-Za-z0-9_./-]*[A-Za-z0-9_]") do
                        path.Value
                    for link in Regex.Matches(page.Force(), "\\]\\(([^)#]+)\\)") do
                        "docs/" + link.Groups[1].Value ]

              Expect.isGreaterThan named.Length 10 "it names files"
              let missing = named |> List.filter (fun path -> not (Path.Exists(under path)))
              Expect.isEmpty missing "they exist")

          testCase "SECURITY.md: every setting and member that it names is in the source" (fun () ->
              let named =
                  codeSpans.Force()
                  |> List.filter (fun span -> Regex.IsMatch(span, "^[A-Z][a-z]+([A-Z][a-z]+)+$"))
                  |> List.distinct

              Expect.isGreaterThan named.Length 20 "it names settings"
              // Of ASP.NET Core, named as advice.
              let foreign = [ "IAntiforgeryAdditionalDataProvider" ]
              let text = sources "src" |> List.map File.ReadAllText |> String.concat "\n"
              let isThere (name: string) = Regex.IsMatch(text, "\\b" + name + "\\b")
              Expect.isEmpty (named |> List.except foreign |> List.filter (isThere >> not)) "they exist")

          testCase "SECURITY.md: every requirement of ASVS V7 and V3.3 has one row" (fun () ->
              for requirement in requirements do
                  let rows = Regex.Matches(page.Force(), "(?m)^\\| " + Regex.Escape requirement + " \\|").Count
                  Expect.equal rows 1 requirement)

          testCase "ARCHITECTURE.md: every name on it is in the source" (fun () ->
              let page = File.ReadAllText(under "docs/ARCHITECTURE.md")
              let text = sources "src" |> List.map File.ReadAllText |> String.concat "\n"

              let named =
                  [ for span in Regex.Matches(page, "`([A-Za-z.]+)`") do
                        yield! span.Groups[1].Value.Split '.' ]
                  |> List.distinct

              let isThere (name: string) = Regex.IsMatch(text, "\\b" + name + "\\b")
              Expect.isGreaterThan named.Length 40 "it names parts"
              Expect.isEmpty (named |> List.filter (isThere >> not)) "they exist")

          testCase "LOGS.md: each sentence of the log, as it is, with its id" (fun () ->
              let row (line: string) = Regex.Match(line, @"^\| (\d+) \| `(\w+)` \| (\w+) \| (.+?) \|")

              let said =
                  [ for line in File.ReadAllLines(under "docs/LOGS.md") do
                        let row = row line

                        if row.Success then
                            String.Join("|", [ for i in 1..4 -> row.Groups[i].Value ]) ]

              let known =
                  [ for it in Session.AspNetCore.LogSentences.all ->
                        String.Join("|", [ string it.Id; it.Name; string it.Level; it.Text ]) ]

              Expect.isGreaterThan known.Length 20 "there are sentences"
              Expect.equal said known "the page lists them")

          testCase "a line of the log that a page names beside its number has this number" (fun () ->
              let numbers = dict [ for it in Session.AspNetCore.LogSentences.all -> it.Name, string it.Id ]

              let named =
                  [ for page in Directory.EnumerateFiles(under "docs", "*.md") do
                        for it in Regex.Matches(File.ReadAllText page, @"\b(\d+) \(?`([A-Z]\w+)`") do
                            if numbers.ContainsKey it.Groups[2].Value then
                                Path.GetFileName page, it.Groups[1].Value, it.Groups[2].Value ]

              Expect.isNonEmpty named "pages name lines"

              for page, number, name in named do
                  Expect.equal number numbers[name] $"{page}: {name}")

          testCase "LOGS.md: nothing is logged but the sentences that it lists" (fun () ->
              let isBeside path =
                  Regex.IsMatch(File.ReadAllText path, @"\bLog(Trace|Debug|Information|Warning|Error|Critical)\b\s*\(")

              // What a template makes is the application's own.
              let isOurs (path: string) = not (path.Contains "Session.Templates")

              Expect.isEmpty
                  (sources "src" |> List.filter (fun path -> isOurs path && isBeside path))
                  "each through EngineLog or EdgeLog") ]
