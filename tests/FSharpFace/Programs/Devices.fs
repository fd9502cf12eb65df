/// What docs/FSHARP.md says of other sessions than the request's own, and of results in a row.
module FSharpFace.Programs.Devices

open System
open System.Threading.Tasks
open FsToolkit.ErrorHandling
open Microsoft.AspNetCore.Http
open Session.AspNetCore

let devices (ctx: HttpContext) =
    taskResult {
        let! subject = Session.subject<Cart> ctx |> TaskResult.requireSome SessionError.NoSession
        return! Sessions.list<Cart> subject ctx
    }

let signOutDevice id (ctx: HttpContext) =
    taskResult {
        match! Sessions.findOwn<Cart> id ctx with
        | None -> return false
        | Some mine -> return! Sessions.destroy<Cart> mine.Id ctx
    }

let changePassword (store: string -> string -> Task<Result<unit, string>>) password (ctx: HttpContext) =
    taskResult {
        let! subject = Session.subject<Cart> ctx |> TaskResult.requireSome "Sign in first."
        do! store subject password
        do! Session.regenerate<Cart> ctx |> TaskResult.mapError _.Sentence
        let! id = Session.tryId<Cart> ctx |> TaskResult.requireSome "Sign in first."
        return! Sessions.destroyAllBut<Cart> id subject ctx |> TaskResult.mapError _.Sentence
    }

/// At night, without a request.
let endAll subject (services: IServiceProvider) =
    task {
        match! SessionServices.destroyAll<Cart> subject services with
        | Ok ended -> return $"{ended} ended"
        | Error(SessionError.Incomplete(ended, left, _)) -> return $"{ended} ended, {left} are left: again"
        | Error error -> return string error
    }
