/// What every interesting pair of state and command comes to: history => (minute, command) =! answer.
module Properties.Examples

open System
open Expecto
open Session.Domain
open Session.Engine
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
let private graceOver = confirmed @ [ GraceEnded false; WasSeen(at 4) ]
/// Its grace was begun by a clock that is a minute ahead: it ends at 4, and not after 2 minutes of any other clock.
let private ahead = active @ [ WasSeen(at 2); RenewalIssued(s2, at 2); RenewalConfirmed(s2, at 2, at 4) ]
let private signedIn = active @ [ WasSignedIn("ada", data, s2, at 1) ]
let private out = active @ [ WasDestroyed(SignedOut, at 1) ]
let private expired = active @ [ HasExpired(Idle, at 3) ]
let private told = expired @ [ WasTold ]

let private refusing = Rules.ofPolicy { policy with OnReplay = RefuseToken }

/// Data that says itself when it is over, as a ticket does: 8 at minute 2, 9 long after the absolute timeout.
let private owning =
    let ends (data: byte[]) =
        match data with
        | [| 8uy |] -> at 2
        | [| 9uy |] -> at 70
        | _ -> DateTimeOffset.MaxValue

    { Policy = policy; OwnEnd = Func<byte[], DateTimeOffset> ends }

let private ofMinute2 = active @ [ WasWritten [| 8uy |] ]
let private signedInToOwnEnd = active @ [ WasSignedIn("ada", [| 8uy |], s2, at 1) ]
let private idle, absolute = Over(ByTime Idle, at 3), Over(ByTime Absolute, at 7)
let private signedOut = Over(OnPurpose SignedOut, at 1)

type private Row =
    { Name: string
      History: Event list
      Rules: Rules
      When: DateTimeOffset
      Command: Command
      Answer: Result<Event list, Refusal> }

/// A request that this secret let in when it was the confirmed one; one that it let in when it was the predecessor.
let private by secret : Grant =
    { Elevations = 0
      Secret = secret
      ByPredecessor = false
      ArrivedAt = t0 }

let private byOld secret = { by secret with ByPredecessor = true }
let private since arrivedAt (grant: Grant) = { grant with ArrivedAt = arrivedAt }
let private after' elevations (grant: Grant) = { grant with Elevations = elevations }

/// A request arrives at the moment of its command.
let private present secret = Present(secret, DateTimeOffset.MaxValue)

/// "what it shows", history => (minute, command) =! answer
let private (=>) (name, history) (minute, command) = name, history, Rules.ofPolicy policy, at minute, command

let private after ticks (name, history, rules, now: DateTimeOffset, command) =
    name, history, rules, now.AddTicks ticks, command

let private under rules (name, history, _, now, command) = name, history, rules, now, command

let private (=!) (name, history, rules, now, command) answer =
    { Name = name
      History = history
      Rules = rules
      When = now
      Command = command
      Answer = answer }

let private almost n = (at n).AddTicks -1L

