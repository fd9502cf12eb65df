/// HttpContext.Session on Redis: the same application on the framework's session and on ours, and the move from one to the other.
module Integration.Compatibility

open System
open System.Net.Http
open System.Threading.Tasks
open Expecto
open Microsoft.AspNetCore.Builder
open Microsoft.AspNetCore.DataProtection
open Microsoft.AspNetCore.Hosting
open Microsoft.AspNetCore.Http
open Microsoft.Extensions.Caching.Distributed
open Microsoft.Extensions.DependencyInjection
open Microsoft.Extensions.Logging
open Integration.Http
open Integration.RedisServer

type private Whose =
    | Framework
    | Ours

/// A shop as it stands on the framework's session; two lines differ.
let private start whose (redis: string) (keys: IDataProtectionProvider) =
    task {
        let builder = WebApplication.CreateSlimBuilder()
        builder.Logging.ClearProviders() |> ignore
        builder.WebHost.UseUrls "http://127.0.0.1:0" |> ignore
        builder.Services.AddSingleton keys |> ignore

        builder.Services.AddStackExchangeRedisCache(fun o ->
            o.Configuration <- redis
            o.InstanceName <- "shop:")
        |> ignore

        match whose with
        | Framework -> builder.Services.AddSession(Action<SessionOptions> ignore) |> ignore
        | Ours -> builder.Services.AddSessionCompatibility().UseRedis(redis).AdoptFrom<IDistributedCache>() |> ignore

        let app = builder.Build()

        match whose with
        | Framework -> SessionMiddlewareExtensions.UseSession app
        | Ours -> app.UseSessionCompatibility()
        |> ignore

        app.MapGet("/plain", Func<string>(fun () -> "plain")) |> ignore

        app.MapGet("/cart", Func<HttpContext, string>(fun c -> String.Join(',', c.Session.Keys |> Seq.sort)))
        |> ignore

        app.MapPost(
            "/cart/{sku}",
            Func<string, HttpContext, string>(fun sku c ->
                c.Session.SetInt32(sku, 1)
                "added")
        )
        |> ignore

        do! app.StartAsync()
        return app
    }

/// A browser with one jar, for the cookies of both.
type private Jar() =
    let mutable cookies: Map<string, string> = Map.empty
    member _.Names = [ for name in cookies.Keys -> name ]

    member _.Ask (client: HttpClient) (app: WebApplication) verb path =
        task {
            let header = String.Join("; ", [ for KeyValue(name, value) in cookies -> $"{name}={value}" ])

            let! answer =
                send
                    client
                    (Uri(Seq.head app.Urls))
                    verb
                    path
                    [ if header <> "" then
                          "Cookie", header ]

            for line in answer.SetCookies do
                let set = parseSetCookie line

                cookies <- if set.Value = "" then cookies.Remove set.Name else cookies.Add(set.Name, set.Value)

            return answer
        }

let private within body =
    task {
        use server = startOne []
        let! admin = connect server.Address
        use admin = admin
        use client = newClient ()
        do! body server (admin.GetServer server.Address) client
    }

let all =
    testList
        "HttpContext.Session on Redis"
        [ testCaseTask "a read is one command, a write two round trips, and nothing is nothing" (fun () ->
              within (fun server stats client ->
                  task {
                      for whose in [ Framework; Ours ] do
                          let! app = start whose server.Address (EphemeralDataProtectionProvider())
                          let jar = Jar()

                          // Twice: a first presentation confirms, and the driver hands each script over once.
                          for sku in [ "a"; "b" ] do
                              let! _ = jar.Ask client app "POST" $"/cart/{sku}"
                              ()

                          let counted verb path =
                              task {
                                  do! stats.ConfigResetStatisticsAsync()
                                  let! answer = jar.Ask client app verb path
                                  Expect.equal answer.Status 200 "answered"
                                  let! sent = RedisWorld.commands stats
                                  // Those inside the script of a write.
                                  return sent |> Map.remove "getrange" |> Map.remove "set"
                              }

                          let! read = counted "GET" "/cart"
                          let! write = counted "POST" "/cart/c"
                          let! untouched = counted "GET" "/plain"
                          let count commands = Map.fold (fun sum _ calls -> sum + calls) 0 commands

                          printfn
                              "%A: Redis commands of a read %d, of a write %d, untouched %d"
                              whose
                              (count read)
                              (count write)
                              (count untouched)

                          if whose = Ours then
                              Expect.equal read (Map.ofList [ "get", 1 ]) "a read"
                              Expect.equal write (Map.ofList [ "get", 1; "evalsha", 1 ]) "a write"
                              Expect.equal untouched Map.empty "nothing"

                          do! app.DisposeAsync()
                  }))

          testCaseTask
              "sessions of the framework's middleware go on after two lines were changed, on two nodes at once"
              (fun () ->
                  within (fun server _ client ->
                      task {
                          let keys = EphemeralDataProtectionProvider()
                          let! before = start Framework server.Address keys
                          let visitors = [ for _ in 1..20 -> Jar() ]

                          for jar in visitors do
                              for sku in [ "a"; "b" ] do
                                  let! _ = jar.Ask client before "POST" $"/cart/{sku}"
                                  ()

                          do! before.DisposeAsync()
                          let! first = start Ours server.Address keys
                          let! second = start Ours server.Address keys

                          for jar in visitors do
                              // A page of many parts, on whichever node they end up.
                              let! parts =
                                  all
                                      [ for i in 1..10 ->
                                            jar.Ask client (if i % 2 = 0 then first else second) "POST" $"/cart/p{i}" ]

                              Expect.all parts (fun part -> part.Status = 200) "each part is answered"
                              let tokens = parts |> Seq.sumBy (fun part -> if part.SetCookies.IsEmpty then 0 else 1)
                              Expect.equal tokens 1 "one of them carries the new token"
                              Expect.equal jar.Names [ "__Host-session" ] "the new cookie in place of the old one"

                              for node in [ first; second ] do
                                  let! cart = jar.Ask client node "GET" "/cart"
                                  Expect.equal cart.Body "a,b,p1,p10,p2,p3,p4,p5,p6,p7,p8,p9" "nothing is lost"

                          let! admin = connect server.Address
                          use admin = admin
                          let left = admin.GetServer(server.Address).Keys(pattern = "shop:*") |> Seq.length
                          Expect.equal left 0 "the cache has none of them any more"
                          do! first.DisposeAsync()
                          do! second.DisposeAsync()
                      })) ]
