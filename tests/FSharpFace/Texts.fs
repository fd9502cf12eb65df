/// `string error`, `$"{state}"` and `{Error}` in a log say what it is: the name of the case, and never a secret or a server.
module FSharpFace.Texts

open System
open Expecto
open Microsoft.FSharp.Reflection
open FSharpFace.Programs
open Session.AspNetCore
open Session.Domain
open Session.Engine

let private at = DateTimeOffset(2026, 1, 2, 3, 4, 5, TimeSpan.Zero)

let private live: Live =
    { CreatedAt = at
      AuthenticatedAt = None
      LastSeen = at
      Subject = Some "ada"
      Data = [||]
      Revision = 1L
      Elevations = 0
      Secret = SecretHash.ofBytes (Array.create 32 7uy)
      SecretSince = at
      Superseded = [] }

let private facts: SessionFacts<Cart> = { Id = "some-id"; Subject = Some "ada"; Data = None; At = at }

let rec private sample (t: Type) : objnull =
    if t = typeof<string> then
        box "why"
    elif t = typeof<int> then
        box 7
    elif t = typeof<bool> then
        box true
    elif t = typeof<DateTimeOffset> then
        box at
    elif t = typeof<exn> then
        box (TimeoutException "host=db.internal;password=hunter2")
    elif t = typeof<Live> then
        box live
    elif t = typeof<SessionFacts<Cart>> then
        box facts
    elif t = typeof<SessionError> then
        box SessionError.Conflict
    elif t = typeof<Renewal> then
        box (Confirmed(live.Secret, at))
    elif FSharpType.IsUnion t then
        let case = (FSharpType.GetUnionCases t)[0]
        FSharpValue.MakeUnion(case, [| for field in case.GetFields() -> sample field.PropertyType |])
    else
        failwith $"a sample of {t}"

let private shown =
    [ typeof<State>
      typeof<Refusal>
      typeof<OnReplay>
      typeof<ExpiryKind>
      typeof<DestroyReason>
      typeof<LimitPolicy>
      typeof<Outcome>
      typeof<RefusalReason>
      typeof<SessionError>
      typeof<UpdateError<string>>
      typeof<Session.State>
      typeof<Session.Origin>
      typeof<Session.RegenerationReason>
      typeof<SessionEvent<Cart>> ]

let all =
    testList
        "texts"
        [ testCase "each case says its name" (fun () ->
              for t in shown do
                  for case in FSharpType.GetUnionCases t do
                      let fields = [| for field in case.GetFields() -> sample field.PropertyType |]
                      let value = FSharpValue.MakeUnion(case, fields)
                      let text = string value
                      Expect.stringStarts text case.Name t.Name
                      Expect.equal $"{value}" text "in a text"

                      for hidden in [ "Session."; "+"; "hunter2"; "db.internal"; "Microsoft.FSharp" ] do
                          Expect.isFalse (text.Contains hidden) $"{text}: nothing but what it is")

          testCase "with what matters of it" (fun () ->
              for value, text in
                  [ box (SessionError.Ended(ByTime Idle, at)), "Ended (Idle)"
                    box (SessionError.Refused Guess), "Refused (Guess)"
                    box (SessionError.LimitReached 5), "LimitReached (5)"
                    box (SessionError.TooLarge(70_000, 65_536)), "TooLarge (70000 of 65536 bytes)"
                    box (SessionError.NewerData(3, 2)), "NewerData (version 3, known 2)"
                    box (SessionError.Unavailable(TimeoutException "x")), "Unavailable (TimeoutException)"
                    box (SessionError.Incomplete(2, 1, SessionError.Contended)),
                    "Incomplete (2 ended, 1 left: Contended)"
                    box (UpdateError<string>.Failed SessionError.Conflict), "Failed (Conflict)"
                    box (UpdateError.Declined "full"), "Declined (full)"
                    box (OnPurpose SignedOut), "SignedOut"
                    box (ByTime Absolute), "Absolute"
                    box (Over(ByTime Unconfirmed, at)), "Over (Unconfirmed)"
                    box (Destroyed(live, Limit, at)), "Destroyed (Limit)"
                    box (Expired(live, Idle, at, false)), "Expired (Idle)"
                    box (SessionEvent.Destroyed(facts, Revoked)), "Destroyed (Revoked) some-id" ] do
                  Expect.equal (string value) text text)

          testCase "an error says what to answer, and what is true of the store" (fun () ->
              for error, status, outcome in
                  [ SessionError.NoSession, 401, Session.Outcome.NothingChanged
                    SessionError.CrossSite, 403, Session.Outcome.NothingChanged
                    SessionError.Conflict, 409, Session.Outcome.NothingChanged
                    SessionError.TooLarge(2, 1), 413, Session.Outcome.NothingChanged
                    SessionError.Unsure(TimeoutException()), 503, Session.Outcome.MayHaveChanged
                    SessionError.Incomplete(1, 1, SessionError.Contended), 503, Session.Outcome.Changed ] do
                  Expect.equal (error.Status, error.Outcome) (status, outcome) (string error)
                  Expect.stringEnds error.Sentence "." "a sentence") ]
