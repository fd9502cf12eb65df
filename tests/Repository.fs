/// Where the repository is, for tests that look at its files. The compiler's own word for it is a made up path in a
/// deterministic build, and a copy of the tests elsewhere has no repository around it unless it is told of one.
module internal Repository

open System
open System.IO

let rec private rootFrom (folder: DirectoryInfo | null) =
    match folder with
    | null -> failwith "No repository around these tests: run them in it, or set SESSION_REPOSITORY to its folder."
    | folder when File.Exists(Path.Combine(folder.FullName, "Session.slnx")) -> folder.FullName
    | folder -> rootFrom folder.Parent

let private root =
    lazy
        (match Environment.GetEnvironmentVariable "SESSION_REPOSITORY" with
         | null
         | "" -> rootFrom (DirectoryInfo AppContext.BaseDirectory)
         | told -> Path.GetFullPath told)

let under (parts: string list) = Path.Combine(Array.ofList (root.Force() :: parts))
