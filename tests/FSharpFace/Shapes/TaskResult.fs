/// The shape of FsToolkit.ErrorHandling's taskResult: it binds Task<Result<'T, 'E>>, and nothing here helps the sessions into it.
namespace FsToolkit.ErrorHandling

open System.Threading.Tasks

[<AutoOpen>]
module TaskResultCE =
    type TaskResultBuilder() =
        member _.Return(value: 'T) : Task<Result<'T, 'E>> = Task.FromResult(Ok value)
        member _.ReturnFrom(it: Task<Result<'T, 'E>>) = it
        member _.Zero() : Task<Result<unit, 'E>> = Task.FromResult(Ok())

        member _.Bind(it: Task<Result<'T, 'E>>, next: 'T -> Task<Result<'U, 'E>>) : Task<Result<'U, 'E>> =
            task {
                match! it with
                | Ok value -> return! next value
                | Error error -> return Error error
            }

        member _.Delay(work: unit -> Task<Result<'T, 'E>>) = work
        member _.Run(work: unit -> Task<Result<'T, 'E>>) = work ()

        member _.Combine(first: Task<Result<unit, 'E>>, second: unit -> Task<Result<'T, 'E>>) =
            task {
                match! first with
                | Ok() -> return! second ()
                | Error error -> return Error error
            }

    let taskResult = TaskResultBuilder()

[<RequireQualifiedAccess>]
module TaskResult =
    let mapError (change: 'E -> 'F) (it: Task<Result<'T, 'E>>) : Task<Result<'T, 'F>> =
        task {
            let! result = it
            return Result.mapError change result
        }

    let map (change: 'T -> 'U) (it: Task<Result<'T, 'E>>) : Task<Result<'U, 'E>> =
        task {
            let! result = it
            return Result.map change result
        }

    let requireSome (error: 'E) (it: Task<'T option>) : Task<Result<'T, 'E>> =
        task {
            match! it with
            | Some value -> return Ok value
            | None -> return Error error
        }
