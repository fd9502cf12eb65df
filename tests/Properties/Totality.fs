/// What is defined for every state, asked of every state: also the pairs that `decide` never brings together.
module Properties.Totality

open System
open Expecto
open Properties.Histories
open Session.Domain

let private secrets = [ for n in 1..6 -> secret n ]
let private data = [| 7uy |]
let private from state events = List.fold Lifecycle.evolve state events

/// Secret 1 is superseded in all of them, by an elevation.
let private created = from Absent [ WasCreated(secret 1, None, data, t0); WasElevated(secret 2, t0) ]
let private active = from created [ WasConfirmed ]
let private issued = from active [ RenewalIssued(secret 3, at 2) ]
let private confirmed = from issued [ RenewalConfirmed(secret 3, at 2, at 3) ]
let private destroyed = from active [ WasDestroyed(SignedOut, at 1) ]
let private untold = from active [ HasExpired(Idle, at 3) ]
let private told = from untold [ WasTold ]

let private states =
    [ "Absent", Absent
      "Created", created
      "Active", active
      "Issued", issued
      "Confirmed", confirmed
      "Destroyed", destroyed
      "Untold", untold
      "Told", told ]

let private live = [ "Created"; "Active"; "Issued"; "Confirmed" ]

/// Each event, and the states that it is for.
let private events =
    [ WasCreated(secret 5, Some "bob", data, at 2), [ "Absent" ]
      WasConfirmed, [ "Created" ]
      WasSeen(at 2), live
      WasWritten [| 8uy |], live
      WasSignedIn("bob", [| 8uy |], secret 5, at 2), live
      WasElevated(secret 5, at 2), live
      RenewalIssued(secret 5, at 2), [ "Active"; "Issued" ]
      RenewalConfirmed(secret 3, at 2, at 3), [ "Issued" ]
      GraceEnded false, [ "Confirmed" ]
      GraceEnded true, [ "Confirmed" ]
      WasReplayed(secret 1), live
      WasDestroyed(Revoked, at 2), live
      HasExpired(Absolute, at 7), live
      WasTold, [ "Untold" ]
      WasLeft, [ "Destroyed"; "Untold"; "Told" ] ]

let private each (ask: string -> State -> unit) =
    for name, state in states do
        ask name state

let all =
    testList
        "every state"
        [ testCase "an event changes the states that it is for, and leaves every other as it is" (fun () ->
              each (fun name state ->
                  for event, takers in events do
                      Expect.equal
                          (Lifecycle.evolve state event <> state)
                          (List.contains name takers)
                          $"%A{event} on {name}"))

          testCase "it has a deadline exactly while it lives, and is due then, or when its tombstone may go" (fun () ->
              each (fun name state ->
                  let deadline = Lifecycle.deadline policy state
                  Expect.equal deadline.IsSome (List.contains name live) $"a deadline of {name}"
                  Expect.equal (Lifecycle.isLive state) deadline.IsSome $"{name} lives"

                  let due =
                      match name, deadline with
                      | _, ValueSome(struct (_, at)) -> at
                      | "Destroyed", ValueNone -> at 1 + policy.Retention
                      | "Untold", ValueNone -> at 3
                      | "Told", ValueNone -> at 3 + policy.Retention
                      | _, ValueNone -> DateTimeOffset.MaxValue

                  Expect.equal (Lifecycle.due policy state) due $"{name} is due"))

          testCase
              "a secret means what became of it: the current, one offered, the predecessor, a dead one, or nothing"
              (fun () ->
                  each (fun name state ->
                      let expected: (int * Standing) list =
                          match name with
                          | "Absent" -> []
                          | "Issued" -> [ 1, Dead; 2, Current; 3, Offered ]
                          | "Confirmed" -> [ 1, Dead; 2, Predecessor; 3, Current ]
                          | _ -> [ 1, Dead; 2, Current ]

                      for n in 0..4 do
                          Expect.equal
                              (Lifecycle.standing (secret n) state)
                              (Map.tryFind n (Map.ofList expected) |> Option.defaultValue Standing.Unknown)
                              $"secret {n} in {name}"))

          testCase
              "a renewal is due in an Active session by age, in one that waits for its confirmation, and in no other"
              (fun () ->
                  let late = at 60

                  each (fun name state ->
                      let isDue = Lifecycle.isRenewalDue policy late state
                      Expect.equal isDue (name = "Active" || name = "Issued") name

                      Expect.isFalse
                          (Lifecycle.isRenewalDue { policy with RotateEvery = None } late state)
                          $"{name}, without rotation"))

          testCase "a request knows the elevation, and whether a predecessor let it in" (fun () ->
              each (fun name state ->
                  for n in 1..4 do
                      let grant = Lifecycle.grant (secret n) (at 2) state
                      Expect.equal (grant.Secret, grant.ArrivedAt) (secret n, at 2) name
                      Expect.equal grant.ByPredecessor (name = "Confirmed" && n = 2) $"secret {n} in {name}"
                      Expect.equal grant.Elevations (if List.contains name live then 1 else -1) name))

          testCase "a hash is equal to itself in any guise, and to nothing that is no hash" (fun () ->
              let boxed = box (secret 1)
              Expect.isTrue ((secret 1).Equals boxed) "boxed"
              Expect.isFalse ((secret 2).Equals boxed) "another"
              Expect.isFalse ((secret 1).Equals(box "1")) "a text"
              Expect.isFalse ((secret 1).Equals null) "null"
              Expect.equal ((secret 1).GetHashCode()) (boxed.GetHashCode()) "and its hash code"
              Expect.equal (List.distinct (secrets @ secrets)) secrets "each once") ]
