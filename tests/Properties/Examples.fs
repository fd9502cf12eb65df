/// What every interesting pair of state and command comes to: history => (minute, command) =! answer.
module Properties.Examples

open Expecto
open Session.Domain
open Properties.Histories

let private s1, s2, s3, s4 = secret 1, secret 2, secret 3, secret 4
let private data = [| 7uy |]

// Histories
let private born = [ WasCreated(s1, None, data, t0) ]
let private bornOfAda = [ WasCreated(s1, Some "ada", data, t0) ]
let private active = born @ [ WasConfirmed; WasSeen t0 ]
let private activeAt6 = active @ [ WasSeen(at 2); WasSeen(at 4); WasSeen(at 6) ]
let private issued = active @ [ WasSeen(at 2); RenewalIssued(s2, at 2) ]
let private issuedAgain = issued @ [ WasSeen(at 3); RenewalIssued(s3, at 3) ]
let private confirmed = issued @ [ RenewalConfirmed(s2, at 2, at 3); WasSeen(at 2) ]
let private graceOver = confirmed @ [ GraceEnded; WasSeen(at 4) ]
let private signedIn = active @ [ WasSignedIn("ada", data, s2, at 1) ]
let private out = active @ [ WasDestroyed(SignedOut, at 1) ]
let private expired = active @ [ HasExpired(Idle, at 3) ]
let private told = expired @ [ WasTold ]

let private refusing = { policy with OnReplay = RefuseToken }
let private idle, absolute = Over(ByTime Idle, at 3), Over(ByTime Absolute, at 7)
let private signedOut = Over(OnPurpose SignedOut, at 1)

type private Row =
    { Name: string
      History: Event list
      Policy: Policy
      When: System.DateTimeOffset
      Command: Command
      Answer: Result<Event list, Refusal> }

/// "what it shows", history => (minute, command) =! answer
let private (=>) (name, history) (minute, command) = name, history, policy, at minute, command

let private after ticks (name, history, policy, now: System.DateTimeOffset, command) =
    name, history, policy, now.AddTicks ticks, command

let private under policy (name, history, _, now, command) = name, history, policy, now, command

let private (=!) (name, history, policy, now, command) answer =
    { Name = name
      History = history
      Policy = policy
      When = now
      Command = command
      Answer = answer }

let private almost n = (at n).AddTicks -1L

