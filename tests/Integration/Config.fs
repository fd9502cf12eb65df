/// Contradictory settings stop the program at start, with a sentence that names the setting.
module Integration.Config

open System
open Expecto
open Microsoft.AspNetCore.Http
open Microsoft.Extensions.Options
open Integration.App
open Session.CSharp
open Session.Engine

let private cases: (string * (SessionOptions<Cart> -> unit)) list =
    [ "Domain",
      (fun o ->
          o.Cookie.Name <- "__Host-x"
          o.Cookie.SecurePolicy <- CookieSecurePolicy.Always
          o.Cookie.Domain <- "example.com")
      "Path",
      (fun o ->
          o.Cookie.Name <- "__Host-x"
          o.Cookie.SecurePolicy <- CookieSecurePolicy.Always
          o.Cookie.Path <- "/app")
      "Secure", (fun o -> o.Cookie.Name <- "__Host-x")
      "Secure", (fun o -> o.Cookie.Name <- "__Secure-x")
      "Cookie.Name", (fun o -> o.Cookie.Name <- "a b")
      "HttpOnly", (fun o -> o.Cookie.HttpOnly <- false)
      "SameSite", (fun o -> o.Cookie.SameSite <- SameSiteMode.None)
      "SameSite", (fun o -> o.Cookie.SameSite <- SameSiteMode.Unspecified)
      "Partitioned", (fun o -> o.Partitioned <- true)
      "Cookie.Domain", (fun o -> o.Cookie.Domain <- "localhost")
      "Cookie.Path", (fun o -> o.Cookie.Path <- "app")
      "Cookie.MaxAge", (fun o -> o.Cookie.MaxAge <- TimeSpan.FromDays 30)
      "RotateEvery", (fun o -> o.Cookie.MaxAge <- TimeSpan.FromMinutes 10L)
      "port", (fun o -> o.Cookie.Domain <- "example.com:8443")
      "Cookie.Expiration", (fun o -> o.Cookie.Expiration <- TimeSpan.FromDays 1)
      "HeaderName", (fun o -> o.HeaderName <- "Cookie")
      "TrustedOrigins", (fun o -> o.TrustedOrigins.Add "example.com")
      "TrustedOrigins", (fun o -> o.TrustedOrigins.Add "https://app.example.com/")
      "TrustedOrigins", (fun o -> o.TrustedOrigins.Add "https://*.example.com")
      "TrustedOrigins", (fun o -> o.TrustedOrigins.Add "null")
      "Punycode", (fun o -> o.TrustedOrigins.Add "https://b\u00fccher.example")
      "IdleTimeout", (fun o -> o.IdleTimeout <- TimeSpan.Zero)
      "IdleTimeout", (fun o -> o.IdleTimeout <- TimeSpan.FromHours 9)
      "AbsoluteTimeout", (fun o -> o.AbsoluteTimeout <- TimeSpan.MaxValue)
      "RotateEvery", (fun o -> o.RotateEvery <- TimeSpan.FromSeconds 5L)
      "RotationGrace", (fun o -> o.RotationGrace <- TimeSpan.FromMinutes 12L)
      "MaxDataBytes", (fun o -> o.MaxDataBytes <- 0)
      "MaxSessionsPerSubject", (fun o -> o.MaxSessionsPerSubject <- 0)
      "ServerKey", (fun o -> o.ServerKey <- Array.zeroCreate 8)
      "FormerServerKeys", (fun o -> o.FormerServerKeys.Add(Array.zeroCreate 32))
      "FormerServerKeys",
      (fun o ->
          o.ServerKey <- Array.zeroCreate 32
          o.FormerServerKeys.Add(Array.zeroCreate 8))
      "Cookie.Path", (fun o -> o.Cookie.Path <- "/a\r\nSet-Cookie: b")
      "Cookie.Domain",
      (fun o ->
          o.Cookie.Name <- "__Secure-x"
          o.Cookie.SecurePolicy <- CookieSecurePolicy.Always
          o.Cookie.Domain <- "example.com\n")
      "upcaster",
      (fun o ->
          o.DataVersion <- 3
          o.Upcasters[1] <- fun json -> json)
      "DataVersion", (fun o -> o.DataVersion <- 0)
      "TombstoneRetention", (fun o -> o.TombstoneRetention <- TimeSpan.FromSeconds -1L) ]

let private starts name configure =
    testCaseTask name (fun () ->
        task {
            let! app = SubjectApp.StartAsync(MemoryStore(), TimeProvider.System, Action<_> configure)
            do! app.DisposeAsync()
        })

let all =
    testList
        "contradictions"
        [ starts "short times start: defaults give way to what is said" (fun o ->
              o.IdleTimeout <- TimeSpan.FromMinutes 1L
              o.AbsoluteTimeout <- TimeSpan.FromMinutes 2L)

          testCaseTask "SealToBearer, where a replay shall not end the session" (fun () ->
              task {
                  let mutable sentence = ""

                  try
                      let! app =
                          SubjectApp.StartAsync(
                              MemoryStore(),
                              TimeProvider.System,
                              (fun o -> o.DestroyOnReplay <- false),
                              (fun sessions -> sessions.SealToBearer() |> ignore)
                          )

                      do! app.DisposeAsync()
                  with :? OptionsValidationException as refusal ->
                      sentence <- refusal.Message

                  Expect.stringContains sentence "SealToBearer" "the program stops, and says why"
              })

          for i, (setting, configure) in List.indexed cases do
              testCaseTask $"{i + 1}: {setting}" (fun () ->
                  task {
                      let mutable sentence = ""

                      try
                          let! app = SubjectApp.StartAsync(MemoryStore(), TimeProvider.System, Action<_> configure)
                          do! app.DisposeAsync()
                      with :? OptionsValidationException as refusal ->
                          sentence <- refusal.Message

                      Expect.stringContains sentence setting "the program stops, and says why"
                  }) ]
