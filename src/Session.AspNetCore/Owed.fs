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

/// That the headers of this response have something to say of a token once they are written, whatever is cleared before.
[<Sealed>]
type internal TokenOwed private () =
    static let owed = TokenOwed()

    static member Note(context: HttpContext) = context.Features[typeof<TokenOwed>] <- owed

    static member IsNoted(context: HttpContext) = not (isNull context.Features[typeof<TokenOwed>])

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

        let complete status =
            response.StatusCode <- status
            response.ContentLength <- 0L
            response.CompleteAsync()

        match error with
        | :? SessionFailedException as failure -> Answers.write context failure.StatusCode failure.Message
        | :? BadHttpRequestException as bad -> complete bad.StatusCode
        | _ -> complete 500

    let watch (running: Task) (context: HttpContext) (received: Received) (body: obj | null) : Task =
        task {
            try
                try
                    do! running
                with error when TokenOwed.IsNoted context && not context.Response.HasStarted ->
                    let caught = ExceptionDispatchInfo.Capture error

                    try
                        do! answer context body error
                    with second ->
                        raise (AggregateException(error, second))

                    caught.Throw()
            finally
                received.PipelineEnded context
        }

    let clock =
        match services.GetService typeof<TimeProvider> with
        | :? TimeProvider as clock -> clock
        | _ -> TimeProvider.System

    let note (next: RequestDelegate) (context: HttpContext) : Task =
        let received = Received.Of(clock, context)

        task {
            try
                do! next.Invoke context
            finally
                received.PipelineEnded context
        }

    let pass (next: RequestDelegate) (context: HttpContext) : Task =
        let received = Received.Of(clock, context)
        let body = context.Features[typeof<IHttpResponseBodyFeature>]

        let running =
            try
                next.Invoke context
            with error ->
                Task.FromException error

        if running.IsCompletedSuccessfully then
            received.PipelineEnded context
            running
        else
            watch running context received body

    interface IStartupFilter with
        member _.Configure next =
            Action<IApplicationBuilder>(fun app ->
                // The client of a test in this process gets the exception itself, and no answer.
                let around = if TestServers.isUsed services then note else pass
                app.Use(fun rest -> RequestDelegate(around rest)) |> ignore

                next.Invoke app)
