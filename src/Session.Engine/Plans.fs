/// What a request works with, and the plans that are used in more than one place.
namespace Session.Engine

open System
open Session.Domain

/// A session that a token opened, or that was just created or elevated: what a request works with.
[<Struct; NoComparison>]
type Opened =
    {
        Snapshot: Snapshot
        /// What the request is allowed by what let it in.
        Grant: Grant
        /// The token that the response has to carry, if there is a new one.
        Issued: IssuedToken option
        /// It was issued by a renewal: it must still open the session when the response carries it.
        IsRenewal: bool
        /// The keys of sealed data, where data is sealed to its bearer.
        Keys: BearerKeys | null
    }

    /// The living part.
    member opened.Live =
        match Lifecycle.living opened.Snapshot.State with
        | ValueSome live -> live
        | ValueNone -> invalidOp "This session is over."

[<RequireQualifiedAccess>]
module internal Plans =
    /// Of a renewal that does not take place.
    let withoutIssued (opened: Opened) = { opened with Issued = None; IsRenewal = false }

    let private decided rules now (command: Command) state (out: Snapshot -> 'out) =
        match Rules.decide rules now command state with
        | Ok events -> Ok(struct (events, out))
        | Error refusal -> Error(SessionError.ofRefusal refusal)

    /// A command as it is.
    let command rules (command: Command) (out: Snapshot -> 'out) : Plan<'out> =
        { Decide = fun now state -> decided rules now command state out }

    /// A command as of a time before, however long it takes until it is decided: what was seen since is not over.
    let commandAsOf rules (time: DateTimeOffset) (command: Command) (out: Snapshot -> 'out) : Plan<'out> =
        { Decide = fun _ state -> decided rules time command state out }

    /// New data, computed from the data as it is, and what the application's function gives out with it: that leaves with the
    /// attempt that is stored.
    let update
        rules
        maxBytes
        (grant: Grant option)
        (change: byte[] -> Result<struct (byte[] * 'result), SessionError>)
        out
        =
        let write data now state = Rules.decide rules now (Write(data, None, grant)) state

        { Decide =
            fun now state ->
                // Asked first: the application's function is not called for what is refused anyway.
                match write [||] now state, Lifecycle.living state with
                | Error refusal, _ -> Error(SessionError.ofRefusal refusal)
                | Ok _, ValueNone -> Error SessionError.NoSession
                | Ok _, ValueSome live ->
                    match change live.Data with
                    | Error error -> Error error
                    | Ok(struct (data, _)) when data.Length > maxBytes ->
                        Error(SessionError.TooLarge(data.Length, maxBytes))
                    | Ok(struct (data, result)) ->
                        match write data now state with
                        | Ok events -> Ok(struct (events, (fun snapshot -> struct (out snapshot, result))))
                        | Error refusal -> Error(SessionError.ofRefusal refusal) }

    /// Whether a response may still carry a token of a renewal. Not once it is dead, nor when another one may be issued while
    /// this one is on its way: the client would keep whichever comes last, and that need not be the newest.
    let mayHand policy (now: DateTimeOffset) (secret: SecretHash) state =
        match Lifecycle.settle policy now state with
        | Regenerated(_, Issued(newest :: _, at)) -> newest.Equals secret && now < at + policy.Grace / 2.0
        | state -> (Lifecycle.standing secret state).Equals Current
