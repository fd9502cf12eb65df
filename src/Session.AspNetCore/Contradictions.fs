/// What contradicts what among the settings: a sentence for each, which stops the program at its start.
[<RequireQualifiedAccess>]
module internal Session.AspNetCore.Contradictions

open System
open System.Collections.Generic
open Microsoft.AspNetCore.Http
open Session.Engine

let private startsWith (prefix: string) (name: string) = name.StartsWith(prefix, StringComparison.OrdinalIgnoreCase)

let private isToken (name: string) =
    name <> ""
    && name |> Seq.forall (fun c -> c > ' ' && c < '\127' && not ("()<>@,;:\\\"/[]?={}".Contains c))

/// Labels of letters, digits and hyphens (RFC 1123 2.1), at least two, and no address. The dot in front is of old.
let private isDomain (domain: string) =
    let isLabel (label: string) =
        label.Length >= 1
        && label.Length <= 63
        && Seq.forall (fun c -> Char.IsAsciiLetterOrDigit c || c = '-') label
        && label[0] <> '-'
        && label[label.Length - 1] <> '-'

    let labels = (if domain.StartsWith '.' then domain.Substring 1 else domain).Split '.'

    labels.Length >= 2
    && Array.forall isLabel labels
    && domain.Length <= 253
    && not (Seq.forall Char.IsAsciiDigit labels[labels.Length - 1])

let private tenYears = TimeSpan.FromDays 3650

