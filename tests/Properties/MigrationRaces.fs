/// Nodes that move the same session at the same time.
module Properties.MigrationRaces

open System
open System.Threading
open System.Threading.Tasks
open Expecto
open Properties.MigrationWorld
open Properties.MigrationDeaths
open Session.Domain
open Session.Engine

let races =
    [ testCaseTask "an application that does not know of the move: its logout sticks, wherever the mover is" (fun () ->
          task {
              let mutable acknowledged = 0
              let mutable refused = 0

              let! _ =
                  everywhere [ Sleeps ] (fun node why ->
                      task {
                          let place = Place()
                          let! _ = place.Old.Insert(live "a" 1L, none)
                          let running = run (replace (live "a" 2L)) (place.Through node)
                          let! _ = Task.WhenAny(node.Asleep, running)
                          // It reads the body of version 1 only under version 1.
                          let! told = replace (ended "a" 2L) place.Old
                          node.Wake()
                          let! moved = running
                          let! found = load place.Store "a"

                          if told then
                              acknowledged <- acknowledged + 1
                              Expect.notEqual moved (Some true) $"{why}: one of the two"
                              Expect.equal (show found) "v2 Ended" why
                          else
                              refused <- refused + 1
                              Expect.equal moved (Some true) $"{why}: one of the two"
                              Expect.equal (show found) "v2 Live" why
                      })

              Expect.isGreaterThan acknowledged 0 "before the fence it is acknowledged"
              Expect.isGreaterThan refused 0 "behind it no more"
          })

      testCaseTask "a reader that sleeps anywhere finds a session that is moved meanwhile" (fun () ->
          task {
              let! _ =
                  everywhere [ Sleeps ] (fun node why ->
                      task {
                          let place = Place()
                          let! _ = place.Old.Insert(live "a" 1L, none)
                          let store = place.Through node
                          let reading = load store "a"
                          let! _ = Task.WhenAny(node.Asleep, reading)
                          let! _ = replace (live "a" 2L) place.Store
                          node.Wake()
                          let! found = reading
                          Expect.isSome found why
                      })

              ()
          })

      testCaseTask
          "who reads many and sleeps anywhere finds those that are moved meanwhile, each as it is, and once"
          (fun () ->
              task {
                  let! _ =
                      everywhere [ Sleeps ] (fun node why ->
                          task {
                              let place = Place()

                              for id in [ "a"; "b"; "c" ] do
                                  let! _ = place.Old.Insert(live id 1L, none)
                                  ()

                              let! _ = replace (live "c" 2L) place.Store
                              let! _ = place.New.Insert(placeholder, none)
                              let ids = [| "a"; "b"; "c"; "nobody's" |]
                              let reading = (SessionStore.loadMany (place.Through node) ids none).AsTask()
                              let! _ = Task.WhenAny(node.Asleep, reading)
                              let! _ = replace (live "b" 2L) place.Store
                              node.Wake()
                              let! found = reading

                              let ofId id =
                                  [ for record in found do
                                        if record.Id = id then
                                            record.Version ]

                              Expect.equal found.Count 3 $"{why}: each once, and nobody else"

                              Expect.equal
                                  (ofId "a", ofId "c")
                                  ([ 1L ], [ 2L ])
                                  $"{why}: beside a placeholder, and moved before"

                              Expect.isTrue (ofId "b" = [ 1L ] || ofId "b" = [ 2L ]) $"{why}: moved meanwhile"
                          })

                  ()
              })

      testCaseTask "a touch that sleeps anywhere reaches a session that is moved meanwhile" (fun () ->
          task {
              for how, begun in beginnings do
                  let! tried =
                      everywhere [ Sleeps ] (fun node why ->
                          task {
                              let! place = begun ()
                              let touching = (place.Through node).Touch("a", at 7, none).AsTask()
                              let! _ = Task.WhenAny(node.Asleep, touching)
                              let! moved = replace (live "a" 2L) place.Store
                              Expect.isTrue moved $"{how}, {why}: moved"
                              node.Wake()
                              do! touching
                              let! found = load place.Store "a"
                              Expect.equal (found |> Option.map _.LastSeen) (Some(at 7)) $"{how}, {why}: it was seen"
                          })

                  Expect.isGreaterThan tried 2 "it was tried at both stores"
          })

      for limit in [ 1; 2; 10 ] do
          testCaseTask $"a listing, {limit} a page, misses none that is moved meanwhile, wherever who sleeps" (fun () ->
              task {
                  let place () =
                      task {
                          let place = Place()

                          for id in [ "a"; "c" ] do
                              let! _ = place.Old.Insert(live id 1L, none)
                              ()

                          let! _ = place.New.Insert(live "b" 1L, none)
                          return place
                      }

                  for list in [ bySubject limit; enumerate limit ] do
                      let! _ =
                          everywhere [ Sleeps ] (fun node why ->
                              task {
                                  let! place = place ()
                                  let listing = list (place.Through node)
                                  let! _ = Task.WhenAny(node.Asleep, listing)
                                  let! _ = replace (live "a" 2L) place.Store
                                  let! _ = replace (live "c" 2L) place.Store
                                  node.Wake()
                                  let! ids = listing
                                  Expect.equal ids [ "a"; "b"; "c" ] $"the listing: {why}"
                              })

                      let! _ =
                          everywhere [ Sleeps ] (fun node why ->
                              task {
                                  let! place = place ()
                                  let moving = replace (live "a" 2L) (place.Through node)
                                  let! _ = Task.WhenAny(node.Asleep, moving)
                                  let! ids = list place.Store
                                  Expect.equal ids [ "a"; "b"; "c" ] $"the mover: {why}"
                                  node.Wake()
                                  let! told = moving
                                  Expect.isTrue told "moved"
                              })

                      ()
              })

      testCaseTask "each overdue record is claimed once, wherever a mover died, and nothing is left behind" (fun () ->
          task {
              let! _ =
                  everywhere deaths (fun node why ->
                      task {
                          let place = Place()

                          for id in [ "a"; "c" ] do
                              let! _ = place.Old.Insert(live id 1L, none)
                              ()

                          let! _ = place.New.Insert(live "b" 1L, none)
                          let! _ = run (replace (live "a" 2L)) (place.Through node)
                          let! claimed = place.Store.ClaimOverdue(at 60, TimeSpan.FromMinutes 2L, 10, none)
                          let ids = claimed |> Seq.map _.Id |> Seq.sort |> List.ofSeq
                          Expect.equal ids [ "a"; "b"; "c" ] why
                          let! again = place.Store.ClaimOverdue(at 61, TimeSpan.FromMinutes 2L, 10, none)
                          Expect.isEmpty again $"{why}: until the lease is over"

                          for record in claimed do
                              do! place.Store.Remove(record.Id, none)

                          // Placeholders go with the next sweeps.
                          let! _ = place.Store.ClaimOverdue(at 90, TimeSpan.FromMinutes 2L, 10, none)
                          let! left = place.New.Enumerate(null, 10, none)
                          let! old = place.Old.Enumerate(null, 10, none)
                          Expect.equal (left.Records.Count + old.Records.Count) 0 $"{why}: empty"
                      })

              ()
          })

      testCaseTask "a placeholder of a sleeper is cleared away, and the id is free again" (fun () ->
          task {
              let! _ =
                  everywhere [ Sleeps ] (fun node why ->
                      task {
                          let place = Place()
                          let! _ = place.Old.Insert(live "a" 1L, none)
                          let running = run (replace (live "a" 2L)) (place.Through node)
                          let! _ = Task.WhenAny(node.Asleep, running)
                          do! place.Store.Remove("a", none)
                          node.Wake()
                          let! _ = running
                          let! _ = place.Store.ClaimOverdue(at 60, TimeSpan.FromMinutes 2L, 10, none)
                          let! answer = place.Store.Insert(live "a" 1L, none)
                          Expect.equal answer WriteResult.Written why
                      })

              ()
          })

      testCaseTask "a reschedule reaches a record wherever its mover died" (fun () ->
          task {
              let! _ =
                  everywhere deaths (fun node why ->
                      task {
                          let place = Place()
                          let! _ = place.Old.Insert(live "a" 1L, none)
                          let! _ = run (replace (live "a" 2L)) (place.Through node)
                          let! claimed = place.Store.ClaimOverdue(at 60, TimeSpan.FromMinutes 2L, 10, none)
                          let record = Seq.exactlyOne claimed
                          do! place.Store.Reschedule("a", record.Version, at 70, none)
                          let! early = place.Store.ClaimOverdue(at 69, TimeSpan.FromMinutes 2L, 10, none)
                          Expect.isEmpty early why
                          let! due = place.Store.ClaimOverdue(at 70, TimeSpan.FromMinutes 2L, 10, none)
                          Expect.equal (due |> Seq.map _.Id |> List.ofSeq) [ "a" ] why
                      })

              ()
          }) ]

