/// The contract kit itself: it sees what is wrong in wrong stores, and does not accuse a right one.
module Integration.ContractKit

open System
open System.Collections.Concurrent
open System.Threading
open System.Threading.Tasks
open Expecto
open Integration.WrongStores
open Session.Engine
open Session.Stores.Testing

/// That a test of the kit says this of a wrong store.
let private sees because name (make: unit -> ForwardingStore) configure test story =
    testCaseTask because (fun () ->
        task {
            let! told = said (contract name (fun () -> make ()) configure) test
            Expect.stringContains told story "seen"
        })

let all =
    testList
        "the contract kit"
        [ testCase "a history that has too many orders is not called a violation" (fun () ->
              Expect.equal (Linearizability.Check(tangled 4)) Linearizability.Verdict.Violated "few: proved"
              Expect.equal (Linearizability.Check(tangled 30)) Linearizability.Verdict.Undecided "many: not proved")

          testCase "a history of as many operations as there may be is looked at to its end" (fun () ->
              let one n (steps: Linearizability.Register -> struct (bool * Linearizability.Register) array) =
                  Linearizability.Operation(2L * n, 2L * n + 1L, "", Func<_, _> steps)

              let after n = Linearizability.Register(n, n)
              let writes = [| for n in 1L .. 63L -> one n (fun _ -> [| struct (true, after n) |]) |]
              let reads version = one 64L (fun now -> [| struct (now.Version = version, now) |])
              let check last = Linearizability.Check(Array.append writes [| last |])
              Expect.equal (check (reads 63L)) Linearizability.Verdict.Holds "the last write is read"
              Expect.equal (check (reads 62L)) Linearizability.Verdict.Violated "the one before is read")

          sees
              "a conflict that no other write is the reason of is seen by the histories"
              "Hasty"
              hasty
              ignore
              "parallel clients see one order"
              "does not keep the contract"

          sees
              "what a store makes of the basis of a write is looked at"
              "Trusting"
              trusting
              (fun o -> o.Commands <- 2000)
              "random commands"
              "does not keep the contract"

          sees
              "a store that numbers its records by itself is seen, before sessions move to it"
              "Numbering"
              numbering
              ignore
              "a version is kept as it is given"
              "does not keep the contract"

          sees
              "claims that leave a record out are seen"
              "Losing"
              losing
              ignore
              "three sweepers share"
              "of 150 overdue records were handed out"

          testCaseTask "what a claimed record is due at after a write is looked at" (fun () ->
              task {
                  let! report = (contract "Leased" (fun () -> leased ()) ignore).RunAllAsync()

                  Expect.exists
                      report.Failures
                      (fun failure -> not (failure.Key.Contains "random commands"))
                      $"by an example, too: {report.Failures.Keys |> Seq.toList}"
              })

          sees
              "loads from before, while a write is under way, are seen by the histories"
              "Stale"
              stale
              ignore
              "parallel clients see one order"
              "does not keep the contract"

          testCaseTask "claims that are exclusive within one process only are seen" (fun () ->
              task {
                  let again (store: ISessionStore) (_: CancellationToken) =
                      match store with
                      | :? OwnLeases as store -> Task.FromResult<ISessionStore>(store.Again())
                      | _ -> failtest "another store"

                  let! story =
                      said
                          (contract "Own leases" (fun () -> new OwnLeases(healthy ())) (fun o -> o.Reopen <- again))
                          "three sweepers share"

                  Expect.stringContains story "Handed out twice" "seen"
              })

          testCaseTask "what was answered and is lost with its process is seen" (fun () ->
              task {
                  let records = healthy ()
                  // The handle that stops writes behind; whoever looks at the records afterwards sees what is there.
                  let stopping _ (_: int) (_: CancellationToken) = Task.FromResult<ISessionStore>(WriteBehind records)

                  let! story =
                      said
                          (contract "Write behind" (fun () -> records) (fun o -> o.Crashing <- stopping))
                          "stopped between two requests: a logout"

                  Expect.stringContains story "the record:" "seen"
              })

          testCaseTask "a write that was refused, and is there, is seen" (fun () ->
              task {
                  let records = healthy ()
                  let stopping _ (_: int) (_: CancellationToken) = Task.FromResult<ISessionStore>(lying records 1)

                  let! story =
                      said
                          (contract "Lying" (fun () -> records) (fun o -> o.Crashing <- stopping))
                          "stopped between two requests: a logout"

                  Expect.stringContains story "refused after 0 requests" "seen"

                  let! story =
                      said (contract "Lying" (fun () -> lying (healthy ()) 5) ignore) "parallel clients see one order"

                  Expect.stringContains story "does not keep the contract" "seen by the histories"
              })

          sees
              "the same notice once more, which nobody hears, is missed"
              "Repetitive"
              repetitive
              ignore
              "what one node says"
              "the first node, once more"

          for most, story in
              [ 0, "A listener that was disposed of hears"
                1, "Listeners that were disposed of hear" ] do
              sees
                  $"who is told though it listens no more is seen, from that one on: {most + 1}"
                  "Clinging"
                  (fun () -> clinging most)
                  ignore
                  "what one node says"
                  story

          sees
              "a notice that nobody has said is seen"
              "Inventive"
              inventive
              ignore
              "what one node says"
              "'invented' was heard, and nobody said so"

          testCaseTask "a notice that the other nodes do not hear is missed" (fun () ->
              task {
                  // Each of its handles has listeners of its own.
                  let again _ (_: CancellationToken) = Task.FromResult<ISessionStore>(healthy ())

                  let! story =
                      said (contract "Own listeners" healthy (fun o -> o.Reopen <- again)) "what one node says"

                  Expect.stringContains story "1200 of 1200 ids" "how many"
                  Expect.stringContains story "to another node" "and where"
              })

          for how in [ "one too few"; "one twice"; "another time" ] do
              sees
                  $"several records at once that are not what each is by itself are seen: {how}"
                  "Careless"
                  (fun () -> careless how)
                  ignore
                  "several at once"
                  "at once"

          sees
              "a listing without who was signed in before it is seen"
              "Lagging"
              lagging
              ignore
              "who was signed in before a listing"
              "Signed in before the listing began"

          sees
              "a listing with somebody else in it is seen"
              "Indiscreet"
              indiscreet
              ignore
              "who was signed in before a listing"
              "somebody else"

          sees
              "what is handed out no more once its lease is over is seen"
              "Hoarding"
              hoarding
              ignore
              "three sweepers share"
              "0 of 150 overdue records were handed out"

          testCaseTask "a report has each test once, what failed with why, and the seed" (fun () ->
              task {
                  let contract = contract "Generous" (fun () -> generous true) ignore
                  let! report = contract.RunAllAsync()
                  let failed = List.ofSeq report.Failures.Keys
                  let names = [ for test in contract.Tests -> test.Name ]
                  Expect.equal (List.sort (List.ofSeq report.Passed @ failed)) (List.sort names) "each once"
                  Expect.isNonEmpty report.Passed "most of it is right"
                  Expect.isNonEmpty failed "and this is not"
                  let text = string report

                  Expect.stringContains
                      text
                      $"Generous: {report.Passed.Count} passed, {failed.Length} failed"
                      "at once"

                  Expect.stringContains text "seed 4711" "to do it again"

                  for failure in report.Failures do
                      Expect.stringContains text $"FAILED {failure.Key}: {failure.Value}" "why"

                  Expect.exists
                      report.Failures.Values
                      _.StartsWith("Generous does not keep the contract. Replay: SESSION_CONTRACT_SEED=4711")
                      "a violation is told in its own words, and not as an exception"
              })

          sees
              "a body that is another one behind its first bytes is seen"
              "Turning"
              turning
              ignore
              "fields at their limits"
              "does not keep the contract"

          for verb in [ "touch"; "claim"; "reschedule" ] do
              sees
                  $"a cancelled {verb} that takes effect is seen"
                  "Deaf"
                  (fun () -> deaf verb)
                  ignore
                  "a cancelled call changes nothing"
                  "went on"

          for where in [ "by subject"; "enumerate"; "claim" ] do
              sees
                  $"records without what is in them are seen: {where}"
                  "Hollow"
                  (fun () -> hollow where)
                  ignore
                  "random commands"
                  $"{where}"

              testCaseTask $"by an example, too: {where}" (fun () ->
                  task {
                      let! report = (contract "Hollow" (fun () -> hollow where) ignore).RunAllAsync()

                      Expect.exists
                          report.Failures
                          (fun failure -> not (failure.Key.Contains "random commands"))
                          $"{report.Failures.Keys |> Seq.toList}"
                  })

          for ofSubject in [ true; false ] do
              sees
                  $"a page with one record more than it may have is seen, of a subject: {ofSubject}"
                  "Generous"
                  (fun () -> generous ofSubject)
                  ignore
                  "pages hold every record once"
                  "at most 7"

          sees
              "that there is nothing, where a write comes too late, is seen by the histories"
              "Absentminded"
              absentminded
              ignore
              "parallel clients see one order"
              "does not keep the contract"

          sees
              "what is wrong only on a place that was used before is a violation, too"
              "Worn"
              worn
              (fun o -> o.Commands <- 10_000)
              "random commands"
              "On a place that other sequences had used, and emptied"

          testCaseTask "what a stopped process has left, and only a listing takes away, is seen" (fun () ->
              task {
                  let mended (store: ISessionStore) =
                      match store with
                      | :? MendedByLists as store -> store
                      | _ -> failtest "another store"

                  let stopping (store: ISessionStore) (steps: int) (_: CancellationToken) =
                      Task.FromResult<ISessionStore>((mended store).Stopping steps)

                  let entries (store: ISessionStore) (_: CancellationToken) = Task.FromResult((mended store).Entries)
                  let make () = new MendedByLists(healthy (), ConcurrentDictionary(), Int32.MaxValue) :> ISessionStore

                  let! story =
                      said
                          (contract "Mended by lists" make (fun o ->
                              o.Crashing <- stopping
                              o.Entries <- entries))
                          "stopped between two requests: a sign-in begins a session"

                  Expect.stringContains story "entries in all indexes" "seen"
              })

          for where in [ "enumerate"; "claimed, sooner or later"; "count, after the sweeps" ] do
              testCaseTask $"what a stopped process has done by half is seen: {where}" (fun () ->
                  task {
                      let stopping (store: ISessionStore) (steps: int) (_: CancellationToken) =
                          match store with
                          | :? Halfway as store -> Task.FromResult<ISessionStore>(store.Stopping steps)
                          | _ -> failtest "another store"

                      let make () =
                          new Halfway(healthy (), ConcurrentDictionary(), Int32.MaxValue, where) :> ISessionStore

                      let! story =
                          said
                              (contract "Halfway" make (fun o -> o.Crashing <- stopping))
                              "stopped between two requests: a sign-in begins a session"

                      Expect.stringContains story $"{where}: " "seen"
                  })

          sees
              "a body that is kept with what lies around it is seen"
              "Grasping"
              grasping
              ignore
              "a body that is a part of an array"
              "does not keep the contract"

          sees
              "versions that are taken for one another because they are large are seen"
              "Rounding"
              rounding
              ignore
              "versions are compared whole"
              "does not keep the contract"

          for ofSubject, page in [ true, "the next page of the subject -> d"; false, "the next page -> d" ] do
              sees
                  $"pages that go on by a number, and leave one out, are seen, of a subject: {ofSubject}"
                  "Offsetting"
                  (fun () -> offsetting ofSubject)
                  ignore
                  "a page goes on behind what was removed"
                  page

          for isAtOnce in [ false; true ] do
              testCaseTask
                  $"a process that is stopped has sent so many requests, and none behind them; all at once: {isAtOnce}"
                  (fun () ->
                      task {
                          for requests in [ 0; 1; 3 ] do
                              let! heard, answers, isGone = proxied requests isAtOnce
                              let through = "greeting" :: [ for n in 1..requests -> $"request {n}" ]
                              Expect.equal heard through $"{requests}: what the server has taken"

                              if not isAtOnce then
                                  let taken = [ for line in through -> $"{line}, taken" ]
                                  Expect.equal answers taken $"{requests}: each was answered"

                              Expect.isTrue isGone $"{requests}: nobody is let in any more"
                      })

          sees
              "histories in which most calls fail are no success"
              "Overloaded"
              overloaded
              ignore
              "parallel clients see one order"
              "says nothing"

          testCaseTask "each handle that the kit opens it closes once, whatever comes of its test" (fun () ->
              task {
                  let handles = ConcurrentDictionary<Guid, bool>()
                  let opened = ref 0

                  let again (store: ISessionStore) (_: CancellationToken) =
                      match store with
                      | :? Closable as store ->
                          Interlocked.Increment &opened.contents |> ignore
                          Task.FromResult<ISessionStore>(store.Again())
                      | _ -> failtest "another store"

                  let on (records: unit -> ISessionStore) =
                      let make () = new Closable(records (), handles) :> ISessionStore
                      contract "Closable" make (fun o -> o.Reopen <- again)

                  for test in
                      [ "insert and load"
                        "random commands"
                        "parallel clients see one order"
                        "every accepted update counts"
                        "three sweepers share"
                        "what one node says" ] do
                      let! told = said (on healthy) test
                      Expect.equal told "" test
                      Expect.isEmpty handles $"{test}: all of them"

                  Expect.isGreaterThan opened.Value 0 "as other nodes"
                  let! told = said (on (fun () -> numbering ())) "a version is kept as it is given"
                  Expect.notEqual told "" "an example that fails"
                  let! told = said (on (fun () -> hasty ())) "parallel clients see one order"
                  Expect.notEqual told "" "histories that fail"
                  Expect.isEmpty handles "all of them, all the same"

                  // Another node that is opened, and then cannot be used.
                  let absent _ (_: CancellationToken) =
                      let broken =
                          { new ForwardingStore(healthy ()) with
                              override _.Prepare _ = raise (IO.IOException "not there") }

                      Task.FromResult<ISessionStore>(new Closable(broken, handles))

                  let make () = new Closable(healthy (), handles) :> ISessionStore

                  let! story =
                      task {
                          try
                              return!
                                  said (contract "Absent" make (fun o -> o.Reopen <- absent)) "three sweepers share"
                          with :? IO.IOException as error ->
                              return error.Message
                      }

                  Expect.equal story "not there" "the failure itself"
                  Expect.isEmpty handles "and it is closed, too"
              })

          for verb, test in
              [ "insert", "a cancelled call"
                "replace", "a cancelled call"
                "remove", "a cancelled call"
                "remove a version", "the removal of a version" ] do
              sees
                  $"a write that goes on though its caller has gone is seen: {verb}"
                  "Heedless"
                  (fun () -> heedless verb)
                  ignore
                  test
                  "went on"

          testCaseTask "writes of which nobody hears whether they were carried out accuse nobody" (fun () ->
              task {
                  let! told =
                      said (contract "Unsteady" (fun () -> unsteady ()) ignore) "parallel clients see one order"

                  Expect.equal told "" "a right store"
              })

          testCaseTask "what the options say that a store cannot is not asked for" (fun () ->
              task {
                  let contract =
                      contract "Bare" (fun () -> bare ()) (fun o ->
                          o.Commands <- 1000
                          o.Touches <- false
                          o.Signals <- false)

                  let names = [ for test in contract.Tests -> test.Name ]

                  for word in [ "touch"; "what one node says" ] do
                      Expect.isFalse (names |> List.exists _.Contains(word)) word

                  let! told = said contract "random commands"
                  Expect.equal told "" "a right store"
              })

          testCaseTask "a store that compares and swaps in one process alone is asked through one handle" (fun () ->
              task {
                  let contract =
                      contract "One process" healthy (fun o ->
                          o.ComparesAndSwaps <- false
                          o.Reopen <- fun _ _ -> failtest "another handle")

                  for test in
                      [ "parallel clients see one order"
                        "every accepted update counts"
                        "three sweepers share" ] do
                      let! told = said contract test
                      Expect.equal told "" test
              })

          testCaseTask "a touch that takes effect a second later is right" (fun () ->
              task {
                  for test in (contract "Late touches" (fun () -> late ()) ignore).Tests do
                      if test.Name.Contains "touch" then
                          do! test.RunAsync()
              }) ]
