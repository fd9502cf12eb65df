/// The F# face has what the C# face has, and the other way round; docs/FSHARP.md has both; each name has a tooltip.
module FSharpFace.Reach

open System
open System.IO
open System.Reflection
open System.Runtime.CompilerServices
open System.Text.RegularExpressions
open System.Xml.Linq
open Expecto
open Microsoft.FSharp.Reflection
open Session.AspNetCore
open Session.CSharp

/// What C# has, and what is the same in F#. A new member of either side needs a line here and a row in docs/FSHARP.md.
let private same: (string * string list) list =
    [ "Session.Id", [ "Session.tryId" ]
      "Session.State", [ "Session.state" ]
      "Session.Origin", [ "Session.origin" ]
      "Session.Data", [ "Session.tryGet"; "Session.read" ]
      "Session.Subject", [ "Session.subject" ]
      "Session.CreatedAt", [ "Session.createdAt" ]
      "Session.AuthenticatedAt", [ "Session.authenticatedAt" ]
      "Session.ExpiresAt", [ "Session.expiresAt" ]
      "Session.Ended", [ "Session.ended" ]
      "Session.EndedBecause", [ "Session.endedBecause" ]
      "Session.CreateAsync", [ "Session.create" ]
      "Session.SaveAsync", [ "Session.save" ]
      "Session.UpdateAsync", [ "Session.update"; "Session.tryUpdate" ]
      "Session.SignInAsync", [ "Session.signIn"; "Session.signInExternal" ]
      "Session.RegenerateAsync", [ "Session.regenerate"; "Session.regenerateWith" ]
      "Session.DestroyAsync", [ "Session.destroy" ]
      "Session.ReloadAsync", [ "Session.reload" ]

      "SessionManager.GetSessionAsync", [ "Session.tryGet" ]
      "SessionManager.CreateSessionAsync", [ "Session.create" ]
      "SessionManager.FindAsync", [ "Sessions.find"; "Sessions.findOwn"; "SessionServices.find" ]
      "SessionManager.ListAsync", [ "Sessions.list"; "SessionServices.list" ]
      "SessionManager.UpdateAsync", [ "Sessions.update"; "SessionServices.update" ]
      "SessionManager.DestroySessionAsync", [ "Sessions.destroy"; "SessionServices.destroy" ]
      "SessionManager.DestroyAllAsync",
      [ "Sessions.destroyAll"
        "Sessions.destroyAllBut"
        "Sessions.destroyAllIn"
        "Sessions.destroyAllButIn"
        "SessionServices.destroyAll"
        "SessionServices.destroyAllBut"
        "SessionServices.destroyAllIn"
        "SessionServices.destroyAllButIn" ]
      "SessionManager.DestroyEverySessionAsync", [ "Sessions.destroyEvery"; "SessionServices.destroyEvery" ]

      "SessionOptions.Cookie",
      [ "SessionSettings.CookieName"
        "SessionSettings.CookieDomain"
        "SessionSettings.CookiePath"
        "SessionSettings.SameSite"
        "SessionSettings.SecurePolicy"
        "SessionSettings.HttpOnly"
        "SessionSettings.CookieMaxAge" ]
      "SessionOptions.Partitioned", [ "SessionSettings.Partitioned" ]
      "SessionOptions.HeaderName", [ "SessionSettings.HeaderName" ]
      "SessionOptions.TrustedOrigins", [ "SessionSettings.TrustedOrigins" ]
      "SessionOptions.AllowCrossSiteWrites", [ "SessionSettings.AllowCrossSiteWrites" ]
      "SessionOptions.IdleTimeout", [ "SessionSettings.IdleTimeout" ]
      "SessionOptions.AbsoluteTimeout", [ "SessionSettings.AbsoluteTimeout" ]
      "SessionOptions.ConfirmTimeout", [ "SessionSettings.ConfirmTimeout" ]
      "SessionOptions.RotateEvery", [ "SessionSettings.RotateEvery" ]
      "SessionOptions.RotationGrace", [ "SessionSettings.RotationGrace" ]
      "SessionOptions.TombstoneRetention", [ "SessionSettings.TombstoneRetention" ]
      "SessionOptions.DestroyOnReplay", [ "SessionSettings.OnReplay" ]
      "SessionOptions.MaxSessionsPerSubject", [ "SessionSettings.MaxSessionsPerSubject" ]
      "SessionOptions.WhenLimitReached", [ "SessionSettings.WhenLimitReached" ]
      "SessionOptions.DataVersion", [ "SessionSettings.DataVersion" ]
      "SessionOptions.Upcasters", [ "SessionSettings.Upcasters" ]
      "SessionOptions.MaxDataBytes", [ "SessionSettings.MaxDataBytes" ]
      "SessionOptions.GenerateId", [ "SessionSettings.GenerateId" ]
      "SessionOptions.ServerKey", [ "SessionSettings.ServerKey" ]
      "SessionOptions.FormerServerKeys", [ "SessionSettings.FormerServerKeys" ]
      "SessionOptions.SweepInterval", [ "SessionSettings.SweepInterval" ]
      "SessionOptions.LiveCheck", [ "SessionSettings.LiveCheck" ]
      "SessionOptions.ConnectionsExtendIdle", [ "SessionSettings.ConnectionsExtendIdle" ]
      "SessionOptions.RequestTimeout", [ "SessionSettings.RequestTimeout" ]
      "SessionOptions.EventTimeout", [ "SessionSettings.EventTimeout" ]
      "SessionOptions.ContinueWithoutStore", [ "SessionSettings.ContinueWithoutStore" ]
      "SessionOptions.Serializer", [ "AddSession.serializer" ]
      "SessionOptions.Events", [ "AddSession.onEvent"; "SessionSettings.OnNotice" ]

      "SessionEvents.OnCreated", [ "SessionEvent.Created" ]
      "SessionEvents.OnRegenerated", [ "SessionEvent.Regenerated" ]
      "SessionEvents.OnSignedIn", [ "SessionEvent.SignedIn" ]
      "SessionEvents.OnDestroyed", [ "SessionEvent.Destroyed" ]
      "SessionEvents.OnExpired", [ "SessionEvent.Expired"; "SessionSettings.HearsExpiry" ]
      "SessionEvents.OnReplayed", [ "SessionEvent.Replayed" ]
      "SessionEvents.OnOutdated", [ "SessionEvent.Outdated" ]
      "SessionEvents.OnRefused", [ "SessionEvent.Refused" ]
      "SessionEvents.OnUnreadable", [ "SessionEvent.Unreadable" ]

      "extensions.AddSession", [ "SessionExtensions.AddSession"; "SessionExtensions.AddSessionWith" ]
      "extensions.UseSession", [ "SessionExtensions.UseSession" ]
      "extensions.GetSessionAsync", [ "Session.tryGet" ]
      "extensions.RequireSession",
      [ "SessionEndpoint.requireSession"
        "SessionEndpoint.requireSessionOr"
        "SessionEndpoint.withSession"
        "SessionEndpoint.withSessionOr"
        "SessionHandler.requireSession"
        "SessionHandler.withSession" ]
      "extensions.RequireSignIn",
      [ "SessionEndpoint.requireSignIn"
        "SessionEndpoint.requireSignInOr"
        "SessionEndpoint.withSubject"
        "SessionEndpoint.withSubjectOr"
        "SessionHandler.requireSignIn"
        "SessionHandler.withSubject" ]
      "extensions.SignedInWithin",
      [ "SessionEndpoint.requireSignInWithin"
        "SessionEndpoint.requireSignInWithinOr"
        "SessionHandler.requireSignInWithin" ]
      "extensions.NoTouch", [ "SessionEndpoint.noTouch" ]
      "extensions.AllowCrossSite", [ "SessionEndpoint.allowCrossSite"; "Session.allowCrossSite" ]
      "extensions.AllowSharedCaching", [ "SessionEndpoint.allowSharedCaching" ]
      "extensions.AddSessionLifetime", [ "SessionExtensions.AddSessionLifetime" ]
      "extensions.MapSessionStatus", [ "SessionStatus.map" ]
      "extensions.MapMySessions", [ "MySessions.map" ]
      "extensions.MapSessionDashboard", [ "SessionDashboard.map" ] ]