/// Parallel movers that give way at random.
let together seed =
    testCaseTask
        "parallel writers on four nodes: every acknowledged write counts, and nothing comes after the end"
        (fun () ->
            task {
                for round in 1..150 do
                    let place = Place()
                    let! _ = place.Old.Insert(live "a" 1L, none)

                    let yielding (n: int) (inner: ISessionStore) =
                        let random = Random(seed * 31 + round * 7 + n)

                        let away () =
                            task {
                                for _ in 1 .. random.Next 4 do
                                    do! Task.Yield()
                            }

                        let later (send: unit -> ValueTask<'a>) =
                            ValueTask<'a>(
                                task =
                                    task {
                                        do! away ()
                                        return! send ()
                                    }
                            )

                        { new ISessionStore with
                            member _.Prepare cancel = inner.Prepare cancel
                            member _.Insert(record, cancel) = later (fun () -> inner.Insert(record, cancel))
                            member _.Load(id, cancel) = later (fun () -> inner.Load(id, cancel))

                            member _.Replace(record, expected, cancel) =
                                later (fun () -> inner.Replace(record, expected, cancel))

                            member _.Touch(id, at, cancel) = inner.Touch(id, at, cancel)

                            member _.Remove(id, cancel) =
                                ValueTask(
                                    task =
                                        task {
                                            do! away ()
                                            do! inner.Remove(id, cancel)
                                        }
                                )

                            member _.BySubject(subject, after, limit, cancel) =
                                inner.BySubject(subject, after, limit, cancel)

                            member _.Enumerate(after, limit, cancel) = inner.Enumerate(after, limit, cancel)
                            member _.Count cancel = inner.Count cancel

                            member _.ClaimOverdue(now, lease, limit, cancel) =
                                inner.ClaimOverdue(now, lease, limit, cancel)

                            member _.Reschedule(id, version, dueAt, cancel) =
                                inner.Reschedule(id, version, dueAt, cancel) }

                    let mutable written = 0

                    let client n =
                        task {
                            let store =
                                MigratingStore(yielding n place.New, yielding (n + 4) place.Old) :> ISessionStore

                            let mutable left = 6

                            while left > 0 do
                                match! load store "a" with
                                | None -> failtestf "round %d: the session is lost" round
                                | Some found when found.Kind = RecordKind.Ended -> left <- 0
                                | Some found ->
                                    let next = found.Version + 1L
                                    // One of them ends it, sooner or later.
                                    let record = if n = 0 && left = 2 then ended "a" next else live "a" next
                                    let! told = replace record store

                                    if told then
                                        Interlocked.Increment &written |> ignore
                                        left <- left - 1
                        }

                    do! Task.WhenAll [| for n in 0..3 -> Task.Run(fun () -> client n :> Task) |]
                    let! found = load place.Store "a"
                    Expect.equal (show found) $"v{1 + written} Ended" $"round {round} of seed {seed}"
                    let! old = place.Old.Load("a", none)
                    Expect.isNull old "and nothing is left in the source"
            })
