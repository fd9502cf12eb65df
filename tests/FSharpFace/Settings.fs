/// Settings from configuration and from services.
module FSharpFace.Settings

open System
open System.Collections.Generic
open Expecto
open Microsoft.Extensions.Configuration
open Microsoft.Extensions.DependencyInjection
open Microsoft.FSharp.Reflection
open FSharpFace.Programs
open Session.AspNetCore

let private configured (pairs: (string * string) list) =
    ConfigurationBuilder()
        .AddInMemoryCollection(
            [ for key, value in pairs -> KeyValuePair<string, string | null>("Session:" + key, value) ]
        )
        .Build()
        .GetSection
        "Session"

/// A value that is not the default, as text.
let private texts =
    [ "CookieName", "it"
      "CookieDomain", "example.com"
      "CookiePath", "/app"
      "SameSite", "strict"
      "SecurePolicy", "SameAsRequest"
      "Partitioned", "true"
      "CookieMaxAge", "08:00:00"
      "HeaderName", "X-Token"
      "AllowCrossSiteWrites", "True"
      "IdleTimeout", "00:20:00"
      "AbsoluteTimeout", "1.00:00:00"
      "ConfirmTimeout", "00:01:00"
      "RotateEvery", ""
      "RotationGrace", "00:00:10"
      "TombstoneRetention", "00:30:00"
      "OnReplay", "RefuseToken"
      "MaxDataBytes", "1000"
      "MaxSessionsPerSubject", "3"
      "WhenLimitReached", "RefuseNew"
      "ServerKey", Convert.ToBase64String(Array.create 32 1uy)
      "SweepInterval", "00:02:00"
      "LiveCheck", "00:00:20"
      "ConnectionsExtendIdle", "true"
      "RequestTimeout", "00:00:03"
      "EventTimeout", "00:00:04"
      "ContinueWithoutStore", "true" ]

/// Functions and versions of the code, and what is refused with any other value than the default's.
let private code =
    [ "DataVersion"
      "Upcasters"
      "GenerateId"
      "HearsExpiry"
      "OnNotice"
      "HttpOnly" ]

let private fields = FSharpType.GetRecordFields typeof<SessionSettings>

let private valueOf (name: string) (settings: SessionSettings) =
    (fields |> Array.find (fun field -> field.Name = name)).GetValue settings

