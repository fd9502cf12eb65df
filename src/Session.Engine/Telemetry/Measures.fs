/// What is counted and measured: the meter `Session`, each instrument as docs/TELEMETRY.md lists it. Nothing here has an id, a
/// subject or a token, and every tag has a few values.
namespace Session.Engine

open System
open System.Collections.Generic
open System.Diagnostics
open System.Diagnostics.Metrics
open System.Threading
open Session.Domain

/// A store whose Count costs about as much as a load, however many records it has: it may be asked again and again.
[<Interface>]
type ICountsCheaply = interface end

[<RequireQualifiedAccess>]
module internal Tags =
    let of' (key: string) (value: string) = KeyValuePair<string, obj | null>(key, value)

    /// What is to blame: of a write that a store has refused, the driver's own failure.
    let errorType (failure: exn) = string ((SessionStore.causeOf failure).GetType().FullName)

    let error (failure: exn) = of' "error.type" (errorType failure)

    let endReason reason =
        match reason with
        | SignedOut -> of' "session.end.reason" "signed_out"
        | Revoked -> of' "session.end.reason" "revoked"
        | Replayed -> of' "session.end.reason" "replayed"
        | Limit -> of' "session.end.reason" "limit"

    let expiry kind =
        match kind with
        | Unconfirmed -> of' "session.expiry.kind" "unconfirmed"
        | Idle -> of' "session.expiry.kind" "idle"
        | Absolute -> of' "session.expiry.kind" "absolute"

    let refusal reason = of' "session.refusal.reason" reason

/// The instruments for the sessions of one type. Nobody listens: each call here is a few comparisons.
[<Sealed>]
type internal Measures(meter: Meter, sessionType: string) =
    let its = Tags.of' "session.type" sessionType

    let counter (name, unit, description) = meter.CreateCounter<int64>(name, unit, description)

    let histogram (name: string, unit: string, description: string, bounds: 'value array) =
        meter.CreateHistogram<'value>(
            name,
            unit,
            description,
            null,
            InstrumentAdvice<'value>(HistogramBucketBoundaries = bounds)
        )

    let created = counter ("session.created", "{session}", "Sessions that began.")
    let signIns = counter ("session.sign_ins", "{sign_in}", "Sign-ins that were stored.")

    let ended = counter ("session.ended", "{session}", "Sessions that were ended on purpose, by reason.")

    let expired = counter ("session.expired", "{session}", "Sessions that were ended by time, by kind.")

    let renewals = counter ("session.renewals", "{renewal}", "Tokens that were replaced as a routine, and confirmed.")

    let replays =
        counter (
            "session.replays",
            "{replay}",
            "Superseded tokens that were presented after their grace: the sign of theft."
        )

    let refusals = counter ("session.refusals", "{request}", "Requests that brought what opens nothing, by reason.")

    let conflicts = counter ("session.conflicts", "{conflict}", "Writes that another write came before.")

    let retries =
        counter (
            "session.retries",
            "{retry}",
            "Changes that were decided again, after a conflict or an answer that never came."
        )

    let failures =
        counter (
            "session.store.failures",
            "{call}",
            "Calls to the session store that failed, or were not answered in time."
        )

    let duration =
        histogram (
            "session.store.duration",
            "s",
            "How long calls to the session store take.",
            [| 0.0001
               0.00025
               0.0005
               0.001
               0.0025
               0.005
               0.01
               0.025
               0.05
               0.1
               0.25
               0.5
               1.0
               2.5
               5.0 |]
        )

    let lag =
        histogram (
            "session.sweep.lag",
            "s",
            "How long after its time the sweeper comes to a session.",
            [| 1.0; 5.0; 15.0; 30.0; 60.0; 120.0; 300.0; 600.0; 1800.0; 3600.0 |]
        )

    let size =
        histogram (
            "session.data.size",
            "By",
            "The serialized data of a session, as it is written.",
            [| 64L; 256L; 1024L; 4096L; 16384L; 65536L; 262144L; 1048576L; 16777216L |]
        )

    let mutable live = -1L
    let mutable liveGauge: ObservableGauge<int64> | null = null

    /// For engines that nobody has made a meter for.
    static member val Shared = Measures(new Meter "Session", "") with get

    /// How many sessions live, as the store counted them last. Nothing is said before it has.
    member _.ObserveLive() =
        let observe () : seq<Measurement<int64>> =
            match Volatile.Read &live with
            | -1L -> Seq.empty
            | count -> Seq.singleton (Measurement<int64>(count, its))

        liveGauge <-
            meter.CreateObservableGauge<int64>(
                "session.live",
                observe,
                "{session}",
                "Sessions that are no tombstones, where the store counts cheaply; the same on every node of a fleet."
            )

    member _.WatchesLive =
        match liveGauge with
        | null -> false
        | gauge -> gauge.Enabled

    member _.Live
        with set (count: int64) = Volatile.Write(&live, count)

    /// What a stored change consists of.
    member _.Stored(events: Event list) =
        if
            created.Enabled
            || signIns.Enabled
            || ended.Enabled
            || expired.Enabled
            || renewals.Enabled
            || replays.Enabled
            || size.Enabled
        then
            for event in events do
                match event with
                | WasCreated(_, subject, data, _) ->
                    created.Add(1L, its)
                    size.Record(int64 data.Length, its)

                    if subject.IsSome then
                        signIns.Add(1L, its)
                | WasSignedIn(_, data, _, _) ->
                    signIns.Add(1L, its)
                    size.Record(int64 data.Length, its)
                | WasWritten data -> size.Record(int64 data.Length, its)
                | RenewalConfirmed _ -> renewals.Add(1L, its)
                | WasReplayed _ -> replays.Add(1L, its)
                | WasDestroyed(reason, _) -> ended.Add(1L, its, Tags.endReason reason)
                | HasExpired(kind, _) -> expired.Add(1L, its, Tags.expiry kind)
                | WasConfirmed
                | WasSeen _
                | WasElevated _
                | RenewalIssued _
                | GraceEnded _
                | WasTold
                | WasLeft -> ()

    member _.Refused(reason: string) =
        if refusals.Enabled then
            refusals.Add(1L, its, Tags.refusal reason)

    member _.Conflicted() =
        if conflicts.Enabled then
            conflicts.Add(1L, its)

    member _.Retried() =
        if retries.Enabled then
            retries.Add(1L, its)

    member _.StoreFailed() =
        if failures.Enabled then
            failures.Add(1L, its)

    /// Of a session whose time was over at `due`.
    member _.Swept(due: DateTimeOffset, now: DateTimeOffset) =
        if lag.Enabled then
            lag.Record(max 0.0 (now - due).TotalSeconds, its)

    member _.TimesStore = duration.Enabled

    member _.StoreTook
        (
            operation: KeyValuePair<string, obj | null>,
            store: KeyValuePair<string, obj | null>,
            began: int64,
            failure: exn | null
        ) =
        let seconds = (Stopwatch.GetElapsedTime began).TotalSeconds

        match failure with
        | null -> duration.Record(seconds, its, operation, store)
        | failure ->
            let mutable tags = TagList()
            tags.Add its
            tags.Add operation
            tags.Add store
            tags.Add(Tags.error failure)
            duration.Record(seconds, &tags)
