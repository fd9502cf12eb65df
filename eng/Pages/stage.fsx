/// Puts the pages where the site is built from: README.md as its first page, docs beside it. Links to other files of the
/// repository lead to the project's own place (PROJECT_URL), or are plain text where nobody has said which that is.
open System
open System.IO
open System.Text.RegularExpressions

let root = Path.GetFullPath(Path.Combine(__SOURCE_DIRECTORY__, "..", ".."))
let stage = Path.Combine(root, "artifacts", "site")
let url = Environment.GetEnvironmentVariable "PROJECT_URL" |> Option.ofObj |> Option.defaultValue ""
let inDocs = Path.Combine(root, "docs") + "/"

/// What it is called on the site, for a file that the site has.
let place (file: string) =
    if file = Path.Combine(root, "README.md") then Some "index.md"
    elif file.StartsWith inDocs && not (file.StartsWith(inDocs + "api/")) then Some(file.Substring inDocs.Length)
    else None

let copyTo (name: string) (file: string) =
    let target = Path.Combine(stage, name)
    Directory.CreateDirectory(nonNull (Path.GetDirectoryName target)) |> ignore
    File.Copy(file, target, true)

let link (page: string) (it: Match) =
    let image, text, target = it.Groups[1].Value, it.Groups[2].Value, it.Groups[3].Value

    if target.StartsWith '#' || Regex.IsMatch(target, "^[a-z]+:") then
        it.Value
    else
        let parts = target.Split('#', 2)
        let file = Path.GetFullPath(Path.Combine(nonNull (Path.GetDirectoryName page), parts[0]))
        let anchor = if parts.Length = 2 then "#" + parts[1] else ""

        match place file with
        | Some name -> $"{image}[{text}]({name}{anchor})"
        | None when image = "!" ->
            let name = "images/" + Path.GetFileName file
            copyTo name file
            $"![{text}]({name})"
        // A link that is broken stays one: the site's build says so.
        | None when not (Path.Exists file) -> it.Value
        | None when url = "" -> text
        | None -> $"[{text}]({url.TrimEnd '/'}/blob/HEAD/{Path.GetRelativePath(root, file)}{anchor})"

let title (page: string) =
    match File.ReadLines page |> Seq.tryFind (fun line -> line.StartsWith "# ") with
    | Some line -> line.Substring 2
    | None -> nonNull (Path.GetFileNameWithoutExtension page)

let pages = Path.Combine(root, "README.md") :: List.ofArray (Directory.GetFiles(inDocs, "*.md"))

if Directory.Exists stage then
    Directory.Delete(stage, true)

Directory.CreateDirectory stage |> ignore

for file in Directory.EnumerateFiles(inDocs, "*", SearchOption.AllDirectories) do
    match place file with
    | Some name when not (name.EndsWith ".md") -> copyTo name file
    | Some _
    | None -> ()

for page in pages do
    let text =
        Regex.Replace(
            File.ReadAllText page,
            @"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)",
            MatchEvaluator(link page)
        )

    File.WriteAllText(Path.Combine(stage, Option.get (place page)), text)

/// In the order of the README's index.
let index = File.ReadAllText pages.Head
let at (page: string) = index.LastIndexOf("docs/" + Path.GetFileName page)

let entries =
    [ "- name: Session\n  href: index.md"
      for page in List.sortBy at pages.Tail do
          let name = (title page).Replace("\"", "")
          $"- name: \"{name}\"\n  href: {Path.GetFileName page}" ]

File.WriteAllText(Path.Combine(stage, "toc.yml"), String.Join('\n', entries) + "\n")
printfn "site: %d pages" pages.Length
