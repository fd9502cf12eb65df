/// Every knob, its default and its reason, and the sentences for the contradictions among them.
namespace Session.AspNetCore

open System
open System.Collections.Generic
open System.Text.Json.Nodes
open System.Threading.Tasks
open Microsoft.AspNetCore.Http
open Session.Domain
open Session.Engine

/// Why an operation on a session did not take place, or not whole. See `SessionError.outcome`.
type SessionError = Session.Engine.SessionError

/// What hears of one notice. Its services are a scope of their own, which ends when the task does.
type NoticeHandler = IServiceProvider -> Task

/// How sessions of one kind of data live and travel. (CLIMutable is for the options of C#, which change a copy of their own.)
[<CLIMutable; NoEquality; NoComparison>]
type SessionSettings =
    {
        /// Default: `__Host-sid`; with a Domain or another Path `__Secure-sid`; without Secure `sid`.
        CookieName: string option
        /// Default none: the cookie goes to this host only. With one, every sub-domain can read and overwrite it.
        CookieDomain: string option
        /// Default `/`.
        CookiePath: string
        /// Default Lax. None needs Secure (RFC 6265bis 5.6.7).
        SameSite: SameSiteMode
        /// Default Always, whatever the request looks like behind a proxy (ASVS 3.3.1).
        SecurePolicy: CookieSecurePolicy
        /// Default true; false is refused at start (ASVS 3.3.4).
        HttpOnly: bool
        /// Default false. For third-party contexts (CHIPS): needs Secure and SameSite=None. The cookie's name ends in `-p` then.
        Partitioned: bool
        /// Default none: the cookie ends with the browser. At most the absolute timeout, and that or at least RotateEvery and
        /// IdleTimeout together: renewals send it again.
        CookieMaxAge: TimeSpan option
        /// Default none: cookies only. The name of a request and response header that carries the token instead, for
        /// APIs and mobile clients. A request with both is a 400.
        HeaderName: string option
        /// Default none. Origins such as `https://app.example.com` whose pages may have the browser change sessions here. Other
        /// origins than the request's own may not, sub-domains included, by an unsafe method and the cookie (OWASP).
        TrustedOrigins: string list
        /// Default false: what another site had the browser send changes, begins and ends no session, and where it brings no
        /// token begins none by a GET either: the browser may hold one that it did not send (SameSite).
        AllowCrossSiteWrites: bool
        /// Default 30 minutes (ASVS 7.3.1).
        IdleTimeout: TimeSpan
        /// Default 8 hours (ASVS 7.3.2).
        AbsoluteTimeout: TimeSpan
        /// An anonymous session whose token never came back ends then. Default none: 10 minutes, or AbsoluteTimeout when that
        /// is shorter.
        ConfirmTimeout: TimeSpan option
        /// Default 15 minutes; None: a token is renewed by elevations only.
        RotateEvery: TimeSpan option
        /// Default 30 seconds: for requests in flight while a renewal is confirmed.
        RotationGrace: TimeSpan
        /// Default 1 hour: how long a session that ended is remembered as such.
        TombstoneRetention: TimeSpan
        /// Default: a token that is presented after its grace ends the session.
        OnReplay: OnReplay
        /// Default 65,536 bytes of serialized data.
        MaxDataBytes: int
        /// Default none.
        MaxSessionsPerSubject: int option
        /// Default: the oldest sign-in makes room.
        WhenLimitReached: LimitPolicy
        /// Default 1. Raise it with each change of the data's shape that old data does not fit, and say in Upcasters how
        /// to bring data of each version before to the next. Data of a newer version is left alone (503), so that old
        /// and new nodes can run side by side. JSON only.
        DataVersion: int
        /// From each version before DataVersion to the next.
        Upcasters: Map<int, JsonNode -> JsonNode>
        /// Default none; at least 32 bytes. Stored hashes are then worthless to whoever writes to the store.
        ServerKey: byte[] option
        /// Default none. Keys that still open sessions, and make no new hashes. To replace ServerKey in a fleet: first the
        /// new one here on every node, then change places, and remove the old one after AbsoluteTimeout.
        FormerServerKeys: byte[] list
        /// Default: 128 random bits. 1 to 64 of A-Z a-z 0-9 _ -. The secret is always ours.
        GenerateId: (HttpContext -> string) option
        /// Default 1 minute, give or take a fifth.
        SweepInterval: TimeSpan
        /// Default 30 seconds: how often the sessions that this node has connections open for are looked at in the store, 500 by
        /// one command. So long a connection outlives its session where no notice of the end comes through.
        LiveCheck: TimeSpan
        /// Default false: an open connection is no activity. True: while this node has a connection open for a session, and looks
        /// whether it has ended, IdleTimeout does not end it. AbsoluteTimeout does. Needs a LiveCheck of at most a quarter of
        /// IdleTimeout.
        ConnectionsExtendIdle: bool
        /// Default 5 seconds, at most 10 minutes: what one request waits for the store, all its operations together. Then it
        /// gets a 503. Each operation by itself waits so long in what goes on behind its answer (a WebSocket, a stream, a hub), and
        /// for each session a call without a request: after three that the store has left without an answer it tries no more.
        RequestTimeout: TimeSpan
        /// Default 5 seconds, at most 10 minutes: how long the handler of an event is waited for, of an end by time at least
        /// 30 seconds. It goes on by itself then.
        EventTimeout: TimeSpan
        /// Default false: 503 when the store is down. True: requests that only read go on without a session; what needs
        /// a session or a user is a 503 then as well.
        ContinueWithoutStore: bool
        /// Default false. Whether OnNotice has to hear of ends by time: a store that cannot find them is refused at start.
        HearsExpiry: bool
        /// What hears of this notice, which is stored already. Default none, which costs nothing. What a handler throws is
        /// logged, and changes nothing.
        OnNotice: Notice -> NoticeHandler option
    }

