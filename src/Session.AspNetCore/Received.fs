/// When a request came, where it went first, and whether it is over. Error pages are served by the same request, which is routed
/// anew (UseExceptionHandler, UseStatusCodePagesWithReExecute), and anything may be waited for before the session middleware.
namespace Session.AspNetCore

open System
open System.Threading
open System.Threading.Tasks
open Microsoft.AspNetCore.Http

[<Sealed>]
type internal Received(at: DateTimeOffset) =
    let gate = Lock()
    let mutable isOver = false

    static let ended =
        Func<obj, Task>(fun received ->
            (received :?> Received).End()
            Task.CompletedTask)

    /// Its token is judged as of then, however late its session is asked for.
    member _.At = at

    /// The endpoint that it was routed to first, once the session middleware has seen one.
    member val First: Endpoint | null = null with get, set

    /// Servers use the HttpContext for another request then, of somebody else perhaps: an operation that nobody has waited for must
    /// neither read that one's token nor put one into its response.
    member _.IsOver = Volatile.Read &isOver

    member private _.End() =
        gate.Enter()
        isOver <- true
        gate.Exit()

    /// The pipeline has ended, and so has the request, unless the headers of its response are yet to be written.
    member received.PipelineEnded(context: HttpContext) =
        if context.Response.HasStarted then received.End() else context.Response.OnCompleted(ended, received)

    /// True: the request goes on, and does not end before `Leave`.
    member _.TryEnter() =
        gate.Enter()

        if isOver then
            gate.Exit()
            false
        else
            true

    member _.Leave() = gate.Exit()

    /// By whoever asks first, the outermost middleware as a rule.
    static member Of(clock: TimeProvider, context: HttpContext) : Received =
        match context.Features[typeof<Received>] with
        | :? Received as received -> received
        | _ ->
            let received = Received(clock.GetUtcNow())
            context.Features[typeof<Received>] <- received
            received
