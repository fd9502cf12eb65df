/// A node dies, or sleeps, at any of its calls while it moves sessions: whatever others do meanwhile, nothing is lost and ends stay ends.
module Properties.MigrationDeaths

open System
open System.Threading.Tasks
open Expecto
open Properties.MigrationWorld
open Session.Domain
open Session.Engine

let dies (name: string, operation: ISessionStore -> Task<bool>) =
    [ for how, begun in beginnings do
          testCaseTask $"{name}, {how}: a node dies, or an answer is lost, at every call, twice" (fun () ->
              task {
                  let! tried =
                      everywhere deaths (fun first why ->
                          task {
                              let! alone = begun ()
                              let! _ = run operation (alone.Through first)

                              let! _ =
                                  everywhere deaths (fun second again ->
                                      task {
                                          let why = $"{name}: {why}, then {again}"
                                          let! place = begun ()
                                          let! told = run operation (place.Through(first.Again()))
                                          let! again = run operation (place.Through second)
                                          let! found = load place.Store "a"
                                          let wasTold = List.contains (Some true) [ told; again ]

                                          match name, found with
                                          | "remove", found ->
                                              if wasTold then
                                                  Expect.isNone found why
                                          | _, None -> failtestf "%s: the session is lost" why
                                          | "write", Some found when wasTold -> Expect.equal found.Version 2L why
                                          | "logout", Some found when wasTold ->
                                              Expect.equal found.Kind RecordKind.Ended why
                                          | ("write" | "logout"), _ -> ()
                                          | _, Some found -> Expect.equal found.Version 1L why

                                          let! ids = enumerate 10 place.Store

                                          Expect.equal
                                              ids
                                              (if found.IsSome then [ "a" ] else [])
                                              $"{why}: listed once"

                                          do! endsForGood place why
                                      })

                              ()
                          })

                  Expect.isGreaterThan tried 3 "it was tried"
              }) ]

let sleeps (name: string, operation: ISessionStore -> Task<bool>) =
    testList
        name
        [ for how, begun in beginnings do
              for what, others in meanwhile do
                  testCaseTask $"{how}: a node sleeps at every call through {what}" (fun () ->
                      task {
                          let! _ =
                              everywhere [ Sleeps ] (fun node why ->
                                  task {
                                      let! place = begun ()
                                      let running = run operation (place.Through node)
                                      let! _ = Task.WhenAny(node.Asleep, running)
                                      do! others place
                                      node.Wake()
                                      let! told = running
                                      let! found = load place.Store "a"

                                      match found with
                                      | Some found when found.Kind <> RecordKind.Ended ->
                                          // A write that is told to its client is lost by no more than an end.
                                          if what <> "a write" || (name = "remove" && told = Some true) then
                                              failtestf "%s, %s: back as %s" name why (show (Some found))
                                      | _ -> ()

                                      let! ids = enumerate 10 place.Store

                                      Expect.equal
                                          ids
                                          (if found.IsSome then [ "a" ] else [])
                                          "what is listed is there"
                                  })

                          ()
                      }) ]

/// Two at once: one may take up what the other one left.
let sleepTogether =
    [ for how, begun in beginnings do
          for second in [ Sleeps; SleepsAndDies ] do
              testCaseTask
                  $"{how}: two movers sleep, each at every call, through a logout and its end: {second}"
                  (fun () ->
                      task {
                          let mutable tried = 0

                          for isFirst in [ true; false ] do
                              let! _ =
                                  everywhere [ Sleeps ] (fun one why ->
                                      task {
                                          let! alone = begun ()
                                          one.Wake()
                                          let! _ = run (replace (live "a" 2L)) (alone.Through one)

                                          let! _ =
                                              everywhere [ second ] (fun other again ->
                                                  task {
                                                      let one = one.Again()
                                                      let! place = begun ()
                                                      let first = run (replace (live "a" 2L)) (place.Through one)
                                                      let! _ = Task.WhenAny(one.Asleep, first)
                                                      let second = run (replace (live "a" 2L)) (place.Through other)
                                                      let! _ = Task.WhenAny(other.Asleep, second)
                                                      let! found = load place.Store "a"

                                                      match found with
                                                      | Some found when found.Kind <> RecordKind.Ended ->
                                                          let last = ended "a" (found.Version + 1L)
                                                          let! told = replace last place.Store
                                                          Expect.isTrue told "signed out"
                                                      | _ -> ()

                                                      do! place.Store.Remove("a", none)

                                                      if isFirst then
                                                          one.Wake()
                                                          let! _ = first
                                                          other.Wake()
                                                      else
                                                          other.Wake()
                                                          let! _ = second
                                                          one.Wake()

                                                      let! _ = first
                                                      let! _ = second
                                                      tried <- tried + 1
                                                      let! found = load place.Store "a"
                                                      Expect.isNone found $"{why}, {again}: back as {show found}"
                                                  })

                                          ()
                                      })

                              ()

                          Expect.isGreaterThan tried 20 "it was tried"
                      }) ]
