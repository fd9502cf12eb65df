/// given => (at, command) =! answer. One line for each interesting pair.
module Properties.Examples

open System
open Expecto
open Session.Domain
open Properties.Histories

let private at n = t0 + minutes n
let private s1, s2, s3 = secret 1, secret 2, secret 3
let private born = WasCreated(s1, None, [||], t0)
let private seen = [ born; WasConfirmed; WasSeen t0 ]
let private issued = seen @ [ RenewalIssued(s2, at 2) ]
let private confirmed = issued @ [ RenewalConfirmed(s2, at 2, at 3); WasSeen(at 2) ]
let private graceOver = confirmed @ [ GraceEnded ]
let private signedIn = seen @ [ WasSignedIn("ada", [||], s2, at 1) ]
let private out = seen @ [ WasDestroyed(SignedOut, at 1) ]
let private idle = seen @ [ HasExpired(ExpiryKind.Idle, at 3) ]

let private rows: (string * Event list * DateTimeOffset * Command * Result<Event list, Refusal>) list =
    [ "a session begins", [], t0, Create(s1, None, [||]), Ok [ born ]
      "an id is never used twice", seen, t0, Create(s2, None, [||]), Error Exists
      "nothing is under an unknown id", [], t0, Present s1, Error NoSession
      "the first presentation confirms", [ born ], at 1, Present s1, Ok [ WasConfirmed; WasSeen(at 1) ]
      "one tick before the confirm timeout it lives",
      [ born ],
      (at 2).AddTicks -1L,
      Present s1,
      Ok [ WasConfirmed; WasSeen((at 2).AddTicks -1L) ]
      "at the confirm timeout it is over", [ born ], at 2, Present s1, Ok [ HasExpired(Unconfirmed, at 2) ]
      "a later one is seen", seen, at 1, Present s1, Ok [ WasSeen(at 1) ]
      "one tick before the idle timeout it lives",
      seen,
      (at 3).AddTicks -1L,
      Present s1,
      Ok [ WasSeen((at 3).AddTicks -1L) ]
      "at the idle timeout it is over", seen, at 3, Present s1, Ok [ HasExpired(ExpiryKind.Idle, at 3) ]
      "at the absolute timeout it is over",
      seen @ [ WasSeen(at 2); WasSeen(at 4); WasSeen(at 6) ],
      at 7,
      Present s1,
      Ok [ HasExpired(ExpiryKind.Absolute, at 7) ]
      "a guess changes nothing", seen, at 1, Present guess, Error Guess
      "a guess does not even expire it", seen, at 5, Present guess, Error Guess
      "a write is accepted", seen, at 1, Write([| 7uy |], None, 0), Ok [ WasWritten([| 7uy |], at 1) ]
      "a write based on the revision is accepted",
      seen,
      at 1,
      Write([| 7uy |], Some 1L, 0),
      Ok [ WasWritten([| 7uy |], at 1) ]
      "a write based on another revision is a conflict", seen, at 1, Write([| 7uy |], Some 0L, 0), Error Conflict
      "a write after the deadline is refused",
      seen,
      at 3,
      Write([| 7uy |], None, 0),
      Error(Over(ByTime ExpiryKind.Idle, at 3))
      "a write after the end is refused", out, at 1, Write([| 7uy |], None, 0), Error(Over(OnPurpose SignedOut, at 1))
      "a sign-in elevates", seen, at 1, SignIn("ada", [||], s2, 0), Ok [ WasSignedIn("ada", [||], s2, at 1) ]
      "the token before it is dead", signedIn, at 1, Present s1, Error Outdated
      "the token after it works", signedIn, at 1, Present s2, Ok [ WasSeen(at 1) ]
      "a request opened before it cannot write", signedIn, at 1, Write([||], None, 0), Error Outdated
      "a request opened before it cannot sign in", signedIn, at 1, SignIn("eve", [||], s3, 0), Error Outdated
      "a request opened before it cannot elevate", signedIn, at 1, Elevate(s3, 0), Error Outdated
      "a request opened before it cannot sign out", signedIn, at 1, Destroy(SignedOut, Some 0), Error Outdated
      "an operator can end it", signedIn, at 1, Destroy(Revoked, None), Ok [ WasDestroyed(Revoked, at 1) ]
      "a renewal is not due yet", seen, at 1, Renew(s2, 0), Error NotDue
      "a renewal is due", seen, at 2, Renew(s2, 0), Ok [ RenewalIssued(s2, at 2) ]
      "parallel requests are issued no second one", issued, at 2, Renew(s3, 0), Error NotDue
      "after the grace another is issued in its place",
      issued @ [ WasSeen(at 2) ],
      at 3,
      Renew(s3, 0),
      Ok [ RenewalIssued(s3, at 3) ]
      "the old token works while one is issued", issued, at 2, Present s1, Ok [ WasSeen(at 2) ]
      "the new token confirms", issued, at 2, Present s2, Ok [ RenewalConfirmed(s2, at 2, at 3); WasSeen(at 2) ]
      "a late one confirms, too",
      issued @ [ WasSeen(at 2); RenewalIssued(s3, at 3) ],
      at 4,
      Present s2,
      Ok [ RenewalConfirmed(s2, at 4, at 5); WasSeen(at 4) ]
      "its twin is dead then, and no sign of theft",
      issued @ [ RenewalIssued(s3, at 2); RenewalConfirmed(s3, at 2, at 3) ],
      at 2,
      Present s2,
      Error Outdated
      "the predecessor works in its grace, and moves nothing", confirmed, (at 3).AddTicks -1L, Present s1, Ok []
      "after its grace it is a replay",
      confirmed,
      at 3,
      Present s1,
      Ok [ GraceEnded; WasReplayed s1; WasDestroyed(Replayed, at 3) ]
      "and later too", graceOver, at 4, Present s1, Ok [ WasReplayed s1; WasDestroyed(Replayed, at 4) ]
      "a replay is reported once", graceOver @ [ WasReplayed s1 ], at 4, Present s1, Error Outdated
      "the confirmed token lives on after the grace", confirmed, at 4, Present s2, Ok [ GraceEnded; WasSeen(at 4) ]
      "no renewal begins within the grace", confirmed, at 2, Renew(s3, 0), Error NotDue
      "an elevation needs no renewal", seen, at 1, Elevate(s2, 0), Ok [ WasElevated(s2, at 1) ]
      "a sign-out ends it", seen, at 1, Destroy(SignedOut, Some 0), Ok [ WasDestroyed(SignedOut, at 1) ]
      "ending it again is no error", out, at 2, Destroy(SignedOut, Some 0), Ok []
      "an expired one can be ended", idle, at 4, Destroy(Revoked, None), Ok []
      "an ended one is over for its token", out, at 1, Present s1, Error(Over(OnPurpose SignedOut, at 1))
      "and a guess learns nothing of it", out, at 1, Present guess, Error Guess
      "it is not time to expire", seen, at 2, Expire, Error NotDue
      "a sweeper ends what is overdue", seen, at 3, Expire, Ok [ HasExpired(ExpiryKind.Idle, at 3) ]
      "a sweeper tells of it", idle, at 4, Tell, Ok [ WasTold ]
      "once", idle @ [ WasTold ], at 4, Tell, Ok []
      "a living one is not told of", seen, at 1, Tell, Error NotDue
      "a clock that runs backwards does not revive",
      seen @ [ WasSeen(at 2); HasExpired(ExpiryKind.Idle, at 5) ],
      at 3,
      Present s1,
      Error(Over(ByTime ExpiryKind.Idle, at 5))
      "a clock that is behind is judged at the last time seen",
      seen @ [ WasSeen(at 2) ],
      at 1,
      Present s1,
      Ok [ WasSeen(at 2) ] ]

let all =
    testList
        "examples"
        [ for name, given, now, command, answer in rows ->
              testCase name (fun () ->
                  let state = List.fold Lifecycle.evolve Lifecycle.initial given
                  Expect.equal (Lifecycle.decide policy now command state) answer "another answer") ]
