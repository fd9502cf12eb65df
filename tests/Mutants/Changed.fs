/// The files that a change has touched, by git: against where this branch left main, or, on main itself, against the commit
/// before; and what is not committed yet.
module Mutants.Changed

open System
open System.Diagnostics

let private git (arguments: string list) : string list option =
    let info =
        ProcessStartInfo(
            "git",
            arguments,
            WorkingDirectory = Repository.under [],
            RedirectStandardOutput = true,
            RedirectStandardError = true
        )

    try
        match Process.Start info with
        | null -> None
        | started ->
            use started = started
            let said = started.StandardError.ReadToEndAsync()
            let out = started.StandardOutput.ReadToEnd()
            started.WaitForExit()
            said.Wait()

            if started.ExitCode = 0 then
                Some(List.ofArray (out.Split('\n', StringSplitOptions.RemoveEmptyEntries)))
            else
                None
    // There is no git on this machine.
    with :? ComponentModel.Win32Exception ->
        None

let private parting () =
    let head = git [ "rev-parse"; "HEAD" ]

    let from branch = git [ "merge-base"; branch; "HEAD" ] |> Option.filter (fun it -> Some it <> head)

    List.tryPick from [ "origin/main"; "main" ] |> Option.orElse (git [ "rev-parse"; "HEAD~1" ])

/// None: nothing is known of what was before (no git, or a clone of one commit).
let files () : Set<string> option =
    match parting () with
    | Some [ from ] ->
        match git [ "diff"; "--name-only"; from ], git [ "ls-files"; "--others"; "--exclude-standard" ] with
        | Some changed, Some added -> Some(Set(changed @ added))
        | _ -> None
    | _ -> None