/// Ways for parts of the framework that know nothing of F#: the same calls, from the package Session.CSharp.
let private shared =
    [ "extensions.AddSessionAuthenticationState"
      "extensions.AddServerSideTickets"
      "extensions.GetTicketSessionIdAsync"
      "extensions.AddSessionCompatibility"
      "extensions.UseSessionCompatibility"
      "extensions.AdoptFrom" ]

/// What has no counterpart because C# has exceptions where F# has values.
let private values = [ "SessionEndpoint.failed"; "SessionHandler.failed" ]

/// What ASP.NET Core asks of a parameter; in F# it is SessionEndpoint.withSession that hands a session to a handler.
let private ofTheFramework = [ "Session.BindAsync"; "Session.PopulateMetadata" ]

let private publicOnes =
    BindingFlags.Public ||| BindingFlags.Instance ||| BindingFlags.Static ||| BindingFlags.DeclaredOnly

let private bareName (t: Type) = t.Name.Split('`')[0]

let private csharp =
    [ for t in
          [ typedefof<Session<_>>
            typedefof<SessionManager<_>>
            typedefof<SessionOptions<_>>
            typedefof<SessionEvents<_>> ] do
          for m in t.GetMembers publicOnes do
              match m with
              | :? MethodInfo as it when not it.IsSpecialName -> $"{bareName t}.{it.Name}"
              | :? PropertyInfo as it -> $"{bareName t}.{it.Name}"
              | _ -> () ]
    |> List.append
        [ for t in typedefof<Session<_>>.Assembly.GetExportedTypes() do
              for m in t.GetMethods publicOnes do
                  if m.IsDefined(typeof<ExtensionAttribute>, false) then
                      $"extensions.{m.Name}" ]
    |> List.distinct
    |> List.except ofTheFramework

