/// Faults at every step: each operation of several steps, the n-th of its calls to the store for every n, and each kind of
/// fault. Whatever happens, the answer is true of what the store holds afterwards, and every session is as it was before
/// or as the operation would have left it: there is no third thing. Asked of one store, and of two between which sessions
/// move.
module internal Properties.EveryStep

open System
open System.Threading
open System.Threading.Tasks
open Expecto
open Session.Domain
open Session.Engine
open Properties.Histories
open Properties.Steps

let private none = CancellationToken.None

/// What an operation came to.
type private Answer = { Told: Result<unit, SessionError>; Token: IssuedToken option }

let private toAnswer (token: 'out -> IssuedToken option) (reply: Reply<'out>) =
    match reply with
    | Reply.Done out -> { Told = Ok(); Token = token out }
    | Reply.Partly(out, error) -> { Told = Error error; Token = token out }
    | Reply.Failed error -> { Told = Error error; Token = None }

let private issued (opened: Opened) = opened.Issued
let private count (answer: Result<'a, SessionError>) = { Told = Result.map ignore answer; Token = None }

/// `Prepare` gives the operation, and the session that it is about; None: each of several by itself.
type private Operation =
    { Name: string
      Settings: EngineSettings
      Prepare: Lab -> Task<(unit -> Task<Answer>) * string option> }

let private plain = Engines.settings

let private limited most whenReached =
    { plain with
        MaxSessionsPerSubject = Some most
        WhenLimitReached = whenReached }

let private change (data: byte[]) = Ok(struct ([| data[0] + 1uy |], ()))

let private operation name settings (prepare: Lab -> Task<(unit -> Task<Answer>) * string option>) =
    { Name = name; Settings = settings; Prepare = prepare }

/// One on a session that is there.
let private onOne name settings subject (run: Requests -> Opened -> Errand -> Task<Answer>) =
    operation name settings (fun lab ->
        task {
            let! opened = lab.Begin subject
            let engine = lab.Engine
            return (fun () -> run engine.Requests opened (engine.NewErrand())), Some opened.Snapshot.Id
        })

let private creating name settings (subject: string option) (others: string option list) =
    operation name settings (fun lab ->
        task {
            for other in others do
                let! _ = lab.Begin other
                ()

            let engine = lab.Engine
            let own = $"s{others.Length + 1}"

            let run () =
                task {
                    let! reply = engine.Requests.Create(lab.NextId, subject, [| 5uy |], engine.NewErrand(), none)
                    return toAnswer issued reply
                }

            return run, Some own
        })

let private onAll name (run: SessionEngine -> Task<Answer>) =
    operation name plain (fun lab ->
        task {
            for subject in [ Some "ada"; Some "ada"; Some "bob"; Some "ada"; None ] do
                let! _ = lab.Begin subject
                ()

            return (fun () -> run lab.Engine), None
        })

let private operations =
    [ creating "create" plain None []
      creating "create a signed-in one, where the oldest ends" (limited 1 EndOldest) (Some "ada") [ Some "ada" ]
      creating
          "create a signed-in one, where the limit refuses the second"
          (limited 2 RefuseNew)
          (Some "ada")
          [ Some "ada" ]
      onOne "sign in, where the limit leaves room" (limited 1 RefuseNew) None (fun requests opened errand ->
          task {
              let! reply = requests.SignIn(opened, "ada", [| 7uy |], errand, none)
              return toAnswer issued reply
          })
      onOne "elevate" plain (Some "ada") (fun requests opened errand ->
          task {
              let! reply = requests.Regenerate(opened, Some [| 8uy |], errand, none)
              return toAnswer issued reply
          })
      onOne "update" plain None (fun requests opened errand ->
          task {
              let! reply = requests.Update(opened, change, errand, none)
              return toAnswer (fun (struct (opened, ())) -> issued opened) reply
          })
      onOne "save" plain None (fun requests opened errand ->
          task {
              let! reply = requests.Save(opened, [| 9uy |], errand, none)
              return toAnswer issued reply
          })
      onOne "sign out" plain (Some "ada") (fun requests opened errand ->
          task {
              let! reply = requests.SignOut(opened, errand, none)
              return toAnswer (fun _ -> None) reply
          })
      onOne "reload" plain (Some "ada") (fun requests opened errand ->
          task {
              let! answer = requests.Reload(opened, errand, none)
              return count answer
          })
      operation "end by id" plain (fun lab ->
          task {
              let! opened = lab.Begin(Some "ada")
              let id = opened.Snapshot.Id

              let run () =
                  task {
                      let! answer = lab.Engine.Destroy(id, Revoked, none)
                      return count answer
                  }

              return run, Some id
          })
      onAll "end all of a subject" (fun engine ->
          task {
              let! answer = engine.DestroyAll("ada", None, Revoked, none)
              return count answer
          })
      onAll "end everybody" (fun engine ->
          task {
              let! answer = engine.DestroyEvery(Revoked, none)
              return count answer
          }) ]

/// The answer, and what the store holds before, and once everything has arrived.
type private Trial =
    { Lab: Lab
      Own: string option
      Before: Map<string, string>
      Answer: Answer
      After: Map<string, string>
      Calls: int }

let private trial (operation: Operation) isMoving n fault : Task<Trial> =
    task {
        let counter = Counter(n, fault)
        let lab = Lab(operation.Settings, isMoving, counter)
        let! run, own = operation.Prepare lab
        let! before = lab.View()
        counter.IsOn <- true
        let! answer = run ()
        counter.IsOn <- false
        let calls = counter.Calls
        do! counter.ArriveAll()
        // What took its time has come by now.
        if fault = Slow then
            do! Task.Delay 70

        let! after = lab.View()

        return
            { Lab = lab
              Own = own
              Before = before
              Answer = answer
              After = after
              Calls = calls }
    }

let private each (operation: Operation) isMoving =
    let where = if isMoving then ", while sessions move" else ""

    testTask $"18 outcomes are true: {operation.Name}, whatever step meets a fault{where}" {
        let! (calm: Trial) = trial operation isMoving 0 Fails
        let before, ideal = calm.Before, calm.After
        Expect.isOk calm.Answer.Told "without a fault"
        Expect.isGreaterThan calm.Calls 0 "it calls the store"

        for fault in faults () do
            let mutable n, isOver = 0, false

            while not isOver do
                n <- n + 1
                let! (it: Trial) = trial operation isMoving n fault
                let lab, own, answer, after = it.Lab, it.Own, it.Answer, it.After
                isOver <- it.Calls < n
                let context = $"call {n} {fault}, told {answer.Told}"

                for id in lab.Ids do
                    let now = after[id]
                    let was = Map.tryFind id before |> Option.defaultValue "none"
                    let wanted = Map.tryFind id ideal |> Option.defaultValue "none"
                    Expect.isTrue (now = was || now = wanted) $"{context}: {id} is {now}"

                let isDone id = after[id] = ideal[id]
                let isAsBefore id = after[id] = (Map.tryFind id before |> Option.defaultValue "none")

                match answer.Told, own with
                | Ok(), _ -> Expect.equal after ideal $"{context}: done"
                | Error(SessionError.Incomplete(ended, left, _)), _ ->
                    let gone = lab.Ids |> List.filter (fun id -> not (isAsBefore id)) |> List.length
                    Expect.isTrue (gone >= ended) $"{context}: {gone} ended"
                    Expect.isTrue (left > 0) $"{context}: some are left"
                | Error error, own ->
                    match SessionError.outcome error, own with
                    | NothingChanged, _ ->
                        for id in lab.Ids do
                            Expect.isTrue (isAsBefore id) $"{context}: refused, and {id} is {after[id]}"
                    | Changed, Some id -> Expect.isTrue (isDone id) $"{context}: changed, and {id} is {after[id]}"
                    | Changed, None
                    | MayHaveChanged, _ -> ()

                match answer.Token with
                | Some token when isDone token.Id && ideal[token.Id] <> "none" ->
                    let! opens = lab.Opens token
                    Expect.isTrue opens $"{context}: what is handed out opens"
                | Some token ->
                    failtestf "%s: a token of %s is handed out, which is %s" context token.Id after[token.Id]
                | None -> ()
    }

/// A renewal is issued, confirmed, and lets the old token go: at each step, each fault, the holder stays in.
let private renewing isMoving =
    let where = if isMoving then ", while sessions move" else ""

    testTask $"10 renewal keeps the session: whatever step of it meets a fault, one of the holder's tokens opens{where}" {
        for fault in faults () do
            for n in 1..8 do
                let counter = Counter(n, fault)
                let lab = Lab(plain, isMoving, counter)
                let! opened = lab.Begin None
                let mutable token = opened.Issued.Value
                let! _ = lab.Opens token
                counter.IsOn <- true

                for _ in 1..3 do
                    lab.Clock.Advance(minutes 2)
                    let presented = (Token.tryParse lab.Engine.Hasher (token.Reveal().AsSpan())).Value
                    let! (answer: Result<Opened, SessionError>) = lab.Engine.Present(presented, true, none)

                    match answer with
                    | Ok opened -> token <- Option.defaultValue token opened.Issued
                    | Error(SessionError.Unavailable _ | SessionError.Unsure _) -> ()
                    | Error error -> failtestf "call %d %A: refused by %A" n fault error

                counter.IsOn <- false
                do! counter.ArriveAll()
                let! opens = lab.Opens token
                Expect.isTrue opens $"call {n} {fault}"
    }

/// A sweep ends, tells and removes: what a fault has stopped the next sweeps do.
let private sweeping isMoving =
    let where = if isMoving then ", while sessions move" else ""

    testTask
        $"8 the unattended end: whatever step of a sweep meets a fault, the next ones end, tell and forget all{where}" {
        for fault in faults () do
            for n in 1..14 do
                let counter = Counter(n, fault)
                let lab = Lab(plain, isMoving, counter)

                for subject in [ Some "ada"; None; Some "bob" ] do
                    let! _ = lab.Begin subject
                    ()

                let! first = lab.Before.Destroy("s3", Revoked, none)
                Expect.equal first (Ok true) "one is a tombstone"
                lab.Clock.Advance(minutes 30)
                counter.IsOn <- true

                try
                    let! _ = lab.Engine.Sweep(10, none)
                    ()
                with _ ->
                    ()

                counter.IsOn <- false
                do! counter.ArriveAll()

                for _ in 1..6 do
                    lab.Clock.Advance(minutes 20)
                    let! _ = lab.Judge.Sweep(10, none)
                    ()

                Expect.contains lab.Heard "s1" $"call {n} {fault}: the first is told"
                Expect.contains lab.Heard "s2" $"call {n} {fault}: the second is told"
                Expect.isFalse (lab.Heard.Contains "s3") $"call {n} {fault}: the tombstone is not"
                let! left = lab.Whole.Enumerate(null, 10, none)
                Expect.equal left.Records.Count 0 $"call {n} {fault}: nothing is left"
    }

let all =
    testList
        "every step"
        [ for isMoving in [ false; true ] do
              for operation in operations do
                  each operation isMoving

              renewing isMoving
              sweeping isMoving ]
