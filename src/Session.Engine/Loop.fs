/// Drives Protocol.next: asks the store what the protocol asks for, until the run has come to its end.
namespace Session.Engine

open System
open System.Threading
open System.Threading.Tasks

[<Sealed>]
type internal Loop(access: StoreAccess) =
    /// The first step, on a record that was read already or still has to be.
    member _.Begin(plan: Plan<'out>, terms, loaded: Result<Snapshot, SessionError>) =
        Protocol.next plan terms Protocol.start (access.Found loaded)

    /// From there to the end. Does not wait while the store answers at once. `cancel` stops what has not been sent yet.
    member _.Drive
        (
            id: string,
            plan: Plan<'out>,
            terms: ITerms,
            keys: BearerKeys | null,
            first: struct (Run<'out> * Ask<'out>),
            errand: Errand,
            cancel: CancellationToken
        ) : Task<Ending<'out>> =
        task {
            let mutable step = first
            let mutable ending = ValueNone

            while ending.IsNone do
                let struct (run, ask) = step

                match ask with
                | Finish reached -> ending <- ValueSome reached
                | Load ->
                    do! access.Again run.Attempt
                    let! loaded = access.Load(id, keys, errand, CancellationToken.None)
                    step <- Protocol.next plan terms run (access.Found loaded)
                | Swap write ->
                    if run.Pending.IsEmpty then
                        cancel.ThrowIfCancellationRequested()

                    let! answer = access.Swap(write, errand)
                    step <- Protocol.next plan terms run answer

            match ending.Value with
            | Kept(_, ValueSome at) -> do! access.Touch(id, at, errand)
            | _ -> ()

            return ending.Value
        }