let all =
    testList
        "settings"
        [ testCase "each setting can be said in configuration, or is code" (fun () ->
              let known = List.map fst texts @ code @ [ "FormerServerKeys"; "TrustedOrigins" ]
              Expect.equal (List.sort known) (fields |> Array.map _.Name |> List.ofArray |> List.sort) "all of them")

          testCase "each has the value that configuration says, and no other setting changes" (fun () ->
              for name, text in texts do
                  let settings = SessionConfiguration.apply (configured [ name, text ]) SessionSettings.defaults

                  for field in fields do
                      if field.PropertyType.Name <> "FSharpFunc`2" && field.Name <> "Upcasters" then
                          let isChanged =
                              not (
                                  Object.Equals(
                                      valueOf field.Name settings,
                                      valueOf field.Name SessionSettings.defaults
                                  )
                              )

                          Expect.equal isChanged (field.Name = name) $"{name}: {field.Name}")

          testCase "each word has the value that it names, whatever counted before" (fun () ->
              let flags =
                  [ for field in fields do
                        if field.PropertyType = typeof<bool> && not (List.contains field.Name code) then
                            field.Name, [ "True"; "False" ] ]

              let words =
                  [ "SameSite", [ "Lax"; "Strict"; "None" ]
                    "SecurePolicy", [ "Always"; "SameAsRequest"; "None" ]
                    "OnReplay", [ "DestroySession"; "RefuseToken" ]
                    "WhenLimitReached", [ "EndOldest"; "RefuseNew" ] ]

              for name, values in words @ flags do
                  for before in values do
                      for value in values do
                          let settings =
                              SessionSettings.defaults
                              |> SessionConfiguration.apply (configured [ name, before ])
                              |> SessionConfiguration.apply (configured [ name, value ])

                          Expect.equal (string (valueOf name settings)) value $"{name}: {before}, and then {value}")

          testCase "keys and origins are lists, names have no case" (fun () ->
              let key n = Convert.ToBase64String(Array.create 32 (byte n))

              let settings =
                  SessionSettings.defaults
                  |> SessionConfiguration.apply (
                      configured
                          [ "FormerServerKeys:0", key 1
                            "FormerServerKeys:1", key 2
                            "TrustedOrigins:0", "https://app.example.com"
                            "idletimeout", "00:05:00" ]
                  )

              Expect.equal settings.FormerServerKeys [ Array.create 32 1uy; Array.create 32 2uy ] "both"
              Expect.equal settings.TrustedOrigins [ "https://app.example.com" ] "the origin"
              Expect.equal settings.IdleTimeout (TimeSpan.FromMinutes 5L) "as in all of .NET's configuration")

          testCase "a list that says nothing is an empty one, and what stands below it counts" (fun () ->
              let before =
                  { SessionSettings.defaults with
                      TrustedOrigins = [ "https://app.example.com" ]
                      FormerServerKeys = [ Array.create 32 1uy ] }

              // As appsettings.json says [], and an environment variable says nothing.
              let emptied =
                  SessionConfiguration.apply (configured [ "TrustedOrigins", ""; "FormerServerKeys", "" ]) before

              Expect.isEmpty emptied.TrustedOrigins "no origin"
              Expect.isEmpty emptied.FormerServerKeys "no key"
              let another = configured [ "TrustedOrigins", ""; "TrustedOrigins:0", "https://shop.example.com" ]
              let settings = SessionConfiguration.apply another before
              Expect.equal settings.TrustedOrigins [ "https://shop.example.com" ] "the origin")

          testCase "a name that is none, and a value that cannot be read, are named; a value never is" (fun () ->
              for key, text in
                  [ "IdleTimout", "00:20:00"
                    "IdleTimeout", "hunter2"
                    "IdleTimeout", "15"
                    "AbsoluteTimeout", "24:00:00"
                    "MaxDataBytes", "hunter2"
                    "Partitioned", "hunter2"
                    "SameSite", "hunter2"
                    "ServerKey", "hunter2!"
                    "TrustedOrigins", "hunter2"
                    "OnNotice", "hunter2" ] do
                  let error =
                      Expect.throwsC
                          (fun () ->
                              SessionConfiguration.apply (configured [ key, text ]) SessionSettings.defaults |> ignore)
                          id

                  Expect.stringContains error.Message ("Session:" + key) "which"
                  Expect.isFalse (error.Message.Contains "hunter2") "not what")

          testCase "a second call changes what the first has made, and both hear" (fun () ->
              let services = ServiceCollection()
              let heard = List<string>()

              let hears name =
                  fun (_: SessionEvent<Cart>) (_: IServiceProvider) ->
                      heard.Add name
                      System.Threading.Tasks.Task.CompletedTask

              services.AddSession<Cart>(
                  (fun settings ->
                      { settings with
                          IdleTimeout = TimeSpan.FromMinutes 7L
                          MaxDataBytes = 7 }),
                  onEvent = hears "module"
              )
              |> ignore

              // Without a word it changes nothing.
              services.AddSession<Cart>(id) |> ignore
              services.AddSessionWith<Cart>(fun _ settings -> { settings with MaxDataBytes = 9 }) |> ignore

              services
                  .AddSession<Cart>(
                      (fun settings -> { settings with SweepInterval = settings.IdleTimeout }),
                      onEvent = hears "test"
                  )
                  .UseMemory()
              |> ignore

              use provider = services.BuildServiceProvider()
              let settings = provider.GetRequiredService<SessionService<Cart>>().Settings

              Expect.equal
                  (settings.IdleTimeout, settings.MaxDataBytes, settings.SweepInterval)
                  (TimeSpan.FromMinutes 7L, 9, TimeSpan.FromMinutes 7L)
                  "one after another"

              let notice: Session.Engine.Notice =
                  { Kind = Session.Engine.NoticeKind.ReplayedNotice
                    Id = "a"
                    Subject = None
                    Data = [||]
                    At = DateTimeOffset.UnixEpoch }

              match settings.OnNotice notice with
              | Some tell -> (tell provider).GetAwaiter().GetResult()
              | None -> failtest "nobody hears"

              Expect.equal (List.ofSeq heard) [ "module"; "test" ] "both")

          testCase "settings are made from services, once" (fun () ->
              let services = ServiceCollection()

              services.AddSingleton<IConfiguration>(
                  ConfigurationBuilder()
                      .AddInMemoryCollection(
                          [ KeyValuePair<string, string | null>("Session:IdleTimeout", "00:07:00") ]
                      )
                      .Build()
              )
              |> ignore

              let mutable made = 0

              services.AddSessionWith<Cart>(fun provider settings ->
                  made <- made + 1

                  settings
                  |> SessionConfiguration.apply (provider.GetRequiredService<IConfiguration>().GetSection "Session"))
              |> ignore

              use provider = services.BuildServiceProvider()
              let service = provider.GetRequiredService<SessionService<Cart>>()
              Expect.equal (service.Settings.IdleTimeout, made) (TimeSpan.FromMinutes 7L, 1) "the configured time") ]
