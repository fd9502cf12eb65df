/// The packages of src/, as ./eng/pack writes them: what is in each, what it asks for, and that the same sources give the same bytes.
module Integration.Packages

open System
open System.Diagnostics
open System.IO
open System.IO.Compression
open System.Security.Cryptography
open System.Text.Json
open System.Text.RegularExpressions
open System.Xml.Linq
open Expecto

let private configuration = DirectoryInfo(AppContext.BaseDirectory.TrimEnd '/').Name

/// The one place that says it.
let version =
    let props = File.ReadAllText(Repository.under [ "Directory.Build.props" ])
    Regex.Match(props, "<VersionPrefix>([^<]+)</VersionPrefix>").Groups[1].Value

/// Of what was built already: all, or one; with an environment of its own. How it ended, and what it said.
let private pack (folder: string) (only: string) (settings: (string * string) list) =
    let info =
        ProcessStartInfo(
            "bash",
            [ Repository.under [ "eng"; "pack" ]; "--built"; folder; only ],
            RedirectStandardOutput = true,
            RedirectStandardError = true
        )

    info.Environment["CONFIGURATION"] <- configuration
    info.Environment["PROJECT_URL"] <- ""
    info.Environment["BASELINE"] <- ""

    for name, value in settings do
        info.Environment[name] <- value

    info.Environment["DOTNET_CLI_USE_MSBUILD_SERVER"] <- "0"
    use started = nonNull (Process.Start info)
    let said = started.StandardOutput.ReadToEndAsync()
    let failed = started.StandardError.ReadToEndAsync()
    started.WaitForExit()
    started.ExitCode, said.Result + "\n" + failed.Result

let private packInto folder only url =
    match pack folder only [ "PROJECT_URL", url ] with
    | 0, _ -> ()
    | code, said -> failtestf "./eng/pack ended with %d\n%s" code said

/// All of them, for whoever needs packages.
let made =
    lazy
        (let folder = World.temporaryFolder ()
         AppDomain.CurrentDomain.ProcessExit.Add(fun _ -> Directory.Delete(folder, true))
         packInto folder "" ""
         folder)

let private ids =
    [ "Session.Analyzers"
      "Session.AspNetCore"
      "Session.CSharp"
      "Session.Domain"
      "Session.Engine"
      "Session.OpenIdConnect"
      "Session.Stores.DistributedCache"
      "Session.Stores.Mongo"
      "Session.Stores.Postgres"
      "Session.Stores.Redis"
      "Session.Stores.Sqlite"
      "Session.Stores.Testing"
      "Session.Templates"
      "Session.Testing" ]

/// What has no library in it.
let private templates = "Session.Templates"