let private face = typeof<SessionSettings>.Assembly
let private moduleOf (name: string) = nonNull (face.GetType("Session.AspNetCore." + name))

let private functionsOf name =
    [ for it in (moduleOf name).GetMethods(publicOnes) do
          if not it.IsSpecialName then
              $"{name}.{it.Name}" ]

let private fsharp =
    [ yield! functionsOf "Session"
      yield! functionsOf "Sessions"
      yield! functionsOf "SessionServices"
      yield! functionsOf "SessionEndpoint"
      yield! functionsOf "SessionHandler"
      yield! functionsOf "SessionStatus"
      yield! functionsOf "MySessions"
      yield! functionsOf "SessionDashboard"
      for field in FSharpType.GetRecordFields typeof<SessionSettings> do
          $"SessionSettings.{field.Name}"
      for case in FSharpType.GetUnionCases typeof<SessionEvent<string>> do
          $"SessionEvent.{case.Name}"
      for it in (moduleOf "SessionExtensions").GetMethods publicOnes do
          $"SessionExtensions.{it.Name.Substring(it.Name.LastIndexOf '.' + 1)}"

          if it.Name.EndsWith ".AddSession" then
              for parameter in it.GetParameters() do
                  if parameter.Name = "serializer" || parameter.Name = "onEvent" then
                      $"AddSession.{parameter.Name}" ]
    |> List.distinct

let private documents = lazy (XDocument.Load(nonNull (Path.ChangeExtension(face.Location, ".xml"))))

/// Of each member, by its id without parameters, whether something is said.
let private said =
    lazy
        (set
            [ for it in documents.Force().Descendants(XName.Get "member") do
                  if not (String.IsNullOrWhiteSpace it.Value) then
                      let name = (nonNull (it.Attribute(XName.Get "name"))).Value
                      Regex.Replace(name, @"(``|\().*$", "") ])

let private idOf (t: Type) = (string t.FullName).Replace('+', '.')

