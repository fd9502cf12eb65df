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

let private blocks (text: string) =
    text.Split "```"
    |> Array.filter (fun block -> block.StartsWith "csharp" || block.StartsWith "fsharp")
    |> Array.map (fun block -> block.Substring(block.IndexOf '\n'))

let private flat (text: string) = String.Join("", text |> Seq.filter (fun c -> not (Char.IsWhiteSpace c)))

// -- the public API of each package, a line each, in a file that a change of it changes, too

let rec private nameOf (t: Type) : string =
    if t.IsGenericParameter then
        t.Name
    elif t.IsArray then
        nameOf (nonNull (t.GetElementType())) + "[]"
    elif t.IsByRef then
        "ref " + nameOf (nonNull (t.GetElementType()))
    else
        let name = if t.IsNested then nameOf (nonNull t.DeclaringType) + "." + t.Name else t.Name
        let name = if name.Contains '`' then name.Substring(0, name.IndexOf '`') else name

        match t.GetGenericArguments() with
        | [||] -> name
        | arguments -> name + "<" + String.Join(", ", Array.map nameOf arguments) + ">"

let private isOwn (m: MemberInfo) =
    match m with
    // What a property or an event consists of, and what a union or a record compares itself with.
    | :? MethodInfo as method ->
        not method.IsSpecialName
        && not (Seq.contains method.Name [ "Equals"; "GetHashCode"; "CompareTo"; "ToString"; "GetType" ])
    | :? FieldInfo as field -> not field.IsSpecialName
    | _ -> true

let private line (m: MemberInfo) =
    let parametersOf (method: MethodBase) =
        let each (parameter: ParameterInfo) =
            let name = if isNull parameter.Name then "" else " " + parameter.Name
            nameOf parameter.ParameterType + name + (if parameter.IsOptional then " = default" else "")

        String.Join(", ", method.GetParameters() |> Array.map each)

    match m with
    | :? ConstructorInfo as it -> $"new({parametersOf it})"
    | :? MethodInfo as it ->
        let generic =
            match it.GetGenericArguments() with
            | [||] -> ""
            | arguments -> "<" + String.Join(", ", Array.map nameOf arguments) + ">"

        let kind = if it.IsStatic then "static " else ""
        $"{kind}{it.Name}{generic}({parametersOf it}): {nameOf it.ReturnType}"
    | :? PropertyInfo as it ->
        let set = if isNull (it.GetSetMethod()) then "" else "; set"
        $"{it.Name}: {nameOf it.PropertyType} {{ get{set} }}"
    | :? FieldInfo as it -> $"{it.Name}: {nameOf it.FieldType}"
    | it -> it.Name

let private apiOf (assembly: Assembly) =
    let flags = BindingFlags.Public ||| BindingFlags.Instance ||| BindingFlags.Static ||| BindingFlags.DeclaredOnly

    [ for t in assembly.GetExportedTypes() |> Array.sortBy nameOf do
          if not (t.FullName |> Option.ofObj |> Option.exists _.StartsWith("<")) then
              nameOf t

              for m in t.GetMembers flags |> Array.filter isOwn |> Array.map line |> Array.distinct |> Array.sort do
                  "    " + m ]

let private packages =
    [ typeof<Session.Domain.Live>.Assembly
      typeof<Session.Engine.StoredRecord>.Assembly
      typeof<Session.AspNetCore.SessionSettings>.Assembly
      typeof<SessionId>.Assembly
      typeof<Session.Stores.Sqlite.SqliteStore>.Assembly
      typeof<Session.Stores.Redis.RedisStore>.Assembly
      typeof<Session.Stores.Mongo.MongoStore>.Assembly
      typeof<Session.Stores.Postgres.PostgresStore>.Assembly
      typeof<Session.Stores.DistributedCache.DistributedCacheStore>.Assembly
      typeof<Session.Stores.Testing.StoreContract>.Assembly
      typeof<Session.Testing.FailingStore>.Assembly
      typeof<Session.OpenIdConnect.BackChannelLogoutOptions>.Assembly ]

let private publicApi (assembly: Assembly) =
    let name = nonNull (assembly.GetName().Name)

    testCase $"the public API of {name} is as its file says" (fun () ->
        let file = Path.Combine(Repository.under [], "docs", "api", name + ".txt")

        let now = apiOf assembly

        if Environment.GetEnvironmentVariable "SESSION_WRITE_API" = "1" then
            File.WriteAllLines(file, now)

        let said = if File.Exists file then List.ofArray (File.ReadAllLines file) else []

        Expect.equal
            (List.except said now, List.except now said)
            ([], [])
            "what is new, and what is gone: if it is meant, run the tests once with SESSION_WRITE_API=1")

let all =
    testList
        "surface"
        [ yield! List.map publicApi packages

          testCase "no F# type shows in a C# signature" (fun () ->
              let leaks =
                  [ for t in typeof<SessionId>.Assembly.GetExportedTypes() do
                        for m in t.GetMembers() do
                            if m.DeclaringType = t && signature m |> List.exists isFSharp then
                                $"{t.Name}.{m.Name}" ]

              Expect.isEmpty leaks "C# users never see F# types")

          testCase "every snippet of a README is compiled" (fun () ->
              let top = Repository.under []

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
                  :: Path.Combine(top, "docs", "WRITING-A-STORE.md")
                  :: Path.Combine(top, "docs", "DATA.md")
                  :: Path.Combine(top, "docs", "SIGN-IN.md")
                  :: Path.Combine(top, "docs", "LONG-CONNECTIONS.md")
                  :: Path.Combine(top, "docs", "BACK-CHANNEL-LOGOUT.md")
                  :: Path.Combine(top, "src", "Session.OpenIdConnect", "README.md")
                  :: Path.Combine(top, "docs", "FROM-HTTPCONTEXT-SESSION.md")
                  :: Path.Combine(top, "docs", "TESTING.md")
                  :: Path.Combine(top, "docs", "TELEMETRY.md")
                  :: Path.Combine(top, "docs", "DASHBOARD.md")
                  :: Path.Combine(top, "src", "Session.Testing", "README.md")
                  :: Path.Combine(top, "src", "Session.CSharp", "README.md")
                  :: Path.Combine(top, "src", "Session.AspNetCore", "README.md")
                  :: Path.Combine(top, "docs", "FSHARP.md")
                  :: [ for store in [ "Sqlite"; "Redis"; "Mongo"; "Postgres"; "DistributedCache"; "Testing" ] ->
                           Path.Combine(top, "src", "Session.Stores", store, "README.md") ]

              for readme in readmes do
                  Expect.isNonEmpty (blocks (File.ReadAllText readme)) $"there are snippets in {readme}"

              for block in readmes |> Seq.collect (File.ReadAllText >> blocks) do
                  Expect.isTrue (sources |> List.exists (fun source -> source.Contains(flat block))) block) ]
