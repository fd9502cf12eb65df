/// Settings from configuration: appsettings.json, environment variables, a vault.
namespace Session.AspNetCore

open System
open System.Globalization
open Microsoft.AspNetCore.Http
open Microsoft.Extensions.Configuration
open Session.Domain
open Session.Engine

[<RequireQualifiedAccess>]
module SessionConfiguration =
    // Never with the value: it may be a key.
    let private wrong (section: IConfigurationSection) (what: string) : 'a =
        invalidOp (String.Concat("The setting ", section.Path, String.Concat(" is no ", what, ".")))

    // To TimeSpan.Parse a number alone is days, and 24:00:00 is 24 days.
    let private times =
        [| @"h\:m"
           @"h\:m\:s"
           @"h\:m\:s\.FFFFFFF"
           @"d\.h\:m\:s"
           @"d\.h\:m\:s\.FFFFFFF" |]

    let private time (it: IConfigurationSection) (text: string) : TimeSpan =
        match TimeSpan.TryParseExact(text, times, CultureInfo.InvariantCulture) with
        | true, value -> value
        | _ -> wrong it "time such as 00:30:00, or 1.00:00:00 for a day"

    let private number (it: IConfigurationSection) (text: string) : int =
        match Int32.TryParse(text, NumberStyles.Integer, CultureInfo.InvariantCulture) with
        | true, value -> value
        | _ -> wrong it "number"

    let private flag (it: IConfigurationSection) (text: string) : bool =
        match Boolean.TryParse text with
        | true, value -> value
        | _ -> wrong it "true or false"

    let private key (it: IConfigurationSection) (text: string) : byte[] =
        let bytes = Array.zeroCreate<byte> text.Length

        match Convert.TryFromBase64String(text, Span<byte> bytes) with
        | true, written -> Array.truncate written bytes
        | _ -> wrong it "base64"

    let private oneOf (names: (string * 'a) list) (it: IConfigurationSection) (text: string) : 'a =
        names
        |> List.tryFind (fun (name, _) -> name.Equals(text, StringComparison.OrdinalIgnoreCase))
        |> Option.map snd
        |> Option.defaultWith (fun () -> wrong it (String.Join(" or ", List.map fst names)))

    let private sameSite =
        oneOf
            [ "Lax", SameSiteMode.Lax
              "Strict", SameSiteMode.Strict
              "None", SameSiteMode.None ]

    let private secure =
        oneOf
            [ "Always", CookieSecurePolicy.Always
              "SameAsRequest", CookieSecurePolicy.SameAsRequest
              "None", CookieSecurePolicy.None ]

    /// An empty text takes away what is there by default.
    let private orNone read (it: IConfigurationSection) (text: string) = if text = "" then None else Some(read it text)

    let private text (_: IConfigurationSection) (text: string) = text

    /// Each setting that configuration can say; the others are code.
    let private readers: (string * (IConfigurationSection -> string -> SessionSettings -> SessionSettings)) list =
        [ "CookieName", (fun it value s -> { s with CookieName = orNone text it value })
          "CookieDomain", (fun it value s -> { s with CookieDomain = orNone text it value })
          "CookiePath", (fun _ value s -> { s with CookiePath = value })
          "SameSite", (fun it value s -> { s with SameSite = sameSite it value })
          "SecurePolicy", (fun it value s -> { s with SecurePolicy = secure it value })
          "Partitioned", (fun it value s -> { s with Partitioned = flag it value })
          "CookieMaxAge", (fun it value s -> { s with CookieMaxAge = orNone time it value })
          "HeaderName", (fun it value s -> { s with HeaderName = orNone text it value })
          "AllowCrossSiteWrites", (fun it value s -> { s with AllowCrossSiteWrites = flag it value })
          "IdleTimeout", (fun it value s -> { s with IdleTimeout = time it value })
          "AbsoluteTimeout", (fun it value s -> { s with AbsoluteTimeout = time it value })
          "ConfirmTimeout", (fun it value s -> { s with ConfirmTimeout = orNone time it value })
          "RotateEvery", (fun it value s -> { s with RotateEvery = orNone time it value })
          "RotationGrace", (fun it value s -> { s with RotationGrace = time it value })
          "TombstoneRetention", (fun it value s -> { s with TombstoneRetention = time it value })
          "OnReplay",
          (fun it value s ->
              { s with
                  OnReplay = oneOf [ "DestroySession", DestroySession; "RefuseToken", RefuseToken ] it value })
          "MaxDataBytes", (fun it value s -> { s with MaxDataBytes = number it value })
          "MaxSessionsPerSubject", (fun it value s -> { s with MaxSessionsPerSubject = orNone number it value })
          "WhenLimitReached",
          (fun it value s ->
              { s with
                  WhenLimitReached = oneOf [ "EndOldest", EndOldest; "RefuseNew", RefuseNew ] it value })
          "ServerKey", (fun it value s -> { s with ServerKey = orNone key it value })
          "SweepInterval", (fun it value s -> { s with SweepInterval = time it value })
          "LiveCheck", (fun it value s -> { s with LiveCheck = time it value })
          "ConnectionsExtendIdle", (fun it value s -> { s with ConnectionsExtendIdle = flag it value })
          "RequestTimeout", (fun it value s -> { s with RequestTimeout = time it value })
          "EventTimeout", (fun it value s -> { s with EventTimeout = time it value })
          "ContinueWithoutStore", (fun it value s -> { s with ContinueWithoutStore = flag it value }) ]

    /// Settings that are lists: one below another in a section of their own.
    let private listReaders
        : (string * ((IConfigurationSection * string) list -> SessionSettings -> SessionSettings)) list =
        [ "TrustedOrigins", (fun origins s -> { s with TrustedOrigins = List.map snd origins })
          "FormerServerKeys",
          (fun keys s ->
              { s with
                  FormerServerKeys = [ for it, value in keys -> key it value ] }) ]

    let internal names = List.map fst readers @ List.map fst listReaders

    /// The settings, with what the section says under their names: `"Session": { "IdleTimeout": "00:20:00" }`. Times are
    /// `[d.]hh:mm:ss`, ServerKey and each of FormerServerKeys are base64; an empty text takes an optional setting away. A
    /// name that is no setting, and a value that cannot be read, is an InvalidOperationException that names it.
    let apply (section: IConfiguration) (settings: SessionSettings) : SessionSettings =
        let set settings (it: IConfigurationSection) =
            let isCalled (name: string) = name.Equals(it.Key, StringComparison.OrdinalIgnoreCase)

            match List.tryFind (fst >> isCalled) readers, List.tryFind (fst >> isCalled) listReaders with
            | Some(_, read), _ ->
                match it.Value with
                | null -> wrong it "single value"
                | value -> read it value settings
            | None, Some(_, read) ->
                match it.Value with
                | null
                | "" ->
                    settings
                    |> read
                        [ for item in it.GetChildren() do
                              match item.Value with
                              | null -> wrong item "single value"
                              | value -> item, value ]
                | _ -> wrong it "list"
            | None, None ->
                invalidOp (
                    String.Concat(
                        "There is no setting ",
                        it.Path,
                        String.Concat(" that configuration can say. There are: ", String.Join(", ", names), ".")
                    )
                )

        section.GetChildren() |> Seq.fold set settings
