/// Around the whole pipeline: when a request came; and a token that is stored, and that the client does not have yet, reaches it
/// with a failure as well.
namespace Session.AspNetCore

open System
open System.Runtime.ExceptionServices
open System.Threading.Tasks
open Microsoft.AspNetCore.Builder
open Microsoft.AspNetCore.Hosting
open Microsoft.AspNetCore.Http
open Microsoft.AspNetCore.Http.Features

/// Around the whole pipeline. An exception that nobody in it answers is answered by the server, which writes no header of this
/// response: the new token would be lost, and the one before is dead (invariant 18). So the answer is given here, where a token
/// is owed; the exception goes on to the server all the same, for its log.
[<Sealed>]
type internal TokenKeeper(services: IServiceProvider) =
    /// `body`: the server's. A middleware that keeps the response back may have left its own in its place.
    let answer (context: HttpContext) (body: obj | null) (error: exn) : Task =
        context.Features[typeof<IHttpResponseBodyFeature>] <- body
        let response = context.Response
        response.Clear()
        // RFC 9111 7.3: Set-Cookie does not keep a response out of caches.
        Sharing.noStore context

        let complete status : Task =
            response.StatusCode <- status

            if Answers.hasUnflushed context then
                Answers.breakOff context
            else
                response.ContentLength <- 0L
                response.CompleteAsync()

        match error with
        | :? SessionFailedException as failure -> Answers.write context failure.StatusCode failure.Message
        | :? BadHttpRequestException as bad -> complete bad.StatusCode
        | _ -> complete 500

    let watch (running: Task) (context: HttpContext) (body: obj | null) : Task =
        task {
            try
                do! running
            with error when TokenOwed.IsNoted context && not context.Response.HasStarted ->
                let caught = ExceptionDispatchInfo.Capture error

                try
                    do! answer context body error
                with second ->
                    raise (AggregateException(error, second))

                caught.Throw()
        }

    let clock =
        match services.GetService typeof<TimeProvider> with
        | :? TimeProvider as clock -> clock
        | _ -> TimeProvider.System

    let note (next: RequestDelegate) (context: HttpContext) : Task =
        Received.Begin(clock, context)
        next.Invoke context

    let pass (next: RequestDelegate) (context: HttpContext) : Task =
        Received.Begin(clock, context)
        let body = context.Features[typeof<IHttpResponseBodyFeature>]

        let running =
            try
                next.Invoke context
            with error ->
                Task.FromException error

        if running.IsCompletedSuccessfully then running else watch running context body

    interface IStartupFilter with
        member _.Configure next =
            Action<IApplicationBuilder>(fun app ->
                // The client of a test in this process gets the exception itself, and no answer.
                let around = if TestServers.isUsed services then note else pass
                app.Use(fun rest -> RequestDelegate(around rest)) |> ignore

                next.Invoke app)