let private opened (file: string) (read: (string -> string) -> string list -> 'a) : 'a =
    use zip = ZipFile.OpenRead file

    let text name =
        match zip.GetEntry name with
        | null -> failtestf "%s is not in %s" name file
        | entry ->
            use reader = new StreamReader(entry.Open())
            reader.ReadToEnd()

    read text [ for entry in zip.Entries -> entry.FullName ]

let private packageOf folder id = Path.Combine(folder, $"{id}.{version}.nupkg")

let private elements (name: string) (nuspec: string) =
    [ for element in XDocument.Parse(nuspec).Descendants() do
          if element.Name.LocalName = name then
              element ]

let private attribute (name: string) (element: XElement) =
    match element.Attribute(XName.Get name) with
    | null -> ""
    | found -> found.Value

let private dependenciesOf id =
    opened (packageOf made.Value id) (fun text _ ->
        elements "dependency" (text (id + ".nuspec")) |> List.map (attribute "id"))

/// Everything that comes along through packages of ours.
let rec private comesWith id : Set<string> =
    let direct = dependenciesOf id

    Set.union
        (Set.ofList direct)
        (direct |> List.filter (fun it -> List.contains it ids) |> Seq.collect comesWith |> Set.ofSeq)

let private drivers =
    Map
        [ "Session.Stores.Redis", "StackExchange.Redis"
          "Session.Stores.Mongo", "MongoDB.Driver"
          "Session.Stores.Postgres", "Npgsql"
          "Session.Stores.Sqlite", "Microsoft.Data.Sqlite" ]

/// The package with another name of the same length in its library: that of a member which goes by `name` no longer.
let private renamed (package: string) (name: string) (former: string) =
    use zip = ZipFile.Open(package, ZipArchiveMode.Update)
    let entry = zip.Entries |> Seq.find (fun entry -> entry.FullName.EndsWith ".dll")

    let library =
        use content = entry.Open()
        use copy = new MemoryStream()
        content.CopyTo copy
        copy.ToArray()

    // Names end with a zero in an assembly's table of names. One text holds all of it: Latin 1 has a sign for each byte.
    let before = Text.Encoding.Latin1.GetString library
    let after = before.Replace($"\000{name}\000", $"\000{former}\000")
    Expect.notEqual after before $"{name} is in {package}"
    Expect.hasLength after before.Length "names of one length"
    use content = entry.Open()
    content.Write(Text.Encoding.Latin1.GetBytes after)

let private hashes (folder: string) =
    [ for file in Directory.GetFiles folder |> Array.sort do
          nonNull (Path.GetFileName file), Convert.ToHexString(SHA256.HashData(File.ReadAllBytes file)) ]

let all =
    testList
        "packages"
        [ testCase "there is one for each library, with symbols, licence, icon and a README of its own" (fun () ->
              let found = Directory.GetFiles(made.Value, "*.nupkg") |> Array.map Path.GetFileName |> Array.sort
              Expect.equal (List.ofArray found) [ for id in ids -> $"{id}.{version}.nupkg" ] "the packages"

              let readmes =
                  [ for id in ids do
                        opened (packageOf made.Value id) (fun text names ->
                            let nuspec = text (id + ".nuspec")

                            for name, value in
                                [ "icon", "icon.png"
                                  "readme", "README.md"
                                  "license", "MIT"
                                  "version", version ] do
                                Expect.equal (elements name nuspec |> List.map _.Value) [ value ] $"{id}: {name}"

                            Expect.contains names "icon.png" id
                            let readme = text "README.md"

                            let install =
                                if id = templates then $"dotnet new install {id}\n" else $"dotnet add package {id}\n"

                            Expect.stringContains readme install id
                            Expect.isTrue (readme.StartsWith $"# {id}\n") id
                            let links = Regex.Matches(readme, @"\]\((?!https://|#)[^)]*\)")
                            Expect.isEmpty links $"{id}: links that lead nowhere on a page elsewhere"

                            // An analyzer is for the compiler, and no library of the application.
                            let folder, files =
                                if id = templates then
                                    "lib/", []
                                elif id = "Session.Analyzers" then
                                    "analyzers/dotnet/cs/", [ $"analyzers/dotnet/cs/{id}.dll" ]
                                else
                                    "lib/", [ $"lib/net10.0/{id}.dll"; $"lib/net10.0/{id}.xml" ]

                            // Its own library and nothing else: no culture folders, no other assembly.
                            let library =
                                names
                                |> List.filter _.EndsWith(".dll")
                                |> List.append (names |> List.filter _.StartsWith(folder))
                                |> List.distinct
                                |> List.sort

                            Expect.equal library files "what is in it"

                            readme)

                        if id <> templates then
                            opened (Path.Combine(made.Value, $"{id}.{version}.snupkg")) (fun _ names ->
                                let folder = if id = "Session.Analyzers" then "analyzers/dotnet/cs" else "lib/net10.0"
                                Expect.contains names $"{folder}/{id}.pdb" "symbols"
                                "") ]
                  |> List.filter ((<>) "")

              Expect.equal (List.distinct readmes).Length ids.Length "each has its own")

          testCase "who takes the C# face gets the analyzers, which bring nothing else" (fun () ->
              Expect.isTrue ((comesWith "Session.CSharp").Contains "Session.Analyzers") "they come along"
              Expect.isEmpty (dependenciesOf "Session.Analyzers") "what they bring"

              // A dependency that leaves out its analyzers would be one for nothing.
              opened (packageOf made.Value "Session.CSharp") (fun text _ ->
                  let analyzers =
                      elements "dependency" (text "Session.CSharp.nuspec")
                      |> List.filter (fun it -> attribute "id" it = "Session.Analyzers")

                  Expect.equal (analyzers |> List.map (attribute "exclude")) [ "" ] "all of it")

              Expect.isFalse ((comesWith "Session.AspNetCore").Contains "Session.Analyzers") "F# has its own compiler")

          testCase "who takes one store gets no other one's driver" (fun () ->
              for id, driver in Map.toList drivers do
                  let along = comesWith id
                  Expect.contains along driver id

                  for KeyValue(_, other) in Map.remove id drivers do
                      Expect.isFalse (along.Contains other) $"{id} brings {other}"

              for id in [ "Session.CSharp"; "Session.AspNetCore"; "Session.Stores.DistributedCache" ] do
                  for KeyValue(_, driver) in drivers do
                      Expect.isFalse ((comesWith id).Contains driver) $"{id} brings {driver}")

          testCase
              "what each is made of is beside it, with the version of all that comes along and nothing else"
              (fun () ->
                  for id in ids do
                      let text = File.ReadAllText(Path.Combine(made.Value, $"{id}.{version}.cdx.json"))
                      use bom = JsonDocument.Parse text
                      let property (name: string) (element: JsonElement) = string (element.GetProperty name)
                      let about = bom.RootElement.GetProperty("metadata").GetProperty "component"
                      Expect.equal (property "purl" about) $"pkg:nuget/{id}@{version}" "of which package"

                      let along =
                          match bom.RootElement.TryGetProperty "components" with
                          | true, components ->
                              [ for component' in components.EnumerateArray() do
                                    if property "scope" component' = "required" then
                                        property "name" component', property "version" component' ]
                          | _ -> []

                      let asked =
                          opened (packageOf made.Value id) (fun text _ ->
                              elements "dependency" (text (id + ".nuspec"))
                              |> List.map (fun it -> attribute "id" it, attribute "version" it))

                      Expect.isEmpty (List.except along asked) $"{id} asks for them, and they are not in it"

                      let others =
                          Map.remove id drivers
                          |> Map.values
                          |> Set.ofSeq
                          |> Set.intersect (Set.ofList (List.map fst along))

                      Expect.isEmpty others $"{id} has no other store's driver"

                      if List.isEmpty asked then
                          Expect.isEmpty along $"{id} brings nothing"

                      // Nothing of when or where it was made: the same sources give the same bytes.
                      for sign in [ "timestamp"; "serialNumber"; Repository.under [] ] do
                          Expect.isFalse (text.Contains sign) $"{sign} in what {id} is made of"

                  let redis = File.ReadAllText(Path.Combine(made.Value, $"Session.Stores.Redis.{version}.cdx.json"))

                  let listed =
                      Regex.Match(
                          File.ReadAllText(Repository.under [ "paket.dependencies" ]),
                          @"nuget StackExchange\.Redis >= (\S+)"
                      )

                  Expect.stringContains redis $"pkg:nuget/StackExchange.Redis@{listed.Groups[1].Value}" "the driver"
                  Expect.isFalse (redis.Contains "MongoDB") "of another store")

          testCase "the same files give the same bytes, and a project's address is in all that leads there" (fun () ->
              let again, named = World.temporaryFolder (), World.temporaryFolder ()

              try
                  packInto again "Session.Engine" ""
                  let first = hashes made.Value |> List.filter (fun (name, _) -> name.StartsWith "Session.Engine.")
                  Expect.equal (hashes again) first "packed twice"
                  let url = "https://example.test/session"
                  packInto named "Session.Testing" (url + "/")

                  opened (packageOf named "Session.Testing") (fun text _ ->
                      let nuspec = text "Session.Testing.nuspec"
                      Expect.equal (elements "projectUrl" nuspec |> List.map _.Value) [ url ] "its page"
                      Expect.equal (elements "repository" nuspec |> List.map (attribute "url")) [ url ] "its sources"

                      Expect.stringContains
                          (text "README.md")
                          $"[docs/TESTING.md]({url}/blob/HEAD/docs/TESTING.md)"
                          "a link")
              finally
                  Directory.Delete(again, true)
                  Directory.Delete(named, true))

          testCase "a public member of the former version that is gone is named, and the same members pass" (fun () ->
              let id = "Session.Stores.DistributedCache"
              let former, into = World.temporaryFolder (), World.temporaryFolder ()

              try
                  // Besides it a package of another name that begins alike, which is not to be taken for this one's former version.
                  let package = packageOf former id
                  File.Copy(packageOf made.Value id, package)
                  File.Copy(packageOf made.Value "Session.Engine", packageOf former (id + ".More"))
                  let same, said = pack into id [ "BASELINE", former ]
                  Expect.equal same 0 said
                  Expect.isFalse (said.Contains "is new") said

                  // The files that are packed are the same as before: only the former version is another one.
                  renamed package "UseDistributedCache" "UseDistributedStore"
                  let gone, said = pack into id [ "BASELINE", former ]
                  Expect.notEqual gone 0 "a member is gone"
                  Expect.stringContains said "SessionBuilderDistributedCacheExtensions.UseDistributedStore(" "its name"

                  // Who gives a folder that has no former version of it hears that nothing was compared; an empty one is a mistake.
                  File.Delete package
                  let fresh, said = pack into id [ "BASELINE", former ]
                  Expect.equal fresh 0 said
                  Expect.stringContains said $"{id} is new" "compared with nothing"
                  File.Delete(packageOf former (id + ".More"))
                  let nothing, said = pack into id [ "BASELINE", former ]
                  Expect.notEqual nothing 0 said
              finally
                  Directory.Delete(former, true)
                  Directory.Delete(into, true))

          testCase "links in the READMEs lead to files that are there" (fun () ->
              for readme in
                  Directory.GetFiles(Repository.under [ "src" ], "*.md", SearchOption.AllDirectories)
                  |> Array.append [| Repository.under [ "CHANGELOG.md" ] |] do
                  let folder = nonNull (Path.GetDirectoryName readme)

                  for link in Regex.Matches(File.ReadAllText readme, @"\]\((?!https://|#)([^)#]*)") do
                      let file = Path.Combine(folder, link.Groups[1].Value)
                      Expect.isTrue (File.Exists file) $"{link.Value} in {readme}")

          testCase "the list of changes begins with this version" (fun () ->
              let changes = File.ReadAllText(Repository.under [ "CHANGELOG.md" ])
              let first = Regex.Match(changes, @"(?m)^## (\d\S*)$").Groups[1].Value
              Expect.equal first version "CHANGELOG.md") ]
