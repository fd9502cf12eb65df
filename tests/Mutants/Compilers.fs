/// The compilers of the SDK in this process: warm after the first bug, which each compiler started anew would not be.
module Mutants.Compilers

open System
open System.Diagnostics
open System.IO
open System.Reflection
open System.Runtime.CompilerServices
open System.Runtime.InteropServices
open System.Runtime.Loader
open System.Threading.Tasks

/// The exit code (none: it took too long and was ended), and all that it said.
let start (arguments: seq<string>) (settings: (string * string) list) (folder: string) (limit: TimeSpan) =
    let info =
        ProcessStartInfo(
            "dotnet",
            arguments,
            WorkingDirectory = folder,
            RedirectStandardOutput = true,
            RedirectStandardError = true
        )

    for name, value in settings do
        info.Environment[name] <- value

    match Process.Start info with
    | null -> failwith "dotnet does not start"
    | started ->
        use started = started
        let out = started.StandardOutput.ReadToEndAsync()
        let err = started.StandardError.ReadToEndAsync()

        if started.WaitForExit limit then
            Some started.ExitCode, out.Result + err.Result
        else
            started.Kill true
            None, "it took too long"

let private runtime = RuntimeEnvironment.GetRuntimeDirectory()

// shared/Microsoft.NETCore.App/VERSION
let private dotnet = Path.GetFullPath(Path.Combine(runtime, "..", "..", ".."))

// The repository says which, to those who stand in it.
let private sdk =
    lazy
        (let _, version = start [ "--version" ] [] AppContext.BaseDirectory (TimeSpan.FromMinutes 1L)
         Path.Combine(dotnet, "sdk", version.Trim()))

let private systemReferences =
    lazy
        (let aspNetCore =
            let versions = Path.Combine(dotnet, "shared", "Microsoft.AspNetCore.App")
            let same = Path.Combine(versions, DirectoryInfo(runtime).Name)
            if Directory.Exists same then same else Directory.GetDirectories versions |> Array.max

         let framework =
             [ "System*.dll"; "Microsoft*.dll"; "mscorlib.dll"; "netstandard.dll" ]
             |> List.collect (fun pattern -> Directory.GetFiles(runtime, pattern) |> List.ofArray)
             |> List.filter (fun file -> not (file.Contains "Native"))

         framework @ List.ofArray (Directory.GetFiles(aspNetCore, "*.dll")))

/// A reference to each of these files, and to the framework.
let private referencesTo (files: string list) =
    [ for file in files @ systemReferences.Force() |> List.distinctBy (fun file -> FileInfo(file).Name) do
          "-r:" + file ]

/// A compiler brings its own libraries, of other versions than ours.
type private Beside(folder: string) =
    inherit AssemblyLoadContext(folder)

    override context.Load name =
        let file = Path.Combine(folder, $"{name.Name}.dll")
        if File.Exists file then context.LoadFromAssemblyPath file else Unchecked.defaultof<_>

let private load (folder: string) (name: string) = Beside(folder).LoadFromAssemblyPath(Path.Combine(folder, name))

// Both keep state of the process: one at a time.
let private turn = obj ()