let private rows =
    [ // Absent
      ("a session begins", []) => (0, Create(s1, None, data)) =! Ok born
      ("no token opens what is not there", []) => (0, Present s1) =! Error NoSession
      ("what is not there cannot be destroyed", []) => (0, Destroy(Revoked, None)) =! Error NoSession
      ("what is not there is not told of", []) => (0, Tell) =! Error NoSession

      // Created
      ("an id is never used twice", born) => (1, Create(s2, None, data)) =! Error Exists
      ("the first token seen confirms", born) => (1, Present s1) =! Ok [ WasConfirmed; WasSeen(at 1) ]
      (("one tick before its confirm timeout it lives", born) => (2, Present s1) |> after -1L)
      =! Ok [ WasConfirmed; WasSeen(almost 2) ]
      ("at its confirm timeout it is over", born) => (2, Present s1)
      =! Ok [ HasExpired(Unconfirmed, at 2) ]
      ("the confirm timeout is not for a subject", bornOfAda) => (2, Present s1)
      =! Ok [ WasConfirmed; WasSeen(at 2) ]
      ("a subject's session idles out unconfirmed", bornOfAda) => (3, Expire)
      =! Ok [ HasExpired(Idle, at 3) ]
      ("nothing is renewed before it is confirmed", bornOfAda) => (2, Renew(s2, 0)) =! Error NotDue
      ("it can be written before it is confirmed", born) => (1, Write(data, None, 0))
      =! Ok [ WasWritten(data, at 1) ]
      ("it can be destroyed before it is confirmed", born) => (1, Destroy(Revoked, None))
      =! Ok [ WasDestroyed(Revoked, at 1) ]

      // Active: deadlines
      ("a token is seen", active) => (1, Present s1) =! Ok [ WasSeen(at 1) ]
      (("one tick before its idle timeout it lives", active) => (3, Present s1) |> after -1L)
      =! Ok [ WasSeen(almost 3) ]
      ("at its idle timeout it is over", active) => (3, Present s1) =! Ok [ HasExpired(Idle, at 3) ]
      (("one tick before its absolute timeout it lives", activeAt6) => (7, Present s1) |> after -1L)
      =! Ok [ WasSeen(almost 7) ]
      ("at its absolute timeout it is over", activeAt6) => (7, Present s1)
      =! Ok [ HasExpired(Absolute, at 7) ]
      ("at its idle timeout it cannot be written", active) => (3, Write(data, None, 0)) =! Error idle
      ("at its absolute timeout it cannot sign in", activeAt6) => (7, SignIn("ada", data, s2, 0))
      =! Error absolute
      ("it is not over before its time", active) => (2, Expire) =! Error NotDue
      (("not one tick before", active) => (3, Expire) |> after -1L) =! Error NotDue
      ("a sweeper ends it at its time", active) => (3, Expire) =! Ok [ HasExpired(Idle, at 3) ]
      ("what lives is not told of", active) => (3, Tell) =! Error NotDue
      ("overdue it is destroyed all the same", active) => (4, Destroy(Revoked, None))
      =! Ok [ WasDestroyed(Revoked, at 4) ]
      ("a clock that is behind is judged at the last time seen", activeAt6) => (1, Present s1)
      =! Ok [ WasSeen(at 6) ]

      // Active: secrets, writes, elevations
      ("a guess opens nothing", active) => (1, Present guess) =! Error Guess
      ("a guess does not even end it", active) => (5, Present guess) =! Error Guess
      ("a save of what was read counts", active) => (1, Write(data, Some 1L, 0))
      =! Ok [ WasWritten(data, at 1) ]
      ("a save of what is gone is a conflict", active) => (1, Write(data, Some 0L, 0))
      =! Error Refusal.Conflict
      ("a sign-in brings a new secret", active) => (1, SignIn("ada", data, s2, 0))
      =! Ok [ WasSignedIn("ada", data, s2, at 1) ]
      ("a change of privilege too", active) => (1, Elevate(s2, 0)) =! Ok [ WasElevated(s2, at 1) ]
      ("a sign-in kills the current token", signedIn) => (1, Present s1) =! Error Outdated
      ("a sign-in kills the issued token", issued @ [ WasSignedIn("ada", data, s3, at 2) ])
      => (2, Present s2)
      =! Error Outdated
      ("a sign-in kills the predecessor", confirmed @ [ WasSignedIn("ada", data, s3, at 2) ])
      => (2, Present s1)
      =! Error Outdated
      ("a sign-in keeps the new token", signedIn) => (2, Present s2) =! Ok [ WasSeen(at 2) ]
      ("an elevation before confirmation needs one still", born @ [ WasElevated(s2, at 1) ])
      => (1, Present s2)
      =! Ok [ WasConfirmed; WasSeen(at 1) ]
      ("a stale request cannot write", signedIn) => (1, Write(data, None, 0)) =! Error Outdated
      ("a stale request does not learn of a conflict", signedIn) => (1, Write(data, Some 1L, 0))
      =! Error Outdated
      ("a stale request cannot sign in", signedIn) => (1, SignIn("eve", data, s3, 0)) =! Error Outdated
      ("a stale request cannot elevate", signedIn) => (1, Elevate(s3, 0)) =! Error Outdated
      ("a stale request cannot renew", signedIn) => (3, Renew(s3, 0)) =! Error Outdated
      ("a stale request cannot destroy", signedIn) => (1, Destroy(SignedOut, Some 0)) =! Error Outdated
      ("an operator can", signedIn) => (1, Destroy(Revoked, None)) =! Ok [ WasDestroyed(Revoked, at 1) ]
      ("a sign-in begins the absolute timeout anew", signedIn @ [ WasSeen(at 3); WasSeen(at 5); WasSeen(at 7) ])
      => (7, Present s2)
      =! Ok [ WasSeen(at 7) ]
      ("and that ends, too", signedIn @ [ WasSeen(at 3); WasSeen(at 5); WasSeen(at 7) ])
      => (8, Present s2)
      =! Ok [ HasExpired(Absolute, at 8) ]

      // Renewal
      (("one tick too early no renewal is due", active) => (2, Renew(s2, 0)) |> after -1L) =! Error NotDue
      ("a renewal is due", active) => (2, Renew(s2, 0)) =! Ok [ RenewalIssued(s2, at 2) ]
      ("the old token works while one is issued", issued) => (2, Present s1) =! Ok [ WasSeen(at 2) ]
      ("a parallel request is issued none", issued) => (2, Renew(s3, 0)) =! Error NotDue
      (("one tick before the grace ends it is issued none", issued) => (3, Renew(s3, 0)) |> after -1L)
      =! Error NotDue
      ("after a lost response another is issued", issued) => (3, Renew(s3, 0))
      =! Ok [ RenewalIssued(s3, at 3) ]
      ("the issued token confirms", issued) => (3, Present s2)
      =! Ok [ RenewalConfirmed(s2, at 3, at 4); WasSeen(at 3) ]
      ("a late confirmation counts", issuedAgain) => (4, Present s2)
      =! Ok [ RenewalConfirmed(s2, at 4, at 5); WasSeen(at 4) ]
      ("its twin is dead then, and no sign of theft", issuedAgain @ [ RenewalConfirmed(s2, at 4, at 5); WasSeen(at 4) ])
      => (4, Present s3)
      =! Error Outdated
      (("the predecessor works one tick before its grace ends, and moves nothing", confirmed)
       => (3, Present s1)
       |> after -1L)
      =! Ok []
      ("at the end of its grace it is a replay", confirmed) => (3, Present s1)
      =! Ok [ GraceEnded; WasReplayed s1; WasDestroyed(Replayed, at 3) ]
      ("so it is later", graceOver) => (4, Present s1)
      =! Ok [ WasReplayed s1; WasDestroyed(Replayed, at 4) ]
      (("a replay is only refused, if the policy says so", graceOver) => (4, Present s1) |> under refusing)
      =! Ok [ WasReplayed s1 ]
      (("and reported once", graceOver @ [ WasReplayed s1 ]) => (4, Present s1) |> under refusing)
      =! Error Outdated
      (("the holder goes on", graceOver @ [ WasReplayed s1 ]) => (4, Present s2) |> under refusing)
      =! Ok [ WasSeen(at 4) ]
      ("a replay of what is overdue only ends it", graceOver) => (7, Present s1)
      =! Ok [ HasExpired(Absolute, at 7) ]
      ("after a reported replay it is over for all", graceOver @ [ WasReplayed s1; WasDestroyed(Replayed, at 4) ])
      => (4, Present s2)
      =! Error(Over(OnPurpose Replayed, at 4))
      ("the new token goes on after the grace", confirmed) => (4, Present s2)
      =! Ok [ GraceEnded; WasSeen(at 4) ]
      ("no renewal begins within a grace", confirmed @ [ RenewalConfirmed(s2, at 2, at 9) ])
      => (2, Renew(s3, 0))
      =! Error NotDue
      ("the grace ends with any command", confirmed) => (3, Write(data, None, 0))
      =! Ok [ GraceEnded; WasWritten(data, at 3) ]
      ("a renewal is destroyed like the rest", issued) => (2, Destroy(SignedOut, Some 0))
      =! Ok [ WasDestroyed(SignedOut, at 2) ]
      ("a renewal idles out like the rest", issued) => (5, Present s2) =! Ok [ HasExpired(Idle, at 5) ]

      // Destroyed, Expired
      ("it signs out", active) => (1, Destroy(SignedOut, Some 0)) =! Ok [ WasDestroyed(SignedOut, at 1) ]
      ("destroyed twice is destroyed once", out) => (2, Destroy(Revoked, None)) =! Ok []
      ("signed out twice too", out) => (2, Destroy(SignedOut, Some 0)) =! Ok []
      ("what is destroyed opens no more", out) => (1, Present s1) =! Error signedOut
      ("and a guess learns nothing of it", out) => (1, Present guess) =! Error Guess
      ("what is destroyed is not written", out) => (1, Write(data, None, 0)) =! Error signedOut
      ("what is destroyed does not sign in", out) => (1, SignIn("ada", data, s2, 0)) =! Error signedOut
      ("what is destroyed does not expire", out) => (9, Expire) =! Error signedOut
      ("what is destroyed is not told of", out) => (9, Tell) =! Error signedOut
      ("an issued token knows of the end", issued @ [ WasDestroyed(SignedOut, at 1) ]) => (2, Present s2)
      =! Error signedOut
      ("what is expired opens no more", expired) => (3, Present s1) =! Error idle
      ("not even when the clock runs backwards", expired) => (1, Present s1) =! Error idle
      ("what is expired is not written", expired) => (3, Write(data, None, 0)) =! Error idle
      ("what is expired is destroyed already", expired) => (4, Destroy(Revoked, None)) =! Ok []
      ("what is expired is told of", expired) => (4, Tell) =! Ok [ WasTold ]
      ("once", told) => (4, Tell) =! Ok []
      ("an id is not used again after the end", told) => (9, Create(s4, None, data)) =! Error Exists ]

let all =
    testList
        "examples"
        [ for row in rows ->
              testCase row.Name (fun () ->
                  let state = List.fold Lifecycle.evolve Lifecycle.initial row.History
                  let answer = Lifecycle.decide row.Policy row.When row.Command state

                  if answer <> row.Answer then
                      failtestf "answered %s instead of %s" (text answer) (text row.Answer)) ]
