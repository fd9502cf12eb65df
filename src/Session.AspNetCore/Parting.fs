/// What the response does for the client's token. It is set when the operation succeeds, for caches and middlewares to see
/// it, and once more when the headers are written, in case somebody has cleared them meanwhile.
namespace Session.AspNetCore

open System
open System.Threading.Tasks
open Microsoft.AspNetCore.Http
open Session.Domain
open Session.Engine

[<NoComparison; NoEquality>]
type internal Parting =
    | LeaveAlone
    /// The token of a new or an elevated session: every other one is dead.
    | Hand of IssuedToken
    /// The token of a renewal: handed over only if it may be (`Plans.mayHand`) when the headers are written. Another request
    /// may have signed in meanwhile, and its answer come first.
    | HandIfItStands of IssuedToken
    /// The user has signed out.
    | Clear
    /// Time has ended the session, and so its cookie is of no use (NIST SP 800-63B-4: it should be erased), unless another
    /// request of the client has begun a new one meanwhile, whose cookie this must not take away. A client that was told so
    /// before has no token to tell by that its new one belongs to it: what answers late takes nothing.
    | ClearUnlessLeft of id: string * SecretHash

[<Sealed>]
type internal Parter
    (transport: Transport, engine: SessionEngine, context: HttpContext, clock: TimeProvider, arrivedAt: DateTimeOffset)
    =
    let mutable parting = LeaveAlone
    let mutable decidedAt = 0L
    let mutable isWatching = false

    let requests = engine.Requests

    /// A handler may go on for long after a sign-in. If its session has ended meanwhile, the client may have begun a new one,
    /// whose token this one must not take the place of.
    let isFresh () = engine.Waits.Timer.GetElapsedTime decidedAt < TimeSpan.FromSeconds 1L

    /// The answer comes so soon after the request that its client cannot have gone on yet.
    let isPrompt () =
        let taken = clock.GetUtcNow() - arrivedAt
        taken >= TimeSpan.Zero && taken < TimeSpan.FromSeconds 1L

    let atStart () : Task =
        task {
            match parting with
            | LeaveAlone -> ()
            | Hand token when isFresh () -> transport.Hand(context, token)
            | Hand token ->
                match! requests.Stands(token.Id, token.HashWith engine.Hasher, engine.NewErrand()) with
                | true -> transport.Hand(context, token)
                | false -> transport.Withdraw context
            | HandIfItStands token ->
                match! requests.MayHand(token.Id, token.HashWith engine.Hasher, engine.NewErrand()) with
                | true -> transport.Hand(context, token)
                | false -> ()
            | Clear -> transport.Clear context
            | ClearUnlessLeft _ when not (isPrompt ()) -> ()
            | ClearUnlessLeft(id, secret) ->
                match! requests.IsLeftAlone(id, secret, engine.NewErrand()) with
                | true -> transport.Clear context
                | false -> ()
        }

    /// The last decision counts. Too late once the response has started.
    member _.Decide(decision: Parting) =
        parting <- decision
        decidedAt <- engine.Waits.Timer.GetTimestamp()

        if not context.Response.HasStarted then
            if not isWatching then
                isWatching <- true
                TokenOwed.Note context
                context.Response.OnStarting(fun () -> atStart ())

            match decision with
            | Hand token -> transport.Hand(context, token)
            | Clear -> transport.Clear context
            // The cookie comes when the headers are written, which is too late for caches in this process.
            | ClearUnlessLeft _
            | HandIfItStands _ -> Sharing.noStore context
            | LeaveAlone -> ()

            // Even where the application lets others see the answer: they must not get the token.
            match decision with
            | LeaveAlone -> ()
            | Hand _
            | Clear
            | ClearUnlessLeft _
            | HandIfItStands _ -> Sharing.keepOut context
