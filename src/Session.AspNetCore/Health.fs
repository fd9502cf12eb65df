/// The health check of sessions: whether their store works, and what it found out at start.
namespace Session.AspNetCore

open System
open System.Collections.Generic
open System.Globalization
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.DependencyInjection
open Microsoft.Extensions.Diagnostics.HealthChecks
open Session.Engine

/// What is known of a store's surroundings, and whether the last check found anything.
[<AllowNullLiteral; Sealed>]
type internal Surveyed(report: StoreReport, since: int64) =
    member _.Report = report
    member _.Since = since

/// Asked anew when something was wrong the last time, and once a minute: settings of a server change while it runs.
[<Sealed>]
type internal StoreSurvey(store: ISessionStore, waits: WaitLimits) =
    let fresh = TimeSpan.FromMinutes 1L
    let mutable known: Surveyed = null
    let mutable isClean = false

    /// The last report, or a new one; what the store says of settings that it does not work with is an exception.
    member _.Get(left: TimeSpan, cancel: CancellationToken) : Task<StoreReport> =
        task {
            match Volatile.Read &known with
            | null -> ()
            | surveyed when isClean && waits.Timer.GetElapsedTime surveyed.Since < fresh -> ()
            | _ -> Volatile.Write(&known, null)

            match Volatile.Read &known with
            | null ->
                let! report = (store.Prepare cancel).AsTask().WaitAsync(left, waits.Timer, cancel)
                Volatile.Write(&known, Surveyed(report, waits.Timer.GetTimestamp()))
                return report
            | surveyed -> return surveyed.Report
        }

    member _.IsClean
        with set value = Volatile.Write(&isClean, value)

[<RequireQualifiedAccess>]
module internal Health =
    let private milliseconds (took: TimeSpan) =
        took.TotalMilliseconds.ToString("0.0", CultureInfo.InvariantCulture) + " ms"

    /// One call as a sentence for the data of the report. Without what exceptions say: that may name servers.
    let saying (call: ProbedCall) : string =
        match call.Failure with
        | null ->
            match call.Fault with
            | null -> String.Concat("ok, ", milliseconds call.Took)
            | fault -> fault
        | failure ->
            match SessionStore.causeOf failure with
            | :? TimeoutException -> String.Concat("no answer after ", milliseconds call.Took)
            | cause -> String.Concat("failed (", cause.GetType().Name, ")")

    /// A request asks twice, three times with a sign-in: slower than a fifth, and its time is over soon.
    let isSlow (waits: WaitLimits) (call: ProbedCall) = call.Took > waits.RequestTimeout / 5.0

    let isUp (calls: ProbedCall list) = calls |> List.exists (fun call -> isNull call.Failure)

    /// What is wrong with a store that answers; empty: nothing.
    let troubles waits (calls: ProbedCall list) (notes: IReadOnlyList<string>) =
        [ for call in calls do
              if not (isNull call.Failure) || not (isNull call.Fault) then
                  String.Concat(call.Verb, ": ", saying call)
              elif isSlow waits call then
                  String.Concat(call.Verb, " is slow: ", milliseconds call.Took)
          yield! notes ]

