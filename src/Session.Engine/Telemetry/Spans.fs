/// The activity source `Session`: a span for each operation of a request on its session, and one for each call to the store.
namespace Session.Engine

open System
open System.Diagnostics
open System.Threading.Tasks

/// What is measured of one type of sessions, and what is said of it in traces.
[<Sealed>]
type internal Telemetry(measures: Measures, sessionType: string, showsIds: bool) =
    static let source = new ActivitySource "Session"

    /// For engines that nobody has made a meter for.
    static member val Shared = Telemetry(Measures.Shared, "", false) with get

    /// Whether somebody follows traces: without, nothing is begun and nothing is allocated.
    static member IsTraced = source.HasListeners()

    member _.Measures = measures

    /// Null where nobody follows this trace: most are not sampled, and what they do takes the way without spans.
    /// It is not the caller's current one: whatever works within it makes it its own.
    member _.Begin(name: string) : Activity | null =
        let around = Activity.Current

        match source.StartActivity name with
        | null -> null
        | span ->
            Activity.Current <- around
            span.SetTag("session.type", sessionType) |> ignore
            span

    /// Only where the application has asked for it. A session id opens nothing, but follows somebody around.
    member _.Name(span: Activity | null, id: string) =
        match span with
        | null -> ()
        | span when showsIds && id <> "" -> span.SetTag("session.id", id) |> ignore
        | _ -> ()

[<RequireQualifiedAccess>]
module internal Spans =
    /// Without what an exception says: that may name servers.
    let fail (span: Activity | null) (kind: string) =
        match span with
        | null -> ()
        | span -> span.SetTag("error.type", kind).SetStatus ActivityStatusCode.Error |> ignore

    let failOf (span: Activity | null) (failure: exn) =
        if not (isNull span) then
            fail span (Tags.errorType failure)

    /// The case of an error and nothing of what it holds.
    let private kindOf (error: SessionError) =
        let text = error.ToString()

        match text.IndexOf ' ' with
        | -1 -> text
        | at -> text.Substring(0, at)

    /// An operation of a request within a span that was begun for it. An answer that the store is to blame for is an error of
    /// the span; others are its outcome.
    let operation
        (telemetry: Telemetry)
        (begun: Activity)
        (idOf: unit -> string)
        (work: unit -> Task<Result<'a, SessionError>>)
        : Task<Result<'a, SessionError>> =
        task {
            use span = begun
            Activity.Current <- span

            try
                let! answer = work ()
                telemetry.Name(span, idOf ())

                match answer with
                | Ok _ -> span.SetTag("session.outcome", "Ok") |> ignore
                | Error error ->
                    let kind = kindOf error
                    span.SetTag("session.outcome", kind) |> ignore

                    match error with
                    | SessionError.Unavailable _
                    | SessionError.Unsure _
                    | SessionError.Unacknowledged _
                    | SessionError.Incomplete _ -> fail span kind
                    | _ -> ()

                return answer
            with failure ->
                failOf span failure
                System.Runtime.ExceptionServices.ExceptionDispatchInfo.Throw failure
                return Error SessionError.NoSession
        }
