/// A request and its response without a server: the features that the pipeline works with.
module Simulation.Http

open System
open System.Collections.Generic
open System.IO
open System.IO.Pipelines
open System.Threading
open System.Threading.Tasks
open Microsoft.AspNetCore.Http
open Microsoft.AspNetCore.Http.Features

/// Headers are written when the body begins, or at the end, after those who wait for it have been asked.
[<Sealed>]
type Response() =
    let starting = Stack<struct (Func<obj, Task> * obj)>()
    let writer = PipeWriter.Create Stream.Null
    let mutable hasStarted = false

    member val Headers: IHeaderDictionary = HeaderDictionary() with get, set
    member val Status = 200 with get, set
    member _.HasStarted = hasStarted

    member _.Start() : Task =
        task {
            while starting.Count > 0 do
                let struct (call, state) = starting.Pop()
                do! call.Invoke state

            hasStarted <- true
        }

    interface IHttpResponseFeature with
        member response.StatusCode
            with get () = response.Status
            and set value = response.Status <- value

        member val ReasonPhrase: string | null = null with get, set

        member response.Headers
            with get () = response.Headers
            and set value = response.Headers <- value

        member val Body = Stream.Null with get, set
        member _.HasStarted = hasStarted
        member _.OnStarting(call, state) = starting.Push(struct (call, state))
        member _.OnCompleted(_, _) = ()

    interface IHttpResponseBodyFeature with
        member _.Stream = Stream.Null
        member _.Writer = writer
        member _.DisableBuffering() = ()
        member response.StartAsync _ = if hasStarted then Task.CompletedTask else response.Start()
        member _.SendFileAsync(_, _, _, _) = Task.CompletedTask
        member _.CompleteAsync() = Task.CompletedTask

let contextOf
    (services: IServiceProvider)
    (cookies: string list)
    (aborted: CancellationToken)
    : HttpContext * Response =
    let features = FeatureCollection()
    let response = Response()
    let request = HttpRequestFeature()
    request.Method <- "POST"
    request.Scheme <- "https"
    request.Path <- "/"

    if not cookies.IsEmpty then
        request.Headers.Cookie <- Microsoft.Extensions.Primitives.StringValues(String.Join("; ", cookies))

    features.Set<IHttpRequestFeature> request
    features.Set<IHttpResponseFeature> response
    features.Set<IHttpResponseBodyFeature> response
    let lifetime = HttpRequestLifetimeFeature()
    lifetime.RequestAborted <- aborted
    features.Set<IHttpRequestLifetimeFeature> lifetime
    let context = DefaultHttpContext features
    context.RequestServices <- services
    context, response
