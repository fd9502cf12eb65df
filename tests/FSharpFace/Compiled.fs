/// What compiles and what does not, by the compiler itself: names in every order of `open`, and each trap with its error.
module FSharpFace.Compiled

open System
open System.IO
open System.Text.RegularExpressions
open Expecto
open Mutants

let private folder = lazy (Directory.CreateTempSubdirectory("session-fsharp-").FullName)

let private references =
    [ typeof<unit>.Assembly
      typeof<Session.Domain.State>.Assembly
      typeof<Session.Engine.SessionBuilder>.Assembly
      typeof<Session.AspNetCore.SessionSettings>.Assembly
      // The shapes of the frameworks.
      typeof<Site.Answer>.Assembly ]
    |> List.map _.Location

let private compile (name: string) (source: string) =
    let file = Path.Combine(folder.Force(), name + ".fs")
    File.WriteAllText(file, source)

    Compilers.compileFSharpWith
        [ "--optimize-"; "--warnaserror+"; "--nowarn:1182" ]
        [ file ]
        references
        (System.Version(1, 0))
        (Path.Combine(folder.Force(), name + ".dll"))

let private compiles name source =
    let isCompiled, said = compile name source
    Expect.equal (isCompiled, said) (true, "") name

let private textOf (name: string) = File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "compiled", name))

let rec private orders items =
    match items with
    | [] -> [ [] ]
    | _ ->
        [ for item in items do
              for rest in orders (List.except [ item ] items) -> item :: rest ]

/// The body in a module of its own for each order of these lines.
let private inEachOrder (opens: string list) (body: string) =
    orders opens
    |> List.mapi (fun i opens ->
        let lines = List.map (fun line -> "    " + line) opens @ [ "    " + body.TrimEnd().Replace("\n", "\n    ") ]
        $"module Order{i} =\n" + String.Join("\n", lines) + "\n")
    |> fun modules -> "namespace Orders\n\n" + String.Join("\n", modules)

let private framework (name: string) (opens: string list) (file: string) =
    testCase $"{name}: its names and these, in every order of open" (fun () ->
        let opens = "open Session.AspNetCore" :: "open Microsoft.AspNetCore.Http" :: opens
        compiles name (inEachOrder opens (textOf file)))

/// `//! words` above a line: what the compiler says of that line.
let private expected (source: string) =
    let lines = source.Split '\n'

    [ for i in 0 .. lines.Length - 2 do
          let trap = Regex.Match(lines[i], @"^\s*//! (.+)$")

          if trap.Success then
              i + 2, trap.Groups[1].Value.Trim() ]

let all =
    testList
        "compiled"
        [ framework "Giraffe" [ "open Giraffe"; "open Microsoft.AspNetCore.Builder" ] "giraffe.fs"
          framework "Giraffe.EndpointRouting" [ "open Giraffe"; "open Giraffe.EndpointRouting" ] "giraffe.fs"
          framework "Saturn" [ "open Giraffe"; "open Saturn" ] "giraffe.fs"
          framework "Falco" [ "open Falco"; "open Falco.Routing" ] "falco.fs"
          framework "Oxpecker" [ "open Oxpecker"; "open Microsoft.AspNetCore.Builder" ] "oxpecker.fs"

          testCase "the application's own words stay its own, in every order of open" (fun () ->
              let words = textOf "words.fs"
              let opens = [ "open Session.AspNetCore"; "open Orders.Shop"; "open System.Threading.Tasks" ]

              compiles "Words" (words + "\n" + (inEachOrder opens (textOf "ownwords.fs"))))

          testCase "a program that uses every function compiles without a warning, null checks included" (fun () ->
              compiles "Everything" (textOf "everything.fs"))

          testCase "each trap is an error of the compiler" (fun () ->
              let source = textOf "traps.fs"
              let expected = expected source
              Expect.isGreaterThan expected.Length 30 "traps"
              let _, said = compile "Traps" source

              let found =
                  [ for it in Regex.Split(said, @"(?m)^(?=\S+\.fs \(\d+,)") do
                        let place = Regex.Match(it, @"\.fs \((\d+),")

                        if place.Success then
                            int place.Groups[1].Value, it ]

              for line, words in expected do
                  Expect.isTrue
                      (found |> List.exists (fun (at, text) -> at = line && text.Contains words))
                      $"line {line}: {words}\n{said}"

              let lines = List.map fst expected

              Expect.equal
                  (found |> List.filter (fun (at, _) -> not (List.contains at lines)))
                  []
                  "and nothing else is") ]