/// A sentence for each contradiction: what is wrong, and what to change. Empty: the settings can be kept.
let find (settings: SessionSettings) : IReadOnlyList<string> =
    let name = Defaults.cookieName settings
    let isAlwaysSecure = settings.SecurePolicy = CookieSecurePolicy.Always
    let found = List<string>()

    let unless isRight (sentence: string) =
        if not isRight then
            found.Add sentence

    unless
        (isToken name)
        "Cookie.Name is empty or has a character that no cookie name may have: use letters, digits, - and _."

    unless
        (name.Length <= 1000)
        "Cookie.Name is longer than 1,000 characters: browsers drop a cookie of more than 4,096 bytes. Shorten it."

    if startsWith "__Host-" name then
        unless
            isAlwaysSecure
            "A cookie named __Host-… needs Secure: set Cookie.SecurePolicy to Always, or choose another Cookie.Name."

        unless
            settings.CookieDomain.IsNone
            "A cookie named __Host-… must not have a Domain: remove Cookie.Domain, or name the cookie __Secure-…."

        unless
            (settings.CookiePath = "/")
            "A cookie named __Host-… needs Path=/: remove Cookie.Path, or name the cookie __Secure-…."

    if startsWith "__Secure-" name then
        unless
            isAlwaysSecure
            "A cookie named __Secure-… needs Secure: set Cookie.SecurePolicy to Always, or choose another Cookie.Name."

    unless settings.HttpOnly "The session cookie is never for scripts: leave Cookie.HttpOnly true."

    unless
        (settings.SameSite <> SameSiteMode.Unspecified)
        "Cookie.SameSite must be said (Lax, Strict or None): browsers' defaults for a cookie without it are weaker."

    unless
        (Enum.IsDefined settings.SameSite)
        "Cookie.SameSite is no value that there is: set it to Lax, Strict or None."

    unless
        (Enum.IsDefined settings.SecurePolicy)
        "Cookie.SecurePolicy is no value that there is: set it to Always, or to SameAsRequest or None for development."

    unless
        (settings.SameSite <> SameSiteMode.None || isAlwaysSecure)
        "Cookie.SameSite=None needs Secure: browsers drop the cookie otherwise. Set Cookie.SecurePolicy to Always, or SameSite to Lax."

    unless (not settings.Partitioned || isAlwaysSecure) "Partitioned needs Secure: set Cookie.SecurePolicy to Always."

    unless
        (not settings.Partitioned || settings.SameSite = SameSiteMode.None)
        "Partitioned is for third-party contexts, where only SameSite=None is sent: set Cookie.SameSite to None, or Partitioned to false."

    unless
        (settings.CookiePath.StartsWith '/'
         && not (settings.CookiePath.Contains ';')
         && Seq.forall (fun c -> c > ' ' && c < '\127') settings.CookiePath)
        "Cookie.Path must start with / and have no semicolon."

    match settings.CookieDomain with
    | Some domain ->
        unless
            (isDomain domain)
            "Cookie.Domain must be a domain with a dot, such as example.com, without scheme, port and path: browsers refuse others. Write other letters than a to z in Punycode."
    | None -> ()

    match settings.CookieMaxAge with
    | Some age ->
        unless
            (age > TimeSpan.Zero)
            "Cookie.MaxAge must be positive: leave it unset for a cookie that ends with the browser."

        unless
            (age <= settings.AbsoluteTimeout)
            "Cookie.MaxAge is longer than AbsoluteTimeout: the cookie would outlive every session. Shorten it."

        // A user who is active lets a renewal send the cookie again at the latest so long after it was sent, unless the store
        // acknowledges none.
        let isSentInTime =
            match settings.RotateEvery with
            | _ when age <= TimeSpan.Zero -> true // said above
            | Some every -> age >= settings.AbsoluteTimeout || age - every >= settings.IdleTimeout
            | None -> age >= settings.AbsoluteTimeout

        unless
            isSentInTime
            "Cookie.MaxAge is shorter than RotateEvery and IdleTimeout together: the cookie of an active user could end before a renewal sends it again. Set it to AbsoluteTimeout, or at least to that sum (without RotateEvery only AbsoluteTimeout will do)."
    | None -> ()

    match settings.HeaderName with
    | Some header ->
        unless (isToken header) "HeaderName has a character that no header name may have: use letters, digits and -."

        unless
            (not (ReservedHeaders.has header))
            "HeaderName is a header with another meaning: choose one of your own, such as X-Session-Token."
    | None -> ()

    for origin in settings.TrustedOrigins do
        unless
            (not (isNull (box origin)) && (Origins.tryNormal origin).IsSome)
            (String.Concat(
                "TrustedOrigins has '",
                origin,
                "', which is no origin: write scheme and host, and a port if it is not the scheme's own, such as https://app.example.com. Write other letters than a to z in Punycode."
            ))

    let time name (value: TimeSpan) =
        unless (value > TimeSpan.Zero) (String.Concat(name, " must be positive."))

        unless (value <= tenYears) (String.Concat(name, " is longer than ten years: sessions have an end. Shorten it."))

    time "IdleTimeout" settings.IdleTimeout
    time "AbsoluteTimeout" settings.AbsoluteTimeout
    time "ConfirmTimeout" (Defaults.confirmTimeout settings)
    time "RotationGrace" settings.RotationGrace
    time "SweepInterval" settings.SweepInterval

    // Timers end at 49 days, and the pause may be a fifth longer: the sweeper would stop the host.
    unless
        (settings.SweepInterval <= TimeSpan.FromDays 30)
        "SweepInterval is longer than 30 days: what is over would stay in the store for so long. Shorten it."

    time "LiveCheck" settings.LiveCheck

    for name, value in [ "SweepInterval", settings.SweepInterval; "LiveCheck", settings.LiveCheck ] do
        unless
            (value <= TimeSpan.Zero || value >= TimeSpan.FromMilliseconds 1L)
            (String.Concat(name, " is shorter than a millisecond: it would keep a processor busy. Lengthen it."))

    unless
        (not settings.ConnectionsExtendIdle || settings.LiveCheck <= settings.IdleTimeout / 4.0)
        "ConnectionsExtendIdle needs a LiveCheck of at most a quarter of IdleTimeout: sessions would end between two looks. Shorten LiveCheck."

    let wait name (value: TimeSpan) =
        unless
            (value > TimeSpan.Zero && value <= TimeSpan.FromMinutes 10L)
            (String.Concat(name, " must be positive, and at most 10 minutes: requests wait so long."))

    wait "RequestTimeout" settings.RequestTimeout
    wait "EventTimeout" settings.EventTimeout

    unless
        (settings.IdleTimeout <= settings.AbsoluteTimeout)
        "IdleTimeout is longer than AbsoluteTimeout, so it would never end a session: shorten IdleTimeout or lengthen AbsoluteTimeout."

    unless
        (Defaults.confirmTimeout settings <= settings.AbsoluteTimeout)
        "ConfirmTimeout is longer than AbsoluteTimeout: shorten it."

    match settings.RotateEvery with
    | Some every ->
        time "RotateEvery" every

        unless
            (every > settings.RotationGrace)
            "RotateEvery is not longer than RotationGrace: the next renewal would begin before the last one ended. Lengthen RotateEvery or shorten RotationGrace."

    | None -> ()

    unless
        (settings.RotationGrace <= TimeSpan.FromMinutes 10L)
        "RotationGrace is longer than 10 minutes: for so long a stolen old token would work. Shorten it."

    unless
        (settings.TombstoneRetention >= TimeSpan.Zero && settings.TombstoneRetention <= tenYears)
        "TombstoneRetention must be between zero and ten years."

    unless
        (settings.MaxDataBytes >= 1 && settings.MaxDataBytes <= Codec.maxDataBytes)
        "MaxDataBytes must be between 1 and 16,777,216 (16 MiB)."

    match settings.MaxSessionsPerSubject with
    | Some most -> unless (most >= 1) "MaxSessionsPerSubject must be at least 1: leave it unset for no limit."
    | None -> ()

    let isVersion = settings.DataVersion >= 1 && settings.DataVersion <= 10_000
    unless isVersion "DataVersion must be 1 to 10,000: it counts the changes of the data's shape."

    let missing =
        if isVersion then
            List.filter (settings.Upcasters.ContainsKey >> not) [ 1 .. settings.DataVersion - 1 ]
        else
            []

    // A sentence for each of the first.
    for version in List.truncate 10 missing do
        found.Add(
            String.Concat(
                "DataVersion is ",
                string settings.DataVersion,
                ", and there is no upcaster from version " + string version,
                ": add one to Upcasters, so that sessions begun before stay readable."
            )
        )

    for version, upcaster in Map.toSeq settings.Upcasters do
        unless
            (not isVersion || version >= 1 && version < settings.DataVersion)
            (String.Concat(
                "Upcasters has one from version ",
                string version,
                ", which is never called: it takes data of versions from 1 to the one before DataVersion, which is ",
                string settings.DataVersion + ". Raise DataVersion, or remove it."
            ))

        unless
            (not (isNull (box upcaster)))
            (String.Concat("Upcasters has null for version ", string version, ": give it a function, or remove it."))

    let isLong (key: byte[]) = not (isNull (box key)) && key.Length >= 32

    match settings.ServerKey with
    | Some key ->
        unless
            (isLong key)
            "ServerKey must have at least 32 bytes: make one with RandomNumberGenerator.GetBytes(32) and keep it secret."
    | None ->
        unless
            settings.FormerServerKeys.IsEmpty
            "FormerServerKeys without ServerKey: name the key that new sessions are hashed under as ServerKey."

    unless (List.forall isLong settings.FormerServerKeys) "FormerServerKeys must have at least 32 bytes each."

    found
