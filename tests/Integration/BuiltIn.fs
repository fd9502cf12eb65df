/// What Microsoft.AspNetCore.Session does in the first two stories: the measure of what there is to gain.
module Integration.BuiltIn

open Expecto
open Integration.App
open Integration.Http

let private within
    (body:
        BuiltInApp
            -> (string -> string -> string option -> System.Threading.Tasks.Task<Answer>)
            -> System.Threading.Tasks.Task<unit>)
    =
    task {
        let! app = BuiltInApp.StartAsync()
        use client = newClient ()

        let ask verb path (token: string option) =
            send client app.Address verb path [ for token in Option.toList token -> "Cookie", "sid=" + token ]

        try
            do! body app ask
        finally
            app.DisposeAsync().AsTask().GetAwaiter().GetResult()
    }

let all =
    testList
        "Microsoft.AspNetCore.Session"
        [ testCaseAsync
              "a slow request undoes a logout"
              (async {
                  do!
                      within (fun app ask ->
                          task {
                              let! login = ask "POST" "/login?user=ann" None
                              let token = Some(token login)
                              let slow = ask "POST" "/slow/late" token
                              do! app.Gate.EnteredAsync 1
                              let! _ = ask "POST" "/logout" token
                              let! out = ask "GET" "/profile" token
                              app.Gate.Open()
                              let! slow = slow
                              let! after = ask "GET" "/profile" token

                              printfn
                                  "Microsoft.AspNetCore.Session: after the logout /profile is %d; after the slow request (%d) it is %d again: %d of 1 logouts undone"
                                  out.Status
                                  slow.Status
                                  after.Status
                                  (if after.Status = 200 then 1 else 0)

                              Expect.equal
                                  (out.Status, slow.Status, after.Status)
                                  (401, 200, 200)
                                  "logged out, and in again"
                          })
                      |> Async.AwaitTask
              })

          testCaseAsync
              "parallel updates are lost"
              (async {
                  do!
                      within (fun app ask ->
                          task {
                              let! login = ask "POST" "/login?user=ann" None
                              let token = Some(token login)
                              let slow = all [ for i in 1..100 -> ask "POST" $"/slow/s{i}" token ]
                              do! app.Gate.EnteredAsync 100
                              app.Gate.Open()
                              let! answers = slow
                              let ok = answers |> Array.filter (fun a -> a.Status = 200) |> Array.length
                              let! count = ask "GET" "/count" token

                              printfn
                                  "Microsoft.AspNetCore.Session: %d of 100 parallel updates answered 200, %s of them counted, %d lost"
                                  ok
                                  count.Body
                                  (ok - int count.Body)

                              Expect.equal ok 100 "all are acknowledged"
                              Expect.isLessThan (int count.Body) 100 "and not all count"
                          })
                      |> Async.AwaitTask
              }) ]