let private inTurn (what: string) (compile: unit -> 'a) : 'a =
    let clock = Stopwatch.StartNew()

    lock turn (fun () ->
        Spent.add "waiting for a compiler" clock.Elapsed.TotalSeconds
        Spent.on $"compiling {what}" compile)

// ------------------------------------------------------------------------------------------------------------ F#

let private fsharp =
    lazy
        (let service = load (Path.Combine(sdk.Force(), "FSharp")) "FSharp.Compiler.Service.dll"
         let checkerType = nonNull (service.GetType "FSharp.Compiler.CodeAnalysis.FSharpChecker")
         let method (t: Type) name = t.GetMethods() |> Array.find (fun it -> it.Name = name)
         // Every parameter is optional: null is None.
         let call (it: MethodInfo) (target: objnull) (arguments: objnull list) =
             let rest = List.replicate (it.GetParameters().Length - arguments.Length) null
             it.Invoke(target, Array.ofList (arguments @ rest))

         let checker = call (method checkerType "Create") null []
         let compile = method checkerType "Compile"
         let answer = (compile.ReturnType.GetGenericArguments())[0]
         let core = compile.ReturnType.Assembly

         let run =
             (method (nonNull (core.GetType "Microsoft.FSharp.Control.FSharpAsync")) "RunSynchronously")
                 .MakeGenericMethod(answer)

         fun (arguments: string array) ->
             match call run null [ call compile checker [ arguments ] ] with
             | :? ITuple as answer ->
                 match answer[0] with
                 | :? Array as diagnostics -> isNull answer[1], String.Join("\n", Seq.cast<obj> diagnostics)
                 | _ -> failwith "the compiler's answer has another shape"
             | _ -> failwith "the compiler's answer has another shape")

/// The version is that of the part it stands in for.
let compileFSharpWith
    (options: string list)
    (sources: string list)
    (references: string list)
    (version: Version)
    (target: string)
    =
    let info = target + ".version.fs"

    File.WriteAllText(
        info,
        $"namespace Mutants.Version\n[<assembly: System.Reflection.AssemblyVersion(\"{version}\")>]\ndo ()\n"
    )

    let last = List.last sources

    let arguments =
        [| "fsc"
           "--nologo"
           "--noframework"
           "--targetprofile:netcore"
           "--target:library"
           yield! options
           "--checknulls+"
           "--nocopyfsharpcore"
           "--deterministic+"
           "--debug-"
           "--warnaserror:25"
           "--nowarn:3370,3520"
           yield! referencesTo references
           "-o:" + target
           yield! List.take (sources.Length - 1) sources
           info
           last |]

    try
        inTurn "F#" (fun () -> fsharp.Force () arguments)
    finally
        File.Delete info

/// Without optimisation across assemblies: a part that was changed has to be called, not its copy in its caller (the
/// properties are built in the same way).
let compileFSharp sources references version target =
    compileFSharpWith [ "--optimize+"; "--crossoptimize-" ] sources references version target

// ------------------------------------------------------------------------------------------------------------ C#

let private csharp =
    lazy
        (let compiler = load (Path.Combine(sdk.Force(), "Roslyn", "bincore")) "csc.dll"
         let entry = nonNull compiler.EntryPoint

         fun (arguments: string array) ->
             let console = Console.Out
             use said = new StringWriter()
             Console.SetOut said

             try
                 match entry.Invoke(null, [| box arguments |]) with
                 | :? int as code -> code = 0, string said
                 | :? Task<int> as code -> code.Result = 0, string said
                 | _ -> failwith "the compiler's answer has another shape"
             finally
                 Console.SetOut console)

/// Says something, but not into the ear of a compiler.
let print (text: string) = lock turn (fun () -> Console.Out.WriteLine text)

/// A source generator that .NET brings.
let generatorOf (name: string) =
    let all = Path.Combine(dotnet, "packs", "Microsoft.NETCore.App.Ref")
    let newest = Directory.GetDirectories all |> Array.maxBy (fun it -> Version(DirectoryInfo(it).Name))
    Path.Combine(newest, "analyzers", "dotnet", "cs", name)

/// `resources`: files that go into it, each under its own name.
let compileCSharpWith
    (options: string list)
    (sources: string list)
    (resources: string list)
    (references: string list)
    (target: string)
    =
    let arguments =
        [| "-noconfig"
           "-nologo"
           "-nostdlib"
           "-target:library"
           "-optimize"
           "-nullable"
           "-deterministic"
           "-debug-"
           "-langversion:latest"
           "-nowarn:CS1591,CS1701,CS1702"
           yield! options
           yield! referencesTo references
           "-out:" + target
           for file in resources do
               $"-resource:{file},{Path.GetFileName file}"
           yield! sources |]

    inTurn "C#" (fun () -> csharp.Force () arguments)

let compileCSharp sources references target = compileCSharpWith [] sources [] references target
