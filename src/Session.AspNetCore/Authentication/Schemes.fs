/// Which authentication schemes stand for which sessions, for whoever answers in place of an endpoint.
namespace Session.AspNetCore

open System
open System.Collections.Generic
open System.Threading

/// One for the application, filled while its services are registered.
[<Sealed>]
type internal SessionSchemes() =
    let schemes = List<struct (Type * string)>()
    let mutable isSaid = 0

    member _.Add(dataType: Type, scheme: string) = schemes.Add(struct (dataType, scheme))

    /// The first that was registered for these sessions; of any, for null.
    member _.Of(dataType: Type | null) : string option =
        schemes
        |> Seq.tryPick (fun (struct (known, scheme)) ->
            if isNull dataType || obj.ReferenceEquals(known, dataType) then Some scheme else None)

    /// True once: for what is said once.
    member _.MaySay() = Interlocked.Exchange(&isSaid, 1) = 0

/// What a challenge is told, as a parameter of its AuthenticationProperties, and what a client is told of it.
[<RequireQualifiedAccess>]
module internal ChallengeReason =
    [<Literal>]
    let Parameter = "reason"

    /// Also what the challenge of OpenID Connect understands, and hands on to the identity provider.
    [<Literal>]
    let MaxAge = "max_age"

    /// RFC 9470: somebody is signed in, and not recently enough.
    [<Literal>]
    let StaleSignIn = "insufficient_user_authentication"