/// What an F# programmer points at.
let private pointedAt =
    [ for t in face.GetExportedTypes() do
          let isUnion = FSharpType.IsUnion t && not (t.IsNested && FSharpType.IsUnion(nonNull t.DeclaringType))
          let isModule = t.IsAbstract && t.IsSealed && not (t.Name.EndsWith "Tags")
          let isCase = t.IsNested && FSharpType.IsUnion(nonNull t.DeclaringType)

          if isUnion then
              "T:" + idOf t

              for case in FSharpType.GetUnionCases t do
                  "T:" + idOf t + "." + case.Name
          elif FSharpType.IsRecord t then
              "T:" + idOf t

              for field in FSharpType.GetRecordFields t do
                  "P:" + idOf t + "." + field.Name
          elif isModule && not isCase then
              for it in t.GetMethods publicOnes do
                  if not it.IsSpecialName && not (it.Name.Contains '.') then
                      "M:" + idOf t + "." + it.Name
          elif not isCase && not (t.Name.EndsWith "Tags") then
              "T:" + idOf t ]

let all =
    testList
        "reach"
        [ testCase "each member of the C# face has its counterpart in F#" (fun () ->
              Expect.equal
                  (csharp |> List.except (List.map fst same @ shared))
                  []
                  "members without one: add them to F#, and here"

              Expect.equal (List.map fst same @ shared |> List.except csharp) [] "lines without a member")

          testCase "each function, setting and event of the F# face has its counterpart in C#" (fun () ->
              let named = List.collect snd same @ values |> List.distinct
              Expect.equal (fsharp |> List.except named) [] "names without one: add them to C#, and here"
              Expect.equal (named |> List.except fsharp) [] "lines without a name")

          testCase "Sessions and SessionServices have the same functions, but for what needs a request" (fun () ->
              let namesOf name = functionsOf name |> List.map (fun it -> it.Split('.')[1]) |> List.sort
              Expect.equal (namesOf "Sessions" |> List.except [ "findOwn" ]) (namesOf "SessionServices") "both")

          testCase "docs/FSHARP.md has a row for each" (fun () ->
              let rows =
                  File.ReadAllLines(Repository.under [ "docs"; "FSHARP.md" ]) |> Array.filter _.StartsWith("| `")

              for csharp, fsharp in same @ [ for it in shared -> it, [] ] do
                  let member' = csharp.Substring(csharp.IndexOf '.' + 1)
                  let found = rows |> Array.filter _.StartsWith("| `" + member' + "`")
                  Expect.isNonEmpty found csharp

                  for name in fsharp do
                      let short = name.Substring(name.IndexOf '.' + 1)

                      Expect.isTrue
                          (found
                           |> Array.exists (fun row ->
                               row.Contains("`" + name + "`") || row.Contains("`" + short + "`")))
                          $"{csharp}: {name}")

          testCase "everything that can be pointed at says what it is" (fun () ->
              Expect.isGreaterThan pointedAt.Length 150 "types, cases, fields and functions"
              Expect.equal (pointedAt |> List.filter (said.Force().Contains >> not)) [] "without a word")

          testCase "where the type of the data stands in no parameter it has to be given" (fun () ->
              let rec mentions (argument: Type) (t: Type) =
                  t = argument || t.GetGenericArguments() |> Array.exists (mentions argument)

              let isFree (it: MethodInfo) =
                  it.IsGenericMethod
                  && (it.GetGenericArguments()
                      |> Array.exists (fun argument ->
                          it.GetParameters()
                          |> Array.forall (fun parameter -> not (mentions argument parameter.ParameterType))))

              for name in
                  [ "Session"
                    "Sessions"
                    "SessionServices"
                    "SessionHandler"
                    "SessionEndpoint"
                    "SessionStatus"
                    "MySessions"
                    "SessionDashboard" ] do
                  for it in (moduleOf name).GetMethods publicOnes do
                      let isAsked =
                          it.GetCustomAttributes(typeof<RequiresExplicitTypeArgumentsAttribute>, false).Length > 0

                      Expect.equal isAsked (isFree it) $"{name}.{it.Name}") ]
