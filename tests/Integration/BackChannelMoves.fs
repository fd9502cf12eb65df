/// An identity provider ends sessions while they move from one store to another.
module Integration.BackChannelMoves

open System
open System.Threading
open System.Threading.Tasks
open Expecto
open Microsoft.AspNetCore.Builder
open Microsoft.Extensions.DependencyInjection
open Integration.BackChannelNodes
open Integration.Http
open Integration.World
open Session.AspNetCore
open Session.Engine

let private moves =
    let inFolder (body: (unit -> ISessionStore) -> (unit -> ISessionStore) -> Task<unit>) =
        task {
            let folder = temporaryFolder ()
            let prefix = Guid.NewGuid().ToString "N" + ":"
            let address = RedisServer.shared.Force().Address

            try
                do! body (fun () -> openSqlite folder) (fun () -> openRedisAt address prefix ignore)
            finally
                IO.Directory.Delete(folder, true)
        }

    let moving (former: unit -> ISessionStore) (next: unit -> ISessionStore) (sessions: SessionBuilder) =
        sessions.UseStore(fun _ -> next ()).MigrateFrom(fun source -> source.UseStore(fun _ -> former ()))
        |> ignore

    let writes (app: WebApplication) token =
        task {
            let! answer = send (client.Force()) (addressOf app) "POST" "/write" (cookie token)
            return answer.Status
        }

    [ for claim, value in [ "sid", "A"; "sub", "ada" ] do
          testCaseTask $"a move: sessions of the former store end by {claim}, moved or not, for all nodes" (fun () ->
              inFolder (fun former next ->
                  nodes [ onStore former; moving former next; moving former next ] (fun apps ->
                      task {
                          let! stays = came apps[0] "ada" "A"
                          let! moves = came apps[0] "ada" "A"
                          let! fresh = came apps[1] "ada" "A"
                          let! eve = came apps[0] "eve" "E"
                          let! status = writes apps[1] moves
                          Expect.equal status 200 "written: moved"
                          do! logsOut apps[2] claim value

                          for app in apps do
                              let! users = open' app [ stays; moves; fresh ]
                              Expect.equal users "- - -" "over"

                          let! user = opens apps[1] eve
                          Expect.equal user "eve" "and no other"
                      })))

      testCaseTask
          "a move: a node of the former store begins no session that is over at the provider, and no token twice"
          (fun () ->
              inFolder (fun former next ->
                  nodes [ onStore former; moving former next ] (fun apps ->
                      task {
                          for round in 1..2 do
                              let logout = logoutToken "sid" $"sid {round}"
                              let! answer = posts apps[1] logout
                              Expect.equal answer (200, "") "the logout"

                              for app in apps do
                                  let! token = comes app "ada" $"sid {round}"
                                  Expect.isNone token "refused"
                                  let! status, _ = posts app logout
                                  Expect.equal status 400 "used before"

                          // Again, of names that there is a mark of already.
                          for app in [ apps[0]; apps[1]; apps[0]; apps[1] ] do
                              do! logsOut app "sid" "sid 1"
                              do! logsOut app "sub" "ada"
                      })))

      testCaseTask "a move: of 50 races between sign-ins on the former store and logouts nobody stays" (fun () ->
          inFolder (fun former next ->
              nodes [ onStore former; moving former next ] (fun apps ->
                  task {
                      for i in 1..50 do
                          let ending = posts apps[1] (logoutToken "sid" $"race {i}")
                          do! after (i * 80)
                          let! token = comes apps[0] "ada" $"race {i}"
                          let! ended = ending
                          Expect.equal ended (200, "") "the logout"

                          match token with
                          | None -> ()
                          | Some token ->
                              for app in apps do
                                  let! user = opens app token
                                  Expect.equal user "-" $"race {i}: a survivor"
                  })))

      testCaseTask "a move: a session that is just being moved ends, wherever its mover is held up" (fun () ->
          task {
              let mutable write = 0
              let mutable wasHeld = true

              while wasHeld do
                  let former, next = MemoryStore() :> ISessionStore, MemoryStore() :> ISessionStore
                  let reached, goOn = TaskCompletionSource(), TaskCompletionSource()
                  let mutable left = Int32.MaxValue

                  let hold () =
                      task {
                          if Interlocked.Decrement &left = -1 then
                              reached.SetResult()
                              do! goOn.Task
                      }

                  let slow (store: ISessionStore) =
                      { new ForwardingStore(store) with
                          override s.Insert(record, cancel) =
                              ValueTask<_>(
                                  task =
                                      task {
                                          do! hold ()
                                          return! s.Inner.Insert(record, cancel)
                                      }
                              )

                          override s.Replace(record, expected, cancel) =
                              ValueTask<_>(
                                  task =
                                      task {
                                          do! hold ()
                                          return! s.Inner.Replace(record, expected, cancel)
                                      }
                              )

                          override s.Remove(id, cancel) =
                              ValueTask(
                                  task =
                                      task {
                                          do! hold ()
                                          do! s.Inner.Remove(id, cancel)
                                      }
                              ) }
                      :> ISessionStore

                  // Stores that can be told apart: a move from a store to itself is refused.
                  let pair slowly sessions =
                      let through store = if slowly then slow store else store
                      onStore (fun () -> MigratingStore(through next, through former)) sessions

                  do!
                      nodes [ onStore (fun () -> former); pair true; pair false ] (fun apps ->
                          task {
                              let! token = came apps[0] "ada" "A"
                              let! user = opens apps[0] token
                              Expect.equal user "ada" "confirmed"
                              left <- write
                              let writing = writes apps[1] token
                              let! _ = Task.WhenAny(writing, reached.Task)
                              wasHeld <- reached.Task.IsCompleted
                              do! logsOut apps[2] "sid" "A"
                              goOn.SetResult()
                              let! _ = writing

                              for app in apps do
                                  let! user = opens app token
                                  Expect.equal user "-" $"held up at write {write}: a survivor"
                          })

                  write <- write + 1

              Expect.isGreaterThan write 3 "it was held up"
          }) ]

let all = testSequenced (testList "back-channel logout, a move" moves)
