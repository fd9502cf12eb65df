/// Start and upkeep: what has to be right before the first request, and the sweeper.
namespace Session.AspNetCore

open System
open System.Collections.Concurrent
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Hosting
open Microsoft.Extensions.Logging
open Microsoft.Extensions.Options
open Session.Engine

/// Who has which cookie name and which place in a store: two kinds of sessions must share neither.
[<Sealed>]
type internal SessionNames() =
    let taken = ConcurrentDictionary<string, Type>(StringComparer.Ordinal)

    /// The type that has it already, if it is another one.
    member _.Take(name: string, dataType: Type) =
        let owner = taken.GetOrAdd(name, dataType)
        if owner = dataType then None else Some owner

[<Sealed>]
type internal SessionHost<'T>(service: SessionService<'T>, names: SessionNames, provider: IServiceProvider) =
    inherit BackgroundService()

    let log = service.Log
    let batch = 100

    // When it was said that sweeps fail. A store that is down fails each of them.
    let mutable saidAt = ValueNone

    let say error =
        match saidAt with
        | ValueSome at when service.Clock.GetElapsedTime(at: int64) < TimeSpan.FromHours 1 -> ()
        | _ ->
            saidAt <- ValueSome(service.Clock.GetTimestamp())
            EdgeLog.sweepFailed log error

    let refuse sentence = raise (OptionsValidationException(typeof<'T>.Name, typeof<SessionSettings>, [| sentence |]))

    /// Of two kinds of sessions one alone may have this name.
    let keepApart (name: string) (said: string) =
        match names.Take(name, typeof<'T>) with
        | None -> ()
        | Some other -> refuse (String.Concat("Sessions of ", other.Name, " and of " + typeof<'T>.Name + " ", said))

    // A fifth more or less, so that the nodes of a fleet do not sweep at the same moment.
    let pause () = service.Settings.SweepInterval * (0.8 + 0.4 * Random.Shared.NextDouble())

    member private _.StartSweeping(cancel: CancellationToken) = base.StartAsync cancel

    override host.StartAsync(cancel) =
        task {
            let names' = [ service.Transport.CookieName; service.Transport.FormerCookieName ]

            for name in names' do
                keepApart
                    (String.Concat("cookie ", name))
                    "have the same cookie name: give one of them another Cookie.Name."

            for name in Option.toList service.Settings.HeaderName do
                keepApart
                    (String.Concat("header ", name.ToLowerInvariant()))
                    "have the same header: give one of them another HeaderName."

            let! report = service.Engine.Store.Prepare cancel

            keepApart
                (String.Concat("store ", report.Location))
                "share one place in a store: give one of them another file, table or prefix."

            if service.Settings.MaxSessionsPerSubject.IsSome && not report.Lists then
                refuse
                    "MaxSessionsPerSubject needs a store that lists the sessions of a subject: choose another store, or leave it unset."

            if service.Settings.HearsExpiry && not report.Lists then
                refuse
                    "OnExpired needs a store that finds the sessions that are over: choose UseRedis or UseSqlite, or leave OnExpired unset."

            if service.Settings.MaxSessionsPerSubject.IsSome && not report.ComparesAndSwaps then
                refuse
                    "MaxSessionsPerSubject needs a store that compares and swaps: over another one two sign-ins at once can both be let in, and an ended session can come back. Choose another store, or leave it unset."

            // Two sweeps, the pauses a fifth longer, and what one of them may take.
            if report.Lists && service.Settings.SweepInterval > report.KeepsBeyond / 3.0 then
                refuse
                    "SweepInterval is longer than a third of the store's JanitorMargin: records would go before a sweep comes to them, with OnExpired never told, and sessions that are only read lost. Shorten it, or lengthen JanitorMargin."

            if not report.ComparesAndSwaps then
                EdgeLog.noCompareAndSwap log null typeof<'T>.Name

            if
                service.Settings.SecurePolicy <> Microsoft.AspNetCore.Http.CookieSecurePolicy.Always
                && not service.Explains
            then
                EdgeLog.notAlwaysSecure log null typeof<'T>.Name

            for note in report.Notes do
                EdgeLog.storeNote log null note

            // Nothing to sweep where nothing can be found: the store lets go of what is over.
            if report.Lists then
                do! host.StartSweeping cancel
        }

    override _.StopAsync(cancel) =
        for stop in service.Stopping do
            stop ()

        service.OpenSessions.Stop()
        base.StopAsync cancel

    override _.ExecuteAsync(stopping) =
        task {
            try
                while not stopping.IsCancellationRequested do
                    do! Task.Delay(pause (), service.Clock, stopping)

                    try
                        let mutable handled = batch

                        while handled = batch && not stopping.IsCancellationRequested do
                            let! count = service.Engine.Sweep(batch, stopping)
                            handled <- count

                        do! service.Engine.CountLive stopping
                        saidAt <- ValueNone
                    with
                    | :? OperationCanceledException when stopping.IsCancellationRequested -> ()
                    | error -> say error
            with :? OperationCanceledException when stopping.IsCancellationRequested ->
                ()
        }

    // The endpoints are known once everything has started: what they lack stops the program then.
    interface IHostedLifecycleService with
        member _.StartingAsync _ = Task.CompletedTask

        member _.StartedAsync _ =
            SessionGuard.buildEndpoints provider

            for start in service.Started do
                start ()

            Task.CompletedTask

        member _.StoppingAsync _ = Task.CompletedTask
        member _.StoppedAsync _ = Task.CompletedTask
