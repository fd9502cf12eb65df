/// "Log out everywhere" with Identity on three nodes: tickets on Redis, and beside it the framework's tickets in cookies.
module Integration.Tickets

open System
open System.Net
open System.Net.Http
open System.Threading
open System.Threading.Tasks
open Expecto
open Microsoft.AspNetCore.DataProtection
open Microsoft.Extensions.DependencyInjection
open Integration.App
open Integration.RedisServer
open Session.Engine

let private users, devicesOfEach = 10, 10

/// Of one request with each cookie to each node: 12,000 requests, and 100,200 in the long form.
let private rounds =
    match Environment.GetEnvironmentVariable "SESSION_LONG" with
    | null
    | "" -> 40
    | _ -> 334

let private requests = 3 * users * devicesOfEach * rounds

let private send (client: HttpClient) (verb: HttpMethod) (node: TicketNode) (path: string) (cookie: string) =
    task {
        use request = new HttpRequestMessage(verb, Uri(node.Address, path))

        if cookie <> "" then
            request.Headers.TryAddWithoutValidation("Cookie", cookie) |> ignore

        use! response = client.SendAsync request

        let set =
            match response.Headers.TryGetValues "Set-Cookie" with
            | true, lines -> [ for line in nonNull lines -> line.Split(';')[0] ]
            | false, _ -> []

        return response.StatusCode, set
    }

/// How many requests there were after every user had logged out everywhere, and how many of them were let in.
let private afterLogout (tickets: Action<SessionBuilder> | null) : Task<struct (int * int)> =
    task {
        let keys, accounts = EphemeralDataProtectionProvider(), new TicketUsers()

        for user in 1..users do
            accounts.Add $"user{user}"

        let! nodes = Task.WhenAll [ for _ in 1..3 -> TicketNode.StartAsync(keys, accounts, tickets) ]
        use client = new HttpClient(new SocketsHttpHandler(UseCookies = false, AllowAutoRedirect = false))

        try
            let! devices =
                Task.WhenAll
                    [ for i in 0 .. users * devicesOfEach - 1 do
                          task {
                              let user = i % users + 1
                              let! status, set = send client HttpMethod.Post nodes[i % 3] $"/login?user=user{user}" ""
                              Expect.equal status HttpStatusCode.OK "a login"
                              return user, List.exactlyOne set
                          } ]

            for node in nodes do
                for _, cookie in devices do
                    let! status, _ = send client HttpMethod.Get node "/me" cookie
                    Expect.equal status HttpStatusCode.OK "signed in on every node"

            for user in 1..users do
                let _, cookie = devices |> Array.find (fun (whose, _) -> whose = user)
                let! status, _ = send client HttpMethod.Post nodes[user % 3] "/logout-everywhere" cookie
                Expect.equal status HttpStatusCode.OK "acknowledged"

            // One place for each: closures count in them.
            let counts = [| 0; 0 |]

            let all =
                [ for _ in 1..rounds do
                      for node in nodes do
                          for _, cookie in devices -> node, cookie ]

            let ask (node: TicketNode, cookie) (_: CancellationToken) =
                ValueTask(
                    task =
                        task {
                            let! status, _ = send client HttpMethod.Get node "/me" cookie
                            Interlocked.Increment &counts[0] |> ignore

                            match status with
                            | HttpStatusCode.OK -> Interlocked.Increment &counts[1] |> ignore
                            | status -> Expect.equal status HttpStatusCode.Unauthorized "nobody, and no failure"
                        }
                )

            do! Parallel.ForEachAsync(all, ParallelOptions(MaxDegreeOfParallelism = 16), ask)
            return struct (counts[0], counts[1])
        finally
            for node in nodes do
                node.DisposeAsync().AsTask().GetAwaiter().GetResult()
    }

let all =
    testList
        "tickets"
        [ testCaseTask
              "Redis: after an acknowledged 'log out everywhere' none of the requests to three nodes is let in"
              (fun () ->
                  task {
                      use server = new RedisServer([])
                      server.Start()

                      let onRedis (builder: SessionBuilder) =
                          SessionBuilderRedisExtensions.UseRedis(builder, server.Address) |> ignore

                      let! struct (asked, letIn) = afterLogout (Action<_> onRedis)
                      let! struct (askedBeside, letInBeside) = afterLogout null

                      printfn
                          "tickets: of %d requests after 'log out everywhere' %d were let in; by Identity's own cookies and its check of the security stamp %d of %d"
                          asked
                          letIn
                          letInBeside
                          askedBeside

                      Expect.equal asked requests "that many"
                      Expect.equal letIn 0 "none"

                      Expect.equal
                          letInBeside
                          askedBeside
                          "each of them, until the next check: the figure means something"
                  }) ]