[<RequireQualifiedAccess>]
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
    let confirmTimeout settings =
        match settings.ConfirmTimeout with
        | Some timeout -> timeout
        | None -> min settings.AbsoluteTimeout (TimeSpan.FromMinutes 10L)

    let private plainName settings =
        match settings.CookieName with
        | Some name -> name
        | None when settings.SecurePolicy <> CookieSecurePolicy.Always -> "sid"
        | None when settings.CookieDomain.IsSome || settings.CookiePath <> "/" -> "__Secure-sid"
        | None -> "__Host-sid"

    let private partitionedName settings = String.Concat(plainName settings, "-p")

    /// The name that the cookie has. A partitioned one has another name than one that is not: a browser keeps both, and
    /// sends both.
    let cookieName settings = if settings.Partitioned then partitionedName settings else plainName settings

    /// The name that it had, or would have, with Partitioned switched the other way. A token under it still opens its
    /// session where none came under the name that counts.
    let formerCookieName settings = if settings.Partitioned then plainName settings else partitionedName settings

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
    let contradictions settings : IReadOnlyList<string> =
        let name = cookieName settings
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

        unless
            (not settings.Partitioned || isAlwaysSecure)
            "Partitioned needs Secure: set Cookie.SecurePolicy to Always."

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

            // A user who is active lets a renewal send the cookie again at the latest so long after it was sent.
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
            unless
                (isToken header)
                "HeaderName has a character that no header name may have: use letters, digits and -."

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

            unless
                (value <= tenYears)
                (String.Concat(name, " is longer than ten years: sessions have an end. Shorten it."))

        time "IdleTimeout" settings.IdleTimeout
        time "AbsoluteTimeout" settings.AbsoluteTimeout
        time "ConfirmTimeout" (confirmTimeout settings)
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
            (confirmTimeout settings <= settings.AbsoluteTimeout)
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

    /// What the engine is to know of them.
    let toEngine settings : EngineSettings =
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
    let toWaits settings : WaitLimits =
        { WaitLimits.Default with
            RequestTimeout = settings.RequestTimeout
            EventTimeout = settings.EventTimeout }
