/// The settings as an application makes them, and as the engine takes them.
namespace Session.AspNetCore

open System
open System.Collections.Generic
open Microsoft.AspNetCore.Http
open Session.Domain
open Session.Engine

[<RequireQualifiedAccess; CompilationRepresentation(CompilationRepresentationFlags.ModuleSuffix)>]
module SessionSettings =
    let defaults =
        { CookieName = None
          CookieDomain = None
          CookiePath = "/"
          SameSite = SameSiteMode.Lax
          SecurePolicy = CookieSecurePolicy.Always
          HttpOnly = true
          Partitioned = false
          CookieMaxAge = None
          HeaderName = None
          TrustedOrigins = []
          AllowCrossSiteWrites = false
          IdleTimeout = TimeSpan.FromMinutes 30L
          AbsoluteTimeout = TimeSpan.FromHours 8
          ConfirmTimeout = None
          RotateEvery = Some(TimeSpan.FromMinutes 15L)
          RotationGrace = TimeSpan.FromSeconds 30L
          TombstoneRetention = TimeSpan.FromHours 1
          OnReplay = DestroySession
          MaxDataBytes = 65_536
          MaxSessionsPerSubject = None
          WhenLimitReached = EndOldest
          DataVersion = 1
          Upcasters = Map.empty
          ServerKey = None
          FormerServerKeys = []
          GenerateId = None
          SweepInterval = TimeSpan.FromMinutes 1L
          LiveCheck = TimeSpan.FromSeconds 30L
          ConnectionsExtendIdle = false
          RequestTimeout = WaitLimits.Default.RequestTimeout
          EventTimeout = WaitLimits.Default.EventTimeout
          ContinueWithoutStore = false
          HearsExpiry = false
          OnNotice = fun _ -> None }

    /// A copy, with what the action changes in it.
    let changed (settings: SessionSettings) (change: Action<SessionSettings>) =
        let copy = { settings with HearsExpiry = settings.HearsExpiry }
        change.Invoke copy
        copy

    /// The same with keys of its own: the application may wipe its arrays before the host starts.
    let internal withOwnKeys settings =
        let copy (key: byte[]) = if isNull (box key) then key else Array.copy key

        { settings with
            ServerKey = Option.map copy settings.ServerKey
            FormerServerKeys = List.map copy settings.FormerServerKeys }

    /// The confirm timeout that counts.
    let confirmTimeout settings = Defaults.confirmTimeout settings

    /// The name that the cookie has. A partitioned one has another name than one that is not: a browser keeps both, and
    /// sends both.
    let cookieName settings = Defaults.cookieName settings

    /// The name that it had, or would have, with Partitioned switched the other way. A token under it still opens its
    /// session where none came under the name that counts.
    let formerCookieName (settings: SessionSettings) =
        if settings.Partitioned then Defaults.plainName settings else Defaults.partitionedName settings

    /// A sentence for each contradiction: what is wrong, and what to change. Empty: the settings can be kept.
    let contradictions settings : IReadOnlyList<string> = Contradictions.find settings

    /// What the engine is to know of them.
    let toEngine (settings: SessionSettings) : EngineSettings =
        { Policy =
            { Idle = settings.IdleTimeout
              Absolute = settings.AbsoluteTimeout
              Confirm = confirmTimeout settings
              RotateEvery = settings.RotateEvery
              Grace = settings.RotationGrace
              Retention = settings.TombstoneRetention
              OnReplay = settings.OnReplay }
          MaxDataBytes = settings.MaxDataBytes
          MaxSessionsPerSubject = settings.MaxSessionsPerSubject
          WhenLimitReached = settings.WhenLimitReached
          ServerKey =
            match settings.ServerKey with
            | Some key -> ServerKeys(key, settings.FormerServerKeys)
            | None -> null
          SealsToBearer = false
          Protector = null }

    /// How long the engine waits.
    let toWaits (settings: SessionSettings) : WaitLimits =
        { WaitLimits.Default with
            RequestTimeout = settings.RequestTimeout
            EventTimeout = settings.EventTimeout }
