/// What the dashboard of a node keeps an eye on: counts of the last hour, how many sessions live, and whether the store works.
/// However often a page is loaded, the store is asked no more for it.
namespace Session.AspNetCore

open System
open System.Collections.Generic
open System.Diagnostics.Metrics
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.DependencyInjection
open Microsoft.Extensions.Diagnostics.HealthChecks
open Session.Engine

/// What is counted of the sessions of one type in this application, minute by minute.
[<RequireQualifiedAccess>]
module private Counting =
    let private isOf (sessionType: string) (tags: ReadOnlySpan<KeyValuePair<string, obj | null>>) =
        let mutable isIts = false

        for tag in tags do
            if tag.Key = "session.type" && sessionType.Equals tag.Value then
                isIts <- true

        isIts

    let private note (chronicle: Chronicle) name value =
        chronicle.Count(fun minute ->
            match name with
            | "session.created" -> minute.Began <- minute.Began + value
            | "session.sign_ins" -> minute.SignIns <- minute.SignIns + value
            | "session.ended"
            | "session.expired" -> minute.Over <- minute.Over + value
            | _ -> minute.Refused <- minute.Refused + value)

    let private names =
        set
            [ "session.created"
              "session.sign_ins"
              "session.ended"
              "session.expired"
              "session.refusals" ]

    let start (chronicle: Chronicle) (meters: IMeterFactory | null) (sessionType: string) : MeterListener =
        let listener = new MeterListener()

        listener.InstrumentPublished <-
            fun instrument listener ->
                if
                    instrument.Meter.Name = "Session"
                    && Object.ReferenceEquals(instrument.Meter.Scope, meters)
                    && names.Contains instrument.Name
                then
                    listener.EnableMeasurementEvents(instrument, null)

        listener.SetMeasurementEventCallback<int64>(
            MeasurementCallback<int64>(fun instrument value tags _ ->
                if isOf sessionType tags then
                    note chronicle instrument.Name value)
        )

        listener.Start()
        listener

/// How many sessions live, and when that was counted.
[<Sealed; AllowNullLiteral>]
type internal LiveCount(count: int64, at: DateTimeOffset) =
    member _.Count = count
    member _.At = at

[<Sealed>]
type internal Watch<'T>(service: SessionService<'T>, provider: IServiceProvider, countsAnyway: bool) =
    let engine, clock = service.Engine, service.Clock
    let chronicle = Chronicle clock
    let isCheap = engine.Store :? ICountsCheaply
    let health = SessionHealthCheck<'T> service
    let turn = new SemaphoreSlim 1
    let mutable listener: MeterListener | null = null
    let mutable timer: ITimer | null = null
    let mutable live: LiveCount = null
    let mutable countedAt = DateTimeOffset.MinValue
    let mutable checkedAt = DateTimeOffset.MinValue
    let mutable report: HealthCheckResult voption = ValueNone

    let isFresh (at: DateTimeOffset) (age: TimeSpan) = (clock.GetUtcNow() - at).Duration() < age

    let count () : Task =
        task {
            countedAt <- clock.GetUtcNow()

            try
                let! found =
                    (engine.NewErrand()).Await(engine.Store.Count CancellationToken.None, CancellationToken.None)

                live <- LiveCount(found, clock.GetUtcNow())
                chronicle.Count(fun minute -> minute.Live <- found)
            with _ ->
                live <- null // what is wrong with the store is said by its check
        }

    member _.Chronicle = chronicle
    member _.CountsLive = isCheap || countsAnyway

    /// Once the application runs.
    member watch.Start() =
        if isNull listener then
            listener <- Counting.start chronicle (provider.GetService<IMeterFactory>()) typeof<'T>.Name
            service.Chronicle <- chronicle

            if watch.CountsLive then
                let minute = TimeSpan.FromMinutes 1L
                timer <- clock.CreateTimer((fun _ -> count () |> ignore), null, TimeSpan.Zero, minute)

    member _.Stop() =
        match listener with
        | null -> ()
        | listener -> listener.Dispose()

        match timer with
        | null -> ()
        | timer -> timer.Dispose()

    /// Null: not counted. A store that counts cheaply is asked at most every five seconds; another one never for a page.
    member _.Live() : Task<LiveCount> =
        task {
            // Also where it did not answer: no page waits for it again at once.
            if isCheap && not (isFresh countedAt (TimeSpan.FromSeconds 5L)) then
                do! count ()

            return live
        }

    /// The check of the store, not older than ten seconds.
    member _.Health(cancel: CancellationToken) : Task<HealthCheckResult> =
        task {
            do! turn.WaitAsync cancel

            try
                match report with
                | ValueSome known when isFresh checkedAt (TimeSpan.FromSeconds 10L) -> return known
                | _ ->
                    let check = health :> IHealthCheck
                    let registration = HealthCheckRegistration("dashboard", check, Nullable(), null)
                    let! found = check.CheckHealthAsync(HealthCheckContext(Registration = registration), cancel)
                    report <- ValueSome found
                    checkedAt <- clock.GetUtcNow()
                    return found
            finally
                turn.Release() |> ignore
        }