[<Sealed>]
type internal SessionHealthCheck<'T>(service: SessionService<'T>) =
    let engine = service.Engine
    let survey = StoreSurvey(engine.Store, engine.Waits)

    let surveyed began (cancel: CancellationToken) : Task<struct (StoreReport | null * string list)> =
        task {
            let left = engine.Waits.RequestTimeout - engine.Waits.Timer.GetElapsedTime began

            try
                let! report = survey.Get(max left TimeSpan.Zero, cancel)
                return struct (report, List.ofSeq report.Notes)
            with
            | :? TimeoutException ->
                return struct (null, [ "The store did not say in time how its surroundings are set up." ])
            | error when not cancel.IsCancellationRequested ->
                return
                    struct (null,
                            [ String.Concat(
                                  "The store does not work as its surroundings are set up, and the application would not start again: ",
                                  error.Message
                              ) ])
        }

    interface IHealthCheck with
        member _.CheckHealthAsync(context, cancel) =
            task {
                let began = engine.Waits.Timer.GetTimestamp()
                let! calls = engine.Probe cancel
                let data = Dictionary<string, obj>()

                for call in calls do
                    data[call.Verb] <- Health.saying call

                let failure: exn | null = calls |> List.tryPick (fun call -> Option.ofObj call.Failure) |> Option.toObj

                if not (Health.isUp calls) then
                    survey.IsClean <- false

                    return
                        HealthCheckResult(
                            context.Registration.FailureStatus,
                            "The session store does not answer: requests that need a session get 503.",
                            failure,
                            data
                        )
                else
                    let! (struct (report, notes)) = surveyed began cancel

                    match report with
                    | null -> ()
                    | report -> data["store"] <- report.Location

                    data["notes"] <- Array.ofList notes
                    let troubles = Health.troubles engine.Waits calls (Array.ofList notes)
                    survey.IsClean <- troubles.IsEmpty

                    if troubles.IsEmpty then
                        return HealthCheckResult(HealthStatus.Healthy, "The session store works.", null, data)
                    else
                        let said = String.Join(" ", troubles)
                        return HealthCheckResult(HealthStatus.Degraded, said, failure, data)
            }

namespace Microsoft.Extensions.DependencyInjection

open System
open System.Collections.Generic
open System.Runtime.CompilerServices
open System.Runtime.InteropServices
open Microsoft.Extensions.DependencyInjection
open Microsoft.Extensions.DependencyInjection.Extensions
open Microsoft.Extensions.Diagnostics.HealthChecks
open Session.AspNetCore

/// Health checks of sessions, for C# and F#.
[<AbstractClass; Sealed; Extension>]
type SessionHealthChecksBuilderExtensions =
    /// <summary>Checks the store of the sessions of <typeparamref name="T"/>: a record of no session is written, read, replaced and removed, within <c>RequestTimeout</c> altogether. No count and no list has it, and no event is told of it.</summary>
    /// <remarks>Unhealthy (or <paramref name="failureStatus"/>): the store does not answer. Degraded: some of the calls fail, or are slower than a fifth of <c>RequestTimeout</c>, or writes are not kept as widely as a logout has to be, or the store has found settings that lose sessions; the data of the report has each of its start-up notes under <c>notes</c>, and the place of the records under <c>store</c>.</remarks>
    /// <typeparam name="T">The session data.</typeparam>
    /// <param name="builder">What AddHealthChecks returns.</param>
    /// <param name="name">Default: <c>sessions:</c> and the name of the type.</param>
    /// <param name="failureStatus">What is reported of a store that does not answer. Default: Unhealthy.</param>
    /// <param name="tags">To choose checks by.</param>
    /// <param name="timeout">Of the check as a whole. Default: none besides <c>RequestTimeout</c>.</param>
    [<Extension>]
    static member AddSessions<'T>
        (
            builder: IHealthChecksBuilder,
            [<Optional; DefaultParameterValue(null: string | null)>] name: string | null,
            [<Optional>] failureStatus: Nullable<HealthStatus>,
            [<Optional; DefaultParameterValue(null: IEnumerable<string> | null)>] tags: IEnumerable<string> | null,
            [<Optional>] timeout: Nullable<TimeSpan>
        ) : IHealthChecksBuilder =
        SessionRegistration.named<'T> "AddHealthChecks().AddSessions"

        builder.Services.TryAddSingleton<SessionHealthCheck<'T>>(fun (provider: IServiceProvider) ->
            match provider.GetService<SessionService<'T>>() with
            | null ->
                invalidOp (
                    String.Concat(
                        "The health check of sessions of ",
                        typeof<'T>.Name,
                        " has none to check: call services.AddSession<",
                        typeof<'T>.Name + ">()."
                    )
                )
            | service -> SessionHealthCheck<'T> service)

        let name =
            match name with
            | null -> String.Concat("sessions:", typeof<'T>.Name)
            | name -> name

        builder.Add(
            HealthCheckRegistration(
                name,
                (fun provider -> provider.GetRequiredService<SessionHealthCheck<'T>>() :> IHealthCheck),
                failureStatus,
                tags,
                timeout
            )
        )
