/// What C# developers see, and that the documents show what compiles.
module Integration.Surface

open System
open System.IO
open System.Reflection
open Expecto
open Session.CSharp

let private rec' (t: Type) : Type list =
    [ t
      if t.HasElementType then
          match t.GetElementType() with
          | null -> ()
          | element -> element
      if t.IsGenericType then
          yield! t.GetGenericArguments() ]

let private signature (m: MemberInfo) : Type list =
    match m with
    | :? MethodBase as method ->
        [ for parameter in method.GetParameters() do
              yield! rec' parameter.ParameterType
          match method with
          | :? MethodInfo as method -> yield! rec' method.ReturnType
          | _ -> () ]
    | :? PropertyInfo as property -> rec' property.PropertyType
    | :? FieldInfo as field -> rec' field.FieldType
    | _ -> []

let private isFSharp (t: Type) =
    (t.Namespace
     |> Option.ofObj
     |> Option.exists (fun name -> name.StartsWith "Microsoft.FSharp" || name = "Session.Domain"))

let rec private root (folder: DirectoryInfo) =
    if
        File.Exists(Path.Combine(folder.FullName, "README.md"))
        && File.Exists(Path.Combine(folder.FullName, "paket.dependencies"))
    then
        folder.FullName
    else
        root (nonNull folder.Parent)

let private blocks (text: string) =
    text.Split "```"
    |> Array.filter (fun block -> block.StartsWith "csharp" || block.StartsWith "fsharp")
    |> Array.map (fun block -> block.Substring(block.IndexOf '\n'))

let private flat (text: string) = String.Join("", text |> Seq.filter (fun c -> not (Char.IsWhiteSpace c)))

let all =
    testList
        "surface"
        [ testCase "no F# type shows in a C# signature" (fun () ->
              let leaks =
                  [ for t in typeof<SessionId>.Assembly.GetExportedTypes() do
                        for m in t.GetMembers() do
                            if m.DeclaringType = t && signature m |> List.exists isFSharp then
                                $"{t.Name}.{m.Name}" ]

              Expect.isEmpty leaks "C# users never see F# types")

          testCase "every snippet of a README is compiled" (fun () ->
              let top = root (DirectoryInfo AppContext.BaseDirectory)

              let sources =
                  [ for folder in [ "samples"; "tests" ] do
                        for pattern in [ "*.cs"; "*.fs" ] do
                            yield!
                                Directory.EnumerateFiles(
                                    Path.Combine(top, folder),
                                    pattern,
                                    SearchOption.AllDirectories
                                ) ]
                  |> List.map (File.ReadAllText >> flat)

              let readmes =
                  Path.Combine(top, "README.md")
                  :: [ for store in [ "Sqlite"; "Redis"; "Mongo"; "DistributedCache"; "Testing" ] ->
                           Path.Combine(top, "src", "Session.Stores", store, "README.md") ]

              for readme in readmes do
                  Expect.isNonEmpty (blocks (File.ReadAllText readme)) $"there are snippets in {readme}"

              for block in readmes |> Seq.collect (File.ReadAllText >> blocks) do
                  Expect.isTrue (sources |> List.exists (fun source -> source.Contains(flat block))) block) ]
