/// The health check on a real server that is stopped, started again, and set up badly.
module Integration.Health

open System
open System.Diagnostics
open System.Threading.Tasks
open Expecto
open Microsoft.AspNetCore.Builder
open Microsoft.AspNetCore.Hosting
open Microsoft.Extensions.DependencyInjection
open Microsoft.Extensions.Diagnostics.HealthChecks
open Microsoft.Extensions.Logging
open StackExchange.Redis
open Integration.RedisServer
open Session.AspNetCore

type Basket = { Items: string list }

let private durable =
    [ "appendonly", "yes"
      "appendfsync", "always"
      "maxmemory-policy", "noeviction" ]

let private within settings (body: RedisServer -> (unit -> Task<HealthReportEntry>) -> Task<unit>) =
    task {
        use server = startOne settings
        let builder = WebApplication.CreateSlimBuilder()
        builder.Logging.ClearProviders() |> ignore
        builder.WebHost.UseUrls "http://127.0.0.1:0" |> ignore

        builder.Services
            .AddSession<Basket>(fun settings -> { settings with RequestTimeout = TimeSpan.FromSeconds 2L })
            .UseRedis(server.Address + ",abortConnect=false")
        |> ignore

        builder.Services.AddHealthChecks().AddSessions<Basket>() |> ignore
        use app = builder.Build()
        do! app.StartAsync()

        let check () =
            task {
                let! report = app.Services.GetRequiredService<HealthCheckService>().CheckHealthAsync()
                return report.Entries["sessions:Basket"]
            }

        try
            do! body server check
        finally
            app.StopAsync().GetAwaiter().GetResult()
    }

let rec private until (status: HealthStatus) (clock: Stopwatch) (check: unit -> Task<HealthReportEntry>) : Task<unit> =
    task {
        let! entry = check ()

        if entry.Status <> status then
            if clock.Elapsed > TimeSpan.FromSeconds 30L then
                failtestf "after 30 s it is %A: %s" entry.Status entry.Description

            do! Task.Delay 100
            return! until status clock check
    }

let all =
    testList
        "health"
        [ testCaseTask
              "Redis stopped is unhealthy within the time of a request, and healthy again when it is back"
              (fun () ->
                  within durable (fun server check ->
                      task {
                          do! until HealthStatus.Healthy (Stopwatch.StartNew()) check
                          server.Kill()
                          let clock = Stopwatch.StartNew()
                          let! entry = check ()
                          Expect.isLessThan clock.Elapsed (TimeSpan.FromSeconds 4L) "how long it took"
                          Expect.equal entry.Status HealthStatus.Unhealthy "stopped"
                          Expect.isNotNull entry.Exception "the cause"
                          server.Start()
                          do! until HealthStatus.Healthy (Stopwatch.StartNew()) check
                      }))

          testCaseTask "Redis that hangs is unhealthy within the time of a request" (fun () ->
              within durable (fun server check ->
                  task {
                      do! until HealthStatus.Healthy (Stopwatch.StartNew()) check
                      server.Freeze()

                      try
                          let clock = Stopwatch.StartNew()
                          let! entry = check ()
                          Expect.isLessThan clock.Elapsed (TimeSpan.FromSeconds 4L) "how long it took"
                          Expect.equal entry.Status HealthStatus.Unhealthy "frozen"
                      finally
                          server.Thaw()

                      do! until HealthStatus.Healthy (Stopwatch.StartNew()) check
                  }))

          testCaseTask "what Redis is set up with is told, each sentence of the start" (fun () ->
              within [] (fun server check ->
                  task {
                      let! entry = check ()
                      Expect.equal entry.Status HealthStatus.Degraded "nothing is kept on disk"
                      let notes = entry.Data["notes"] :?> string array
                      Expect.isNonEmpty notes "the notes"
                      Expect.exists notes _.Contains("appendonly") "persistence"

                      // Set right while the application runs.
                      use! admin = ConnectionMultiplexer.ConnectAsync(server.Address + ",allowAdmin=true")
                      do! admin.GetServer(server.Address).ConfigSetAsync("appendonly", "yes")
                      do! admin.GetServer(server.Address).ConfigSetAsync("appendfsync", "always")
                      do! until HealthStatus.Healthy (Stopwatch.StartNew()) check
                      let! left = admin.GetDatabase().ExecuteAsync("DBSIZE")
                      Expect.isLessThan (int left) 3 "nothing of the probes stays but what the store keeps for itself"
                  })) ]
