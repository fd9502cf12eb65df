/// Turns: who writes to a session waits while another write to it is under way. The answer to that may be slow, and other
/// nodes do not wait: what they have stored and acknowledged before somebody began counts for whoever began.
module Properties.Turns

open System
open System.Threading
open System.Threading.Tasks
open Expecto
open Microsoft.Extensions.Logging.Abstractions
open Microsoft.Extensions.Time.Testing
open Session.Domain
open Session.Engine
open Properties.Engines
open Properties.Histories

let private none = CancellationToken.None

let private ambient = AsyncLocal<string | null>()

/// What it takes, it takes at once. Of the next write the answer comes when it is let go.
[<Sealed>]
type private Held(store: ISessionStore) =
    inherit ForwardingStore(store)
    let taken = TaskCompletionSource TaskCreationOptions.RunContinuationsAsynchronously
    let goes = TaskCompletionSource TaskCreationOptions.RunContinuationsAsynchronously
    let mutable isNext = false
    member _.Taken = taken.Task
    member _.HoldNext() = isNext <- true
    member _.LetGo() = goes.SetResult()
    /// What the next read waits for.
    member val Reading: Task = Task.CompletedTask with get, set
    member val Reads = 0 with get, set
    /// In whose context each write was sent.
    member val Writers = Collections.Concurrent.ConcurrentQueue<string | null>()

    override it.Load(id, cancel) =
        ValueTask<StoredRecord | null>(
            task =
                task {
                    it.Reads <- it.Reads + 1
                    do! it.Reading
                    return! store.Load(id, cancel)
                }
        )

    override it.Replace(record, expected, cancel) =
        it.Writers.Enqueue ambient.Value

        ValueTask<WriteResult>(
            task =
                task {
                    let isHeld = isNext
                    isNext <- false
                    let! result = store.Replace(record, expected, cancel)

                    if isHeld then
                        taken.SetResult()
                        do! goes.Task

                    return result
                }
        )

let private tokenOf (engine: SessionEngine) (issued: IssuedToken) =
    (Token.tryParse engine.Hasher (issued.Reveal().AsSpan())).Value

let private present (engine: SessionEngine) token =
    task {
        let! found = engine.Present(token, false, none)
        return ok found
    }

let private isOver (engine: SessionEngine) token =
    task {
        let! found = engine.Present(token, false, none)
        return Result.isError found
    }

let private add (data: byte[]) = Ok [| data[0] + 1uy |]

/// Refused where another node has not been first.
let private addToOne (data: byte[]) = if data[0] < 100uy then Error(SessionError.Conflict) else add data

/// Fails where another node has not been first.
let private addToOneOrFail (data: byte[]) = if data[0] < 100uy then invalidOp "too early" else add data

/// As a request asks for it: those who wait share a write.
let private shared (engine: SessionEngine) (from: Opened) change =
    task {
        let own data = change data |> Result.map (fun data -> struct (data, ()))

        match! engine.Requests.Update(from, own, engine.NewErrand(), none) with
        | Reply.Done _ -> return Ok()
        | Reply.Failed error
        | Reply.Partly(_, error) -> return Error error
    }

