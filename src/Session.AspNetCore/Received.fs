/// When a request came, where it went first, and whether it is over. Error pages are served by the same request, which is routed
/// anew (UseExceptionHandler, UseStatusCodePagesWithReExecute), and anything may be waited for before the session middleware.
namespace Session.AspNetCore

open System
open System.Threading
open System.Threading.Tasks
open Microsoft.AspNetCore.Http

[<Sealed>]
type internal Received(at: DateTimeOffset) =
    let mutable isOver = false

    static let ended =
        Func<obj, Task>(fun received ->
            (received :?> Received).End()
            Task.CompletedTask)

    /// Its token is judged as of then, however late its session is asked for.
    member _.At = at

    /// The endpoint that it was routed to first, once the session middleware, or the handler of a ticket, has seen one.
    member val First: Endpoint | null = null with get, set

    /// Servers use the HttpContext for another request then, of somebody else perhaps: an operation that nobody has waited for must
    /// neither read that one's token nor put one into its response.
    member _.IsOver = Volatile.Read &isOver

    /// Nobody else has this object: it is its own lock.
    member private received.End() =
        Monitor.Enter received
        isOver <- true
        Monitor.Exit received

    /// True: the request goes on, and does not end before `Leave`, by the same thread.
    member received.TryEnter() =
        Monitor.Enter received

        if isOver then
            Monitor.Exit received
            false
        else
            true

    member received.Leave() = Monitor.Exit received

    /// Does something with the request or its response; the other thing, when it is over. No closures: each request comes here.
    member inline received.Touch([<InlineIfLambda>] work: unit -> 'a, [<InlineIfLambda>] over: unit -> 'a) : 'a =
        if received.TryEnter() then
            try
                work ()
            finally
                received.Leave()
        else
            over ()

    /// By whoever asks first, the outermost middleware as a rule.
    static member Of(clock: TimeProvider, context: HttpContext) : Received =
        match context.Features[typeof<Received>] with
        | :? Received as received -> received
        | _ ->
            let received = Received(clock.GetUtcNow())
            context.Features[typeof<Received>] <- received
            received

    /// The same by the outermost middleware: it is over once the response is, and all that the application has registered for
    /// that has run. Of these callbacks the first that is registered is the last to run.
    static member Begin(clock: TimeProvider, context: HttpContext) : unit =
        context.Response.OnCompleted(ended, Received.Of(clock, context))
