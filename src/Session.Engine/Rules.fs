/// The lifecycle under the policy of each session. Data such as an authentication ticket may say itself when it is over: that
/// counts as its absolute timeout, where it comes before the one of the settings.
namespace Session.Engine

open System
open Session.Domain

[<NoEquality; NoComparison>]
type internal Rules =
    {
        Policy: Policy
        /// When data says that it is over. Null: it never does.
        OwnEnd: Func<byte[], DateTimeOffset> | null
    }

[<RequireQualifiedAccess>]
module internal Rules =
    let ofPolicy policy = { Policy = policy; OwnEnd = null }

    let private forState rules state =
        match rules.OwnEnd, Lifecycle.living state with
        | null, _
        | _, ValueNone -> rules.Policy
        | ownEnd, ValueSome live ->
            let own = ownEnd.Invoke live.Data - defaultArg live.AuthenticatedAt live.CreatedAt
            if own < rules.Policy.Absolute then { rules.Policy with Absolute = own } else rules.Policy

    let deadline rules state = Lifecycle.deadline (forState rules state) state
    let overdue rules now state = Lifecycle.overdue (forState rules state) now state
    let due rules state = Lifecycle.due (forState rules state) state
    let decide rules now command state = Lifecycle.decide (forState rules state) now command state