let private ignored (work: Task<Result<'a, SessionError>>) =
    task {
        let! answer = work
        return Result.map ignore answer
    }

/// What another node does meanwhile, and hands out.
let private elevate (there: SessionEngine) (from: Opened) =
    task {
        let! elevated = there.Regenerate(from, none)
        return tokenOf there (ok elevated).Issued.Value
    }

let private setTo100 (there: SessionEngine) (from: Opened) =
    task {
        let! _ = there.Update(from, (fun _ -> Ok [| 100uy |]), none)
        return ()
    }

/// What somebody does here, let in after it, while a write from before it still has no answer.
let private begun =
    [ "signs out", (fun (here: SessionEngine) (from: Opened) -> ignored (here.SignOut(from, none))), true
      "updates", (fun here from -> ignored (here.Update(from, add, none))), false
      "updates, and shares the write", (fun here from -> shared here from add), false
      "updates by what the other node has stored", (fun here from -> ignored (here.Update(from, addToOne, none))), false
      "updates by what the other node has stored, and shares the write",
      (fun here from -> shared here from addToOne),
      false
      "is elevated", (fun here from -> ignored (here.Regenerate(from, none))), false
      "signs in", (fun here from -> ignored (here.SignIn(from, "ada", [| 100uy |], none))), false
      "saves", (fun here from -> ignored (here.Save(from, [| 7uy |], none))), false
      "is destroyed",
      (fun here from ->
          task {
              let! ended = here.Destroy(from.Snapshot.Id, Revoked, none)

              return
                  Result.map
                      (fun isEnded ->
                          if not isEnded then
                              failtest "there was nothing to end")
                      ended
          }),
      true ]

let private afterAnother (what, operation, ends) =
    [ for beside in [ 0; 2 ] ->
          testTask
              $"who {what} while a slow write of before is under way is judged by what is stored, {beside} beside it" {
              let memory = MemoryStore()
              let held = Held memory
              let here, there = engineWith held settings, engineWith memory settings
              let! created = there.Create(Token.newId, Some "ada", [| 0uy |], none)
              let first = tokenOf there (ok created).Issued.Value
              let! slow = present here first
              let! elsewhere = present there first
              held.HoldNext()
              let writing = here.Update(slow, add, none)
              do! held.Taken
              do! setTo100 there elsewhere
              let! again = present there first
              let! newest = elevate there again
              let! from = present here newest
              // Some who are refused, whatever is stored, share the turn.
              let refused = [ for _ in 1..beside -> shared here from (fun _ -> Error(SessionError.Conflict)) ]
              let working: Task<Result<unit, SessionError>> = operation here from
              held.LetGo()
              let! first = writing
              Expect.isOk first "the slow one counts"
              let! answer = working.WaitAsync(TimeSpan.FromSeconds 20L)
              Expect.isOk answer what
              let! answers = Task.WhenAll refused
              Expect.all answers Result.isError "those who are refused"

              if ends then
                  let! over = isOver there newest
                  Expect.isTrue over "and the session is over"
          } ]

/// Asked about what the write before has stored, which another node has overwritten: that it fails there is nobody's business.
let private failedOnlyBefore =
    testTask "a change that has failed on what was there before, and not on what is there, has not failed" {
        let memory = MemoryStore()
        let held = Held memory
        let here, there = engineWith held settings, engineWith memory settings
        let! created = there.Create(Token.newId, Some "ada", [| 0uy |], none)
        let token = tokenOf there (ok created).Issued.Value
        let! slow = present here token
        let! elsewhere = present there token
        held.HoldNext()
        let writing = here.Update(slow, add, none)
        do! held.Taken
        do! setTo100 there elsewhere
        let! from = present here token
        let working = shared here from addToOneOrFail
        held.LetGo()
        let! first = writing
        Expect.isOk first "the slow one counts"
        let! answer = working.WaitAsync(TimeSpan.FromSeconds 20L)
        Expect.isOk answer "and so does the other"
        let! (found: Opened) = present there token
        Expect.equal found.Live.Data [| 101uy |] "once"
    }

/// Whoever shares a write has the function of another one carried out by it.
let private inItsOwnContext =
    testTask "a function that waits for its turn runs in the context of its own caller" {
        let held = Held(MemoryStore())
        let here = engineWith held settings
        let! created = here.Create(Token.newId, Some "ada", [| 0uy |], none)
        let! from = present here (tokenOf here (ok created).Issued.Value)
        held.HoldNext()
        ambient.Value <- "the first"
        let writing = here.Update(from, add, none)
        do! held.Taken
        let seen = Collections.Concurrent.ConcurrentQueue<string>()

        let look data =
            seen.Enqueue $"{ambient.Value}, {Globalization.CultureInfo.CurrentCulture.Name}"
            add data

        let one (name: string) (culture: string) =
            task {
                ambient.Value <- name
                Globalization.CultureInfo.CurrentCulture <- Globalization.CultureInfo culture
                return! shared here from look
            }

        let others = [ one "the second" "de-DE"; one "the third" "fr-FR" ]
        ambient.Value <- "somebody else"
        held.LetGo()
        let! _ = writing
        let! answers = Task.WhenAll others
        Expect.all answers Result.isOk "both count"
        Expect.equal (seen |> Seq.distinct |> List.ofSeq) [ "the second, de-DE"; "the third, fr-FR" ] "each its own"
        // Log scopes, spans: those of a request that is over are none of the others'.
        let writers = held.Writers |> Seq.choose Option.ofObj |> List.ofSeq
        Expect.equal writers [ "the first" ] "what they share is written in nobody's"
    }

/// What it would read may be another request's by then.
let private notWhenNobodyWaits =
    testTask "a function is not called once its caller has been told that it is over" {
        let memory = MemoryStore()
        let held = Held memory
        let here, there = engineWith held settings, engineWith memory settings
        let! created = there.Create(Token.newId, Some "ada", [| 0uy |], none)
        let token = tokenOf there (ok created).Issued.Value
        let! from = present here token
        let! elsewhere = present there token
        held.HoldNext()
        let writing = here.Update(from, add, none)
        do! held.Taken
        let gone = new CancellationTokenSource()
        let mutable calls = 0

        let own data =
            calls <- calls + 1
            add data |> Result.map (fun data -> struct (data, ()))

        let waiting = here.Requests.Update(from, own, here.NewErrand(), gone.Token)
        // Its write meets another node's, so that the record is read once more.
        do! setTo100 there elsewhere
        let reading = TaskCompletionSource TaskCreationOptions.RunContinuationsAsynchronously
        let reads = held.Reads
        held.Reading <- reading.Task
        held.LetGo()
        let! _ = writing

        while held.Reads = reads do
            do! Task.Delay 1

        gone.Cancel()

        let! told =
            task {
                try
                    match! waiting with
                    | Reply.Failed error -> return SessionError.outcome error
                    | _ -> return Changed
                with :? OperationCanceledException ->
                    return NothingChanged
            }

        let before = calls
        held.Reading <- Task.CompletedTask
        reading.SetResult()
        let! (found: Opened) = present there token
        let! last = here.Update(found, add, none)
        Expect.isOk last "the next one has its turn"
        Expect.equal calls before "it is called no more"
        let! (found: Opened) = present there token
        Expect.equal found.Live.Data [| 101uy |] "nothing of it is stored"
        Expect.notEqual told Changed "and what was said is true"
    }

/// All that a request does has its time together, and what it waits for others is of that time.
let private noLongerThanItsRequest =
    testTask "who waits for another write waits no longer than its request has time left" {
        let clock, held = FakeTimeProvider t0, Held(MemoryStore())
        let waits = { WaitLimits.Default with Timer = clock }
        let here = SessionEngine(held, settings, waits, clock, NullLogger.Instance, silent)
        let! created = here.Create(Token.newId, Some "ada", [| 0uy |], none)
        let! from = present here (tokenOf here (ok created).Issued.Value)
        // What its request has waited for before.
        let errand = here.NewErrand()
        errand.Wait()
        clock.Advance(waits.RequestTimeout - TimeSpan.FromSeconds 2L)
        errand.Pause()
        held.HoldNext()
        let writing = here.Update(from, add, none)
        do! held.Taken
        let own data = add data |> Result.map (fun data -> struct (data, ()))
        let waiting = here.Requests.Update(from, own, errand, none)
        clock.Advance(TimeSpan.FromSeconds 2L)

        match! waiting.WaitAsync(TimeSpan.FromSeconds 20L) with
        | Reply.Failed SessionError.Contended -> ()
        | _ -> failtest "another write is under way"

        held.LetGo()
        let! first = writing
        Expect.isOk first "the one that was under way"
    }

/// The line is not at its end where those who stand in front have gone, whether they would have shared a write or not.
let private behindThoseWhoHaveGone =
    testTask "who waits for another write behind those who have given up has its turn" {
        for givenUp in 1..3 do
            for theyShare, itShares in [ false, false; false, true; true, false; true, true ] do
                let held = Held(MemoryStore())
                let here = engineWith held settings
                let! created = here.Create(Token.newId, Some "ada", [| 0uy |], none)
                let token = tokenOf here (ok created).Issued.Value
                let! from = present here token
                held.HoldNext()
                let writing = here.Update(from, add, none)
                do! held.Taken
                let gone = new CancellationTokenSource()

                let begin' shares (cancel: CancellationToken) : Task =
                    if shares then
                        let own data = add data |> Result.map (fun data -> struct (data, ()))
                        here.Requests.Update(from, own, here.NewErrand(), cancel) :> Task
                    else
                        here.Update(from, add, cancel) :> Task

                let impatient = Task.WhenAll [ for _ in 1..givenUp -> begin' theyShare gone.Token ]
                let patient = if itShares then shared here from add else ignored (here.Update(from, add, none))
                gone.Cancel()
                let! (left: Task) = Task.WhenAny(impatient, Task.Delay(TimeSpan.FromSeconds 20L))
                Expect.isTrue left.IsCanceled "they have given up"
                held.LetGo()
                let! first = writing
                Expect.isOk first "the one that was under way"
                let! answer = patient.WaitAsync(TimeSpan.FromSeconds 20L)
                Expect.isOk answer $"behind {givenUp} who have gone"
                let! (found: Opened) = present here token
                Expect.equal found.Live.Data [| 2uy |] "and nothing of theirs is stored"
    }

/// Of a turn itself: whoever comes when, one has it, and who waits gets it in the order of coming.
let private oneAtATime =
    testCaseTask "one has it at a time, in the order of coming, whoever comes when" (fun () ->
        task {
            for seed in 1..300 do
                let chance, turn = Random seed, Turn()
                let waiting = Collections.Generic.Queue<Task<bool>>()
                let mutable hasIt = false

                for _ in 1..30 do
                    match chance.Next 3 with
                    | 0 ->
                        let isTaken = turn.TryTake()
                        Expect.equal isTaken (not hasIt) $"seed {seed}: at once, where nobody has it"
                        hasIt <- true
                    | 1 ->
                        let mine = turn.Take(TimeSpan.FromMinutes 5L, TimeProvider.System)

                        if hasIt then
                            Expect.isFalse mine.IsCompleted $"seed {seed}: somebody has it"
                            waiting.Enqueue mine
                        else
                            let! isMine = mine
                            Expect.isTrue isMine $"seed {seed}: nobody had it"
                            hasIt <- true
                    | _ when not hasIt -> ()
                    | _ ->
                        turn.Leave()
                        hasIt <- waiting.Count > 0

                        if hasIt then
                            let! isMine = waiting.Dequeue().WaitAsync(TimeSpan.FromSeconds 30L)
                            Expect.isTrue isMine $"seed {seed}: who came first"

                        Expect.all waiting (fun it -> not it.IsCompleted) $"seed {seed}: and nobody else"
        })

/// Those who wait behind them have their turn all the same.
let private passedOver =
    testCaseTask "who has given up is passed over" (fun () ->
        task {
            for givenUp in 1..3 do
                let turn = Turn()
                let! first = turn.Take(TimeSpan.FromMinutes 5L, TimeProvider.System)
                Expect.isTrue first "nobody had it"

                let impatient = [ for _ in 1..givenUp -> turn.Take(TimeSpan.FromMilliseconds 1L, TimeProvider.System) ]

                let patient = turn.Take(TimeSpan.FromMinutes 5L, TimeProvider.System)
                let! gone = Task.WhenAll impatient
                Expect.all gone not "it did not come in time"
                turn.Leave()
                let! isIts = patient.WaitAsync(TimeSpan.FromSeconds 20L)
                Expect.isTrue isIts $"behind {givenUp} who have gone"
        })

let all =
    testList
        "turns"
        (oneAtATime
         :: passedOver
         :: noLongerThanItsRequest
         :: behindThoseWhoHaveGone
         :: failedOnlyBefore
         :: inItsOwnContext
         :: notWhenNobodyWaits
         :: List.collect afterAnother begun)
