/// Words that the lifecycle is written in and that its users meet: a secret's hash, how a session ends, why it refuses. Each
/// says its own name: what F# gives a union by default needs reflection, which Native AOT has not.
namespace Session.Domain

open System

/// The hash of a secret, all that a record knows of it. Compared without a branch: a near miss takes as long as a far one.
[<Struct; CustomEquality; NoComparison>]
type SecretHash =
    { W0: int64
      W1: int64
      W2: int64
      W3: int64 }

    member a.Equals(b: SecretHash) = ((a.W0 ^^^ b.W0) ||| (a.W1 ^^^ b.W1) ||| (a.W2 ^^^ b.W2) ||| (a.W3 ^^^ b.W3)) = 0L
    override a.Equals(other: obj) = other :? SecretHash && a.Equals(unbox<SecretHash> other)
    override a.GetHashCode() = int a.W0

    interface IEquatable<SecretHash> with
        member a.Equals b = a.Equals b

[<RequireQualifiedAccess>]
module SecretHash =
    /// Of the 32 bytes of a digest: `SecretHash.ofBytes (SHA256.HashData secret)`.
    let ofBytes (digest: byte[]) : SecretHash =
        let word at = digest |> Array.skip (8 * at) |> Array.take 8 |> Array.fold (fun w b -> (w <<< 8) ||| int64 b) 0L
        let hash () = { W0 = word 0; W1 = word 1; W2 = word 2; W3 = word 3 }
        if digest.Length = 32 then hash () else invalidArg (nameof digest) "A digest has 32 bytes."

/// What becomes of a session when an old token is presented after its grace.
type OnReplay =
    | DestroySession // thief or victim, one of the two holds it
    | RefuseToken // and report it; the session lives

    override it.ToString() =
        match it with
        | DestroySession -> "DestroySession"
        | RefuseToken -> "RefuseToken"

/// Which limit of time ended a session: no client came back, silence, or age.
type ExpiryKind =
    | Unconfirmed
    | Idle
    | Absolute

    override it.ToString() =
        match it with
        | Unconfirmed -> "Unconfirmed"
        | Idle -> "Idle"
        | Absolute -> "Absolute"

/// Why a session was ended on purpose: by its holder, by somebody in charge, a replay, or as one more than a subject may have.
type DestroyReason =
    | SignedOut
    | Revoked
    | Replayed
    | Limit

    override it.ToString() =
        match it with
        | SignedOut -> "SignedOut"
        | Revoked -> "Revoked"
        | Replayed -> "Replayed"
        | Limit -> "Limit"

/// How a session ended.
type Ending =
    | OnPurpose of DestroyReason
    | ByTime of ExpiryKind

    override it.ToString() =
        match it with
        | OnPurpose reason -> string reason
        | ByTime kind -> string kind

/// Why the lifecycle does not do what it is asked.
type Refusal =
    | NoSession // there is no session under this id
    | Exists // there is one already
    | Guess // not a secret of this session
    | Outdated // an elevation or a renewal came between; or a predecessor asks for what needs the new token
    | Over of Ending * at: DateTimeOffset // the session has ended: how, and when
    | Conflict // another write came first
    | NotDue // it is not time for that

    override it.ToString() =
        match it with
        | NoSession -> "NoSession"
        | Exists -> "Exists"
        | Guess -> "Guess"
        | Outdated -> "Outdated"
        | Over(ending, _) -> String.Concat("Over (", ending, ")")
        | Conflict -> "Conflict"
        | NotDue -> "NotDue"
