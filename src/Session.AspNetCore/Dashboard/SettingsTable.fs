/// The settings of the sessions as the dashboard shows them. Never a key.
namespace Session.AspNetCore

open System
open System.Globalization
open Session.Domain
open Session.Engine

[<RequireQualifiedAccess>]
module internal SettingsTable =
    let private whole (number: int) = number.ToString("#,0", CultureInfo.InvariantCulture)
    let private yes value = if value then "yes" else "no"
    let private span (time: TimeSpan) = time.ToString("c", CultureInfo.InvariantCulture)

    let private orNone (show: 'a -> string) (value: 'a option) =
        match value with
        | Some value -> show value
        | None -> "none"

    let rows (settings: SessionSettings) : (string * string) list =
        [ "Cookie", SessionSettings.cookieName settings
          "SameSite", settings.SameSite.ToString()
          "Secure", settings.SecurePolicy.ToString()
          "Partitioned", yes settings.Partitioned
          "HeaderName", orNone id settings.HeaderName
          "TrustedOrigins",
          (if settings.TrustedOrigins.IsEmpty then "none" else String.concat ", " settings.TrustedOrigins)
          "AllowCrossSiteWrites", yes settings.AllowCrossSiteWrites
          "IdleTimeout", span settings.IdleTimeout
          "AbsoluteTimeout", span settings.AbsoluteTimeout
          "ConfirmTimeout", span (SessionSettings.confirmTimeout settings)
          "RotateEvery", orNone span settings.RotateEvery
          "RotationGrace", span settings.RotationGrace
          "TombstoneRetention", span settings.TombstoneRetention
          "OnReplay", string settings.OnReplay
          "MaxSessionsPerSubject", orNone whole settings.MaxSessionsPerSubject
          "WhenLimitReached", string settings.WhenLimitReached
          "MaxDataBytes", whole settings.MaxDataBytes
          "DataVersion", whole settings.DataVersion
          "ServerKey", (if settings.ServerKey.IsSome then "set" else "none")
          "FormerServerKeys", whole settings.FormerServerKeys.Length
          "SweepInterval", span settings.SweepInterval
          "RequestTimeout", span settings.RequestTimeout
          "ContinueWithoutStore", yes settings.ContinueWithoutStore
          "Ends by time are told of", yes settings.HearsExpiry ]
