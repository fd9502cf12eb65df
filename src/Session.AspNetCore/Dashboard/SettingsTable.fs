/// The settings of the sessions as the dashboard shows them. Never a key.
namespace Session.AspNetCore

open System
open System.Collections.Generic
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

    let private count (items: 'a seq) = whole (Seq.length items)

    /// A row for each, in their own order. They are made into settings once more for the compiler's sake: a record is not whole
    /// without all of its fields, so that no new one can be left out.
    let private ofSettings (settings: SessionSettings) (row: string -> string -> unit) =
        let said name show value =
            row name (show value)
            value

        ignore<SessionSettings>
            { CookieName = said "CookieName" (fun _ -> SessionSettings.cookieName settings) settings.CookieName
              CookieDomain = said "CookieDomain" (orNone id) settings.CookieDomain
              CookiePath = said "CookiePath" id settings.CookiePath
              SameSite = said "SameSite" _.ToString() settings.SameSite
              SecurePolicy = said "SecurePolicy" _.ToString() settings.SecurePolicy
              HttpOnly = said "HttpOnly" yes settings.HttpOnly
              Partitioned = said "Partitioned" yes settings.Partitioned
              CookieMaxAge = said "CookieMaxAge" (orNone span) settings.CookieMaxAge
              HeaderName = said "HeaderName" (orNone id) settings.HeaderName
              TrustedOrigins =
                said
                    "TrustedOrigins"
                    (function
                    | [] -> "none"
                    | origins -> String.concat ", " origins)
                    settings.TrustedOrigins
              AllowCrossSiteWrites = said "AllowCrossSiteWrites" yes settings.AllowCrossSiteWrites
              IdleTimeout = said "IdleTimeout" span settings.IdleTimeout
              AbsoluteTimeout = said "AbsoluteTimeout" span settings.AbsoluteTimeout
              ConfirmTimeout =
                said "ConfirmTimeout" (fun _ -> span (SessionSettings.confirmTimeout settings)) settings.ConfirmTimeout
              RotateEvery = said "RotateEvery" (orNone span) settings.RotateEvery
              RotationGrace = said "RotationGrace" span settings.RotationGrace
              TombstoneRetention = said "TombstoneRetention" span settings.TombstoneRetention
              OnReplay = said "OnReplay" string settings.OnReplay
              MaxDataBytes = said "MaxDataBytes" whole settings.MaxDataBytes
              MaxSessionsPerSubject = said "MaxSessionsPerSubject" (orNone whole) settings.MaxSessionsPerSubject
              WhenLimitReached = said "WhenLimitReached" string settings.WhenLimitReached
              DataVersion = said "DataVersion" whole settings.DataVersion
              Upcasters = said "Upcasters" (fun upcasters -> whole upcasters.Count) settings.Upcasters
              ServerKey = said "ServerKey" (fun key -> if key.IsSome then "set" else "none") settings.ServerKey
              FormerServerKeys = said "FormerServerKeys" count settings.FormerServerKeys
              GenerateId =
                said "GenerateId" (fun own -> if own.IsSome then "the application's" else "random") settings.GenerateId
              SweepInterval = said "SweepInterval" span settings.SweepInterval
              LiveCheck = said "LiveCheck" span settings.LiveCheck
              ConnectionsExtendIdle = said "ConnectionsExtendIdle" yes settings.ConnectionsExtendIdle
              RequestTimeout = said "RequestTimeout" span settings.RequestTimeout
              EventTimeout = said "EventTimeout" span settings.EventTimeout
              ContinueWithoutStore = said "ContinueWithoutStore" yes settings.ContinueWithoutStore
              HearsExpiry = said "HearsExpiry" yes settings.HearsExpiry
              // A function: there is nothing to show.
              OnNotice = settings.OnNotice }

    let rows (service: SessionService<'T>) : (string * string) list =
        let rows = List<string * string>()
        let row name value = rows.Add((name, value))
        ofSettings service.Settings row
        row "Serializer" service.SerializerName
        row "SealToBearer" (yes service.Engine.Settings.SealsToBearer)

        row
            "ProtectWith"
            (match service.Engine.Settings.Protector with
             | null -> "none"
             | protector -> protector.GetType().Name)

        List.ofSeq rows