let private rows =
    [ // Absent
      ("a session begins", []) => (0, Create(s1, None, data)) =! Ok born
      ("no token opens what is not there", []) => (0, present s1) =! Error NoSession
      ("what is not there cannot be destroyed", []) => (0, Destroy(Revoked, None)) =! Error NoSession
      ("what is not there is not told of", []) => (0, Tell) =! Error NoSession

      // Created
      ("an id is never used twice", born) => (1, Create(s2, None, data)) =! Error Exists
      ("the first token seen confirms", born) => (1, present s1) =! Ok [ WasConfirmed; WasSeen(at 1) ]
      (("one tick before its confirm timeout it lives", born) => (2, present s1) |> after -1L)
      =! Ok [ WasConfirmed; WasSeen(almost 2) ]
      ("at its confirm timeout it is over", born) => (2, present s1)
      =! Ok [ HasExpired(Unconfirmed, at 2) ]
      ("the confirm timeout is not for a subject", bornOfAda) => (2, present s1)
      =! Ok [ WasConfirmed; WasSeen(at 2) ]
      ("a subject's session idles out unconfirmed", bornOfAda) => (3, Expire)
      =! Ok [ HasExpired(Idle, at 3) ]
      ("nothing is renewed before it is confirmed", bornOfAda) => (2, Renew(s2, by s1)) =! Error NotDue
      ("it can be written before it is confirmed", born) => (1, Write(data, None, Some(by s1)))
      =! Ok [ WasWritten data; WasSeen t0 ]
      ("it can be destroyed before it is confirmed", born) => (1, Destroy(Revoked, None))
      =! Ok [ WasDestroyed(Revoked, at 1) ]

      // Active: deadlines
      ("a token is seen", active) => (1, present s1) =! Ok [ WasSeen(at 1) ]
      (("one tick before its idle timeout it lives", active) => (3, present s1) |> after -1L)
      =! Ok [ WasSeen(almost 3) ]
      ("at its idle timeout it is over", active) => (3, present s1) =! Ok [ HasExpired(Idle, at 3) ]
      (("one tick before its absolute timeout it lives", activeAt6) => (7, present s1) |> after -1L)
      =! Ok [ WasSeen(almost 7) ]
      ("at its absolute timeout it is over", activeAt6) => (7, present s1)
      =! Ok [ HasExpired(Absolute, at 7) ]
      (("one tick before its data says that it is over it lives", ofMinute2) => (2, present s1)
       |> under owning
       |> after -1L)
      =! Ok [ WasSeen(almost 2) ]
      (("it is over when its data says so", ofMinute2) => (2, present s1) |> under owning)
      =! Ok [ HasExpired(Absolute, at 2) ]
      (("a write can say another time", ofMinute2 @ [ WasWritten data ]) => (2, present s1) |> under owning)
      =! Ok [ WasSeen(at 2) ]
      (("its data cannot say a later time than the absolute timeout", activeAt6 @ [ WasWritten [| 9uy |] ])
       => (7, present s1)
       |> under owning)
      =! Ok [ HasExpired(Absolute, at 7) ]
      (("data that a sign-in brought says it, too", signedInToOwnEnd) => (2, present s2) |> under owning)
      =! Ok [ HasExpired(Absolute, at 2) ]
      (("one tick before, it lives", signedInToOwnEnd) => (2, present s2) |> under owning |> after -1L)
      =! Ok [ WasSeen(almost 2) ]
      ("at its idle timeout it cannot be written", active) => (3, Write(data, None, Some(by s1)))
      =! Error idle
      ("at its absolute timeout it cannot sign in", activeAt6) => (7, SignIn("ada", data, s2, by s1))
      =! Error absolute
      ("it is not over before its time", active) => (2, Expire) =! Error NotDue
      (("not one tick before", active) => (3, Expire) |> after -1L) =! Error NotDue
      ("a sweeper ends it at its time", active) => (3, Expire) =! Ok [ HasExpired(Idle, at 3) ]
      ("what lives is not told of", active) => (3, Tell) =! Error NotDue
      ("overdue it ends by time, also when an operator ends it", active) => (4, Destroy(Revoked, None))
      =! Ok [ HasExpired(Idle, at 4) ]
      ("or its client", active) => (3, Destroy(SignedOut, Some(by s1))) =! Ok [ HasExpired(Idle, at 3) ]
      ("a clock that is behind is judged at the last time seen", activeAt6) => (1, present s1)
      =! Ok [ WasSeen(at 6) ]

      // Active: secrets, writes, elevations
      ("a guess opens nothing", active) => (1, present guess) =! Error Guess
      ("a guess does not even end it", active) => (5, present guess) =! Error Guess
      ("a save of what was read counts", active) => (1, Write(data, Some 1L, Some(by s1)))
      =! Ok [ WasWritten data; WasSeen t0 ]
      ("a save of what is gone is a conflict", active) => (1, Write(data, Some 0L, Some(by s1)))
      =! Error Refusal.Conflict
      ("a sign-in brings a new secret", active) => (1, SignIn("ada", data, s2, by s1))
      =! Ok [ WasSignedIn("ada", data, s2, at 1) ]
      ("a change of privilege too", active) => (1, Elevate(s2, None, by s1))
      =! Ok [ WasElevated(s2, at 1) ]
      ("what a stream writes counts as of its arrival", active)
      => (2, Write(data, None, Some(by s1 |> since (at 1))))
      =! Ok [ WasWritten data; WasSeen(at 1) ]
      ("what an operator writes moves nothing", signedIn) => (2, Write(data, None, None))
      =! Ok [ WasWritten data ]
      ("an operator can save what was read, too", active) => (2, Write(data, Some 0L, None))
      =! Error Refusal.Conflict
      ("a second factor and its data are one write", signedIn)
      => (2, Elevate(s3, Some data, by s2 |> after' 1))
      =! Ok [ WasElevated(s3, at 2); WasWritten data ]
      ("a sign-in kills the current token", signedIn) => (1, present s1) =! Error Outdated
      ("a sign-in kills the issued token", issued @ [ WasSignedIn("ada", data, s3, at 2) ])
      => (2, present s2)
      =! Error Outdated
      ("a sign-in kills the predecessor", confirmed @ [ WasSignedIn("ada", data, s3, at 2) ])
      => (2, present s1)
      =! Error Outdated
      ("a sign-in keeps the new token", signedIn) => (2, present s2) =! Ok [ WasSeen(at 2) ]
      ("an elevation before confirmation needs one still", born @ [ WasElevated(s2, at 1) ])
      => (1, present s2)
      =! Ok [ WasConfirmed; WasSeen(at 1) ]
      ("a stale request cannot write", signedIn) => (1, Write(data, None, Some(by s1))) =! Error Outdated
      ("a stale request does not learn of a conflict", signedIn) => (1, Write(data, Some 1L, Some(by s1)))
      =! Error Outdated
      ("a stale request cannot sign in", signedIn) => (1, SignIn("eve", data, s3, by s1))
      =! Error Outdated
      ("a stale request cannot elevate", signedIn) => (1, Elevate(s3, None, by s1)) =! Error Outdated
      ("a stale request cannot renew", signedIn) => (3, Renew(s3, by s1)) =! Error Outdated
      ("a stale request cannot destroy", signedIn) => (1, Destroy(SignedOut, Some(by s1)))
      =! Error Outdated
      ("an operator can", signedIn) => (1, Destroy(Revoked, None)) =! Ok [ WasDestroyed(Revoked, at 1) ]
      ("a sign-in begins the absolute timeout anew", signedIn @ [ WasSeen(at 3); WasSeen(at 5); WasSeen(at 7) ])
      => (7, present s2)
      =! Ok [ WasSeen(at 7) ]
      ("and that ends, too", signedIn @ [ WasSeen(at 3); WasSeen(at 5); WasSeen(at 7) ])
      => (8, present s2)
      =! Ok [ HasExpired(Absolute, at 8) ]

      // Renewal
      (("one tick too early no renewal is due", active) => (2, Renew(s2, by s1)) |> after -1L)
      =! Error NotDue
      ("a renewal is due", active) => (2, Renew(s2, by s1)) =! Ok [ RenewalIssued(s2, at 2) ]
      ("the old token works while one is issued", issued) => (2, present s1) =! Ok [ WasSeen(at 2) ]
      ("a parallel request is issued none", issued) => (2, Renew(s3, by s1)) =! Error NotDue
      (("one tick before the grace ends it is issued none", issued) => (3, Renew(s3, by s1)) |> after -1L)
      =! Error NotDue
      ("after a lost response another is issued", issued) => (3, Renew(s3, by s1))
      =! Ok [ RenewalIssued(s3, at 3) ]
      ("the same one is not issued twice", issued) => (3, Renew(s2, by s1)) =! Error NotDue
      ("the issued token confirms", issued) => (3, present s2)
      =! Ok [ RenewalConfirmed(s2, at 3, at 4); WasSeen(at 3) ]
      ("while a newer one may be on its way an issued token only lets in", issuedAgain) => (4, present s2)
      =! Ok [ WasSeen(at 4) ]
      (("one tick before that must have come", issuedAgain) => (5, present s2) |> after -1L)
      =! Ok [ WasSeen(almost 5) ]
      ("and by then the newer one was lost", issuedAgain) => (5, present s2)
      =! Ok [ RenewalConfirmed(s2, at 5, at 6); WasSeen(at 5) ]
      ("a request of before that is not judged as of its end", issuedAgain) => (5, Present(s2, at 4))
      =! Ok [ WasSeen(at 4) ]
      ("its holder is issued no other one", issuedAgain) => (4, Renew(s1, by s2)) =! Error NotDue
      ("and may sign in", issuedAgain) => (4, SignIn("ada", data, s1, by s2))
      =! Ok [ WasSignedIn("ada", data, s1, at 4) ]
      ("the newest confirms at once", issuedAgain) => (4, present s3)
      =! Ok [ RenewalConfirmed(s3, at 4, at 5); WasSeen(at 4) ]
      ("its twin is dead then, and no sign of theft", issuedAgain @ [ RenewalConfirmed(s2, at 4, at 5); WasSeen(at 4) ])
      => (4, present s3)
      =! Error Outdated
      (("the predecessor works one tick before its grace ends, and moves nothing", confirmed)
       => (3, present s1)
       |> after -1L)
      =! Ok []
      ("at the end of its grace it is a replay", confirmed) => (3, present s1)
      =! Ok [ GraceEnded false; WasReplayed s1; WasDestroyed(Replayed, at 3) ]
      ("so it is later", graceOver) => (4, present s1)
      =! Ok [ WasReplayed s1; WasDestroyed(Replayed, at 4) ]
      (("a replay is only refused, if the policy says so", graceOver) => (4, present s1) |> under refusing)
      =! Ok [ WasReplayed s1 ]
      (("and reported once", graceOver @ [ WasReplayed s1 ]) => (4, present s1) |> under refusing)
      =! Error Outdated
      (("the holder goes on", graceOver @ [ WasReplayed s1 ]) => (4, present s2) |> under refusing)
      =! Ok [ WasSeen(at 4) ]
      ("a replay of what is overdue only ends it", graceOver) => (7, present s1)
      =! Ok [ HasExpired(Absolute, at 7) ]
      ("after a reported replay it is over for all", graceOver @ [ WasReplayed s1; WasDestroyed(Replayed, at 4) ])
      => (4, present s2)
      =! Error(Over(OnPurpose Replayed, at 4))
      ("the new token goes on after the grace", confirmed) => (4, present s2)
      =! Ok [ GraceEnded false; WasSeen(at 4) ]
      ("no renewal begins within a grace", confirmed @ [ RenewalConfirmed(s2, at 2, at 9) ])
      => (2, Renew(s3, by s1))
      =! Error NotDue
      ("the grace ends with any command", confirmed) => (3, Write(data, None, Some(by s1)))
      =! Ok [ GraceEnded false; WasWritten data ]
      ("a slow request is no thief", graceOver) => (4, Present(s1, (at 3).AddTicks -1L)) =! Error Outdated
      ("one that arrived when its token had stopped working is", graceOver) => (4, Present(s1, at 3))
      =! Ok [ WasReplayed s1; WasDestroyed(Replayed, at 4) ]
      ("a slow request was active when it arrived", active @ [ WasSeen(at 1) ]) => (3, Present(s1, at 2))
      =! Ok [ WasSeen(at 2) ]
      ("a grace that the last request has outlasted is over, also by a clock that is behind",
       confirmed @ [ WasSeen(at 4) ])
      => (2, present s2)
      =! Ok [ GraceEnded false; WasSeen(at 4) ]
      (("twice the grace is the most that a clock ahead gives to a predecessor", ahead) => (2, present s2)
       |> after -1L)
      =! Ok [ GraceEnded true; WasSeen(at 2) ]
      ("and at exactly that it has it still", ahead) => (2, present s1) =! Ok []
      ("and whoever comes with it is no thief", ahead) => (1, present s1) =! Error Outdated

      // What a predecessor let in, and what was let in before the renewal
      ("a predecessor's request writes, and moves nothing", confirmed)
      => (2, Write(data, None, Some(byOld s1)))
      =! Ok [ WasWritten data ]
      ("it may end the session", confirmed) => (2, Destroy(SignedOut, Some(byOld s1)))
      =! Ok [ WasDestroyed(SignedOut, at 2) ]
      ("it does not sign in", confirmed) => (2, SignIn("ada", data, s3, byOld s1)) =! Error Outdated
      ("it does not elevate", confirmed) => (2, Elevate(s3, Some data, byOld s1)) =! Error Outdated
      ("it is issued no token", graceOver) => (4, Renew(s3, byOld s1)) =! Error Outdated
      ("what was let in before the renewal signs in", confirmed) => (2, SignIn("ada", data, s3, by s1))
      =! Ok [ WasSignedIn("ada", data, s3, at 2) ]
      ("what was let in before the renewal counts as of its arrival", confirmed)
      => (2, Write(data, None, Some(by s1 |> since (at 1))))
      =! Ok [ WasWritten data; WasSeen(at 1) ]
      ("until the grace is over", confirmed) => (3, SignIn("ada", data, s3, by s1)) =! Error Outdated
      ("then it only writes", graceOver) => (4, Write(data, None, Some(by s1))) =! Ok [ WasWritten data ]
      ("or ends the session", graceOver) => (4, Destroy(SignedOut, Some(by s1)))
      =! Ok [ WasDestroyed(SignedOut, at 4) ]
      ("a renewal is destroyed like the rest", issued) => (2, Destroy(SignedOut, Some(by s1)))
      =! Ok [ WasDestroyed(SignedOut, at 2) ]
      ("a renewal idles out like the rest", issued) => (5, present s2) =! Ok [ HasExpired(Idle, at 5) ]

      // Destroyed, Expired
      ("it signs out", active) => (1, Destroy(SignedOut, Some(by s1)))
      =! Ok [ WasDestroyed(SignedOut, at 1) ]
      ("destroyed twice is destroyed once", out) => (2, Destroy(Revoked, None)) =! Ok []
      ("signed out twice too", out) => (2, Destroy(SignedOut, Some(by s1))) =! Ok []
      ("what is destroyed opens no more", out) => (1, present s1) =! Error signedOut
      ("and a guess learns nothing of it", out) => (1, present guess) =! Error Guess
      ("what is destroyed is not written", out) => (1, Write(data, None, Some(by s1))) =! Error signedOut
      ("what is destroyed does not sign in", out) => (1, SignIn("ada", data, s2, by s1))
      =! Error signedOut
      ("what is destroyed does not expire", out) => (9, Expire) =! Error signedOut
      ("what is destroyed is not told of", out) => (9, Tell) =! Error signedOut
      ("an issued token knows of the end", issued @ [ WasDestroyed(SignedOut, at 1) ]) => (2, present s2)
      =! Error signedOut
      ("what is expired opens no more", expired) => (3, present s1) =! Error idle
      ("not even when the clock runs backwards", expired) => (1, present s1) =! Error idle
      ("a token that a renewal had replaced hears of it, too", confirmed @ [ HasExpired(Idle, at 4) ])
      => (5, present s1)
      =! Error(Over(ByTime Idle, at 4))
      ("and one that was issued and lost", issued @ [ HasExpired(Idle, at 4) ]) => (5, present s2)
      =! Error(Over(ByTime Idle, at 4))
      ("what is expired is not written", expired) => (3, Write(data, None, Some(by s1))) =! Error idle
      ("what is expired is destroyed already", expired) => (4, Destroy(Revoked, None)) =! Ok []
      ("what is expired is told of", expired) => (4, Tell) =! Ok [ WasTold ]
      ("once", told) => (4, Tell) =! Ok []
      ("a client that goes on is forgotten", out) => (2, Leave) =! Ok [ WasLeft ]
      ("once", out @ [ WasLeft ]) => (2, Leave) =! Ok []
      ("its token is a stranger's then", out @ [ WasLeft ]) => (2, present s1) =! Error Guess
      ("so is every older one", graceOver @ [ HasExpired(Idle, at 7); WasLeft ]) => (7, present s1)
      =! Error Guess
      ("the hook hears of an end that was left", expired @ [ WasLeft ]) => (4, Tell) =! Ok [ WasTold ]
      ("what lives is not left", active) => (1, Leave) =! Error NotDue
      ("nor what is not there", []) => (1, Leave) =! Error NoSession
      ("an id is not used again after the end", told) => (9, Create(s4, None, data)) =! Error Exists ]

let all =
    testList
        "examples"
        [ for row in rows do
              testCase row.Name (fun () ->
                  let state = List.fold Lifecycle.evolve Lifecycle.initial row.History
                  let answer = Rules.decide row.Rules row.When row.Command state

                  if answer <> row.Answer then
                      failtestf "answered %s instead of %s" (text answer) (text row.Answer))

          testCase "states, ends and refusals say what they are" (fun () ->
              let live = (Lifecycle.liveOf (Lifecycle.replay active)).Value
              let renewed = Lifecycle.fold (Lifecycle.replay active) [ WasSeen(at 2); RenewalIssued(s2, at 2) ]
              let ends = [ for reason in [ SignedOut; Revoked; Replayed; Limit ] -> Destroyed(live, reason, t0) ]
              let expiries = [ for kind in [ Unconfirmed; Idle; Absolute ] -> Expired(live, kind, t0, false) ]
              let states = [ Absent; Created live; Active live; renewed ] @ ends @ expiries

              Expect.equal
                  (List.map string states)
                  [ "Absent"
                    "Created"
                    "Active"
                    "Regenerated"
                    "Destroyed (SignedOut)"
                    "Destroyed (Revoked)"
                    "Destroyed (Replayed)"
                    "Destroyed (Limit)"
                    "Expired (Unconfirmed)"
                    "Expired (Idle)"
                    "Expired (Absolute)" ]
                  "states"

              Expect.equal
                  (List.map
                      string
                      [ NoSession
                        Exists
                        Guess
                        Outdated
                        idle
                        signedOut
                        Refusal.Conflict
                        NotDue ])
                  [ "NoSession"
                    "Exists"
                    "Guess"
                    "Outdated"
                    "Over (Idle)"
                    "Over (SignedOut)"
                    "Conflict"
                    "NotDue" ]
                  "refusals"

              Expect.equal
                  (List.map string [ DestroySession; RefuseToken ])
                  [ "DestroySession"; "RefuseToken" ]
                  "policies")

          testCase "the hash of a secret is made of the 32 bytes of a digest" (fun () ->
              let bytes = Array.init 32 byte
              let hash = SecretHash.ofBytes bytes
              Expect.equal (hash.W0, hash.W3) (0x0001020304050607L, 0x18191a1b1c1d1e1fL) "in their order"
              Expect.throws (fun () -> SecretHash.ofBytes bytes[..30] |> ignore) "and of no fewer"
              Expect.throws (fun () -> SecretHash.ofBytes (Array.append bytes [| 1uy |]) |> ignore) "nor of more") ]
