/// Sessions that an identity provider began, and may end. It knows them by names of its own: two small records beside a session,
/// its links, lead from the provider's session and from its user to ours, by the index of subjects.
///
/// A sign-in is stored, leaves its links, and looks for a mark of a logout then. A logout leaves its mark, and looks for links
/// then. Whoever comes second sees the other: a session that a logout has not found ends itself, and its token goes to nobody.
/// To stores, to sweepers and to versions that know nothing of them, links and marks are tombstones whose time will come.
namespace Session.Engine

open System
open System.Collections.Generic
open System.Security.Cryptography
open System.Text
open System.Threading
open System.Threading.Tasks
open Session.Domain

/// The session at an identity provider that somebody signs in with (OpenID Connect): what a logout there names.
[<Sealed>]
type ExternalSession(issuer: string, sessionId: string | null, subject: string | null) =
    do ArgumentException.ThrowIfNullOrEmpty(issuer, nameof issuer)

    /// Of somebody who has the same name there as here.
    new(issuer, sessionId) = ExternalSession(issuer, sessionId, null)

    /// The provider: the claim `iss`.
    member _.Issuer = issuer
    /// Its session: the claim `sid`. Null where it names none: only a logout of its user ends sessions here then.
    member _.SessionId = sessionId
    /// Its user: the claim `sub`. Null: the subject of the sign-in.
    member _.Subject = subject

    /// `("https://id.example.com", sid)`.
    static member op_Implicit(struct (issuer: string, sessionId: string | null)) = ExternalSession(issuer, sessionId)

/// What a provider says in a logout token, once it is known to be one.
[<NoEquality; NoComparison>]
type internal ExternalLogout =
    {
        Issuer: string
        /// None: of all sessions of the user.
        SessionId: string option
        Subject: string option
        TokenId: string
        /// From when on the token is refused for its age.
        TokenUntil: DateTimeOffset
    }

[<RequireQualifiedAccess; NoEquality; NoComparison>]
type internal LogoutReply =
    | Ended of int
    /// The token has done its work before.
    | Repeated

/// What a name of the provider's leads to.
[<Struct; NoEquality; NoComparison>]
type internal Tie =
    {
        Kind: string
        Key: string
        /// A provider begins no second session under the name of one that is over. Its user may sign in again at once.
        IsOnce: bool
    }

[<RequireQualifiedAccess>]
module internal Tie =
    let private name (parts: string list) =
        use hash = IncrementalHash.CreateHash HashAlgorithmName.SHA256

        for part in parts do
            let bytes = Encoding.UTF8.GetBytes part
            hash.AppendData(BitConverter.GetBytes bytes.Length)
            hash.AppendData bytes

        "external-" + Buffers.Text.Base64Url.EncodeToString(hash.GetHashAndReset())

    [<Literal>]
    let private Sid = "sid"

    [<Literal>]
    let private Sub = "sub"

    let private linkOf kind (session: string) = name [ "link"; kind; session ]

    let ofSession issuer sid = { Kind = Sid; Key = name [ Sid; issuer; sid ]; IsOnce = true }
    let ofUser issuer sub = { Kind = Sub; Key = name [ Sub; issuer; sub ]; IsOnce = false }
    let mark (tie: Tie) = name [ "mark"; tie.Key ]
    let link (tie: Tie) (session: string) = linkOf tie.Kind session

    /// All that a session may have.
    let linksOf (session: string) = [| linkOf Sid session; linkOf Sub session |]

    let token issuer (id: string) = name [ "jti"; issuer; id ]

    /// What a link says: which session, and whose it was at the sign-in.
    let write (session: string) (subject: string) : byte[] =
        Array.concat
            [ [| byte session.Length |]
              Encoding.ASCII.GetBytes session
              Encoding.UTF8.GetBytes subject ]

    let read (bytes: byte[]) : struct (string * string) voption =
        if bytes.Length < 2 || bytes.Length < 1 + int bytes[0] then
            ValueNone
        else
            let length = int bytes[0]
            let session = Encoding.ASCII.GetString(bytes, 1, length)
            let subject = Encoding.UTF8.GetString(bytes, 1 + length, bytes.Length - 1 - length)
            if Token.isValidId session then ValueSome(struct (session, subject)) else ValueNone

/// What a sign-in under way has seen of logouts before.
[<NoEquality; NoComparison>]
type internal ExternalSignIn =
    private
        { Ties: Tie list
          Subject: string
          Seen: Dictionary<string, int64> }

[<Sealed>]
type internal Externals(access: StoreAccess, limits: Limits, subjects: Subjects, settings: EngineSettings) =
    let store = access.Store
    let none = CancellationToken.None
    let pageSize = 200

    // Somebody may look at a form of ours between their sign-in there and their sign-in here.
    let markedFor = TimeSpan.FromDays 1

    let failed (error: exn) =
        match error with
        | :? NotSupportedException -> raise error
        | error -> access.NotLoaded(error, none)

    /// Stored in place of whatever is there.
    let put (store: ISessionStore) (id: string) (subject: string option) data (until: DateTimeOffset) (errand: Errand) =
        let write (found: StoredRecord | null) =
            let note (version: int64) =
                access.Records.Note(id, version, subject, data, until, access.Now, access.NewOperation())

            match found with
            | null -> store.Insert(note 1L, none)
            | found -> store.Replace((note (found.Version + 1L)).BasedOn found.Head, found.Version, none)

        // `isUnsure`: the store has said nothing of one of our writes, which may be stored whatever comes now.
        let told isUnsure error =
            match error with
            | SessionError.Unavailable failure when isUnsure -> SessionError.Unsure failure
            | SessionError.Contended when isUnsure -> SessionError.Unsure Protocol.silence
            | error -> error

        let rec from (found: StoredRecord | null) attempt isUnsure : Task<Result<unit, SessionError>> =
            task {
                match! access.Try((fun () -> write found), errand) with
                | Error(:? NotSupportedException as error) -> return raise error
                | Error error -> return Error(told isUnsure (access.NotStored error))
                | Ok WriteResult.Written ->
                    access.WasStored()
                    return Ok()
                | Ok WriteResult.Unacknowledged -> return Error(SessionError.Unacknowledged Protocol.tooNarrow)
                | Ok answer ->
                    let isUnsure = isUnsure || answer = WriteResult.Unknown

                    if attempt >= 16 then
                        return Error(told isUnsure SessionError.Contended)
                    else
                        match! access.Try((fun () -> store.Load(id, none)), errand) with
                        | Error error -> return Error(told isUnsure (failed error))
                        | Ok found -> return! from found (attempt + 1) isUnsure
            }

        from null 1 false

    /// What says nothing but that it is there. Nodes that do not know of a move look into the former store alone.
    let rec putMark (places: ISessionStore list) (id: string) (until: DateTimeOffset) (errand: Errand) =
        task {
            match places with
            | [] -> return Ok()
            | place :: rest ->
                match! put place id None [||] until errand with
                | Ok() -> return! putMark rest id until errand
                | Error error -> return Error error
        }

    /// The marks that there are: of each the write that left it.
    let marks (ties: Tie list) (errand: Errand) : Task<Result<Dictionary<string, int64>, SessionError>> =
        task {
            try
                let ids = [| for tie in ties -> Tie.mark tie |]
                let! records = errand.Await(SessionStore.loadMany store ids none)
                let found = Dictionary<string, int64>(StringComparer.Ordinal)

                for record in records do
                    found[record.Id] <- record.Operation

                return Ok found
            with error ->
                return Error(failed error)
        }

    /// A logout is known of that came while they signed in, or that ended the very session they sign in with.
    let isOver (signIn: ExternalSignIn) (found: Dictionary<string, int64>) =
        signIn.Ties
        |> List.exists (fun tie ->
            match found.TryGetValue(Tie.mark tie), signIn.Seen.TryGetValue(Tie.mark tie) with
            | (false, _), _ -> false
            | (true, _), _ when tie.IsOnce -> true
            | (true, left), (true, before) -> left <> before
            | (true, _), (false, _) -> true)

    let rec leaveLinks (signIn: ExternalSignIn) (ties: Tie list) (session: string) errand =
        task {
            match ties with
            | [] -> return Ok()
            | tie :: rest ->
                // The absolute timeout begins with the sign-in, which is stored; clocks differ.
                let until = access.Now + settings.Policy.Absolute + TimeSpan.FromHours 1
                let data = Tie.write session signIn.Subject

                match! put store (Tie.link tie session) (Some tie.Key) data until errand with
                | Ok() -> return! leaveLinks signIn rest session errand
                | Error error -> return Error error
        }

    let causeOf error : exn =
        match error with
        | SessionError.Unavailable cause
        | SessionError.Unsure cause
        | SessionError.Unacknowledged cause -> cause
        | _ -> TimeoutException "The session could not be tied to that of its identity provider."

    /// Nobody gets its token, so nobody opens it, even where its end fails.
    let takeBack (signIn: ExternalSignIn) (session: string) error errand : Task<SessionError> =
        task {
            match! limits.EndOf(Some signIn.Subject, session, Revoked, errand, none) with
            | Ok _ -> return error
            | Error failure -> return SessionError.Unacknowledged(causeOf failure)
        }

    let endLinked (link: StoredRecord) (errand: Errand) : Task<Result<bool, SessionError>> =
        task {
            match access.Records.NoteData link |> Result.map Tie.read with
            | Error error -> return Error error
            | Ok ValueNone -> return Ok false
            | Ok(ValueSome(struct (session, subject))) ->
                errand.Renew()
                let! ended = subjects.EndOf(subject, session, Revoked, errand)

                if ended.IsOk then
                    try
                        // Its work is done. One that is left is a load more at the next logout, until its time has come.
                        do! (SessionStore.removeVersion store link none).AsTask()
                    with error ->
                        access.NotLoaded(error, none) |> ignore<SessionError>

                return ended
        }

    let endAll (tie: Tie) (errand: Errand) : Task<Result<int, SessionError>> =
        task {
            let mutable tally = Tally.Zero

            try
                let mutable after: string | null = null
                let mutable more = true

                while more do
                    errand.Renew()
                    let! page = errand.Await(store.BySubject(tie.Key, after, pageSize, none))

                    for link in page.Records do
                        // A session of somebody who took such a name for their own is none.
                        if link.Kind = RecordKind.Ended && not tally.MayTry then
                            tally <- tally.WithOneLeft
                        elif link.Kind = RecordKind.Ended then
                            let! ended = endLinked link errand
                            tally <- tally.With ended

                    more <- not (isNull page.Next) && page.Next <> after && tally.MayTry
                    after <- page.Next

                return tally.Answer
            with error ->
                return tally.StoppedBy(failed error)
        }

    /// Before the sign-in is stored: what it will be compared with.
    member private _.Begin
        (external: ExternalSession, subject: string, errand)
        : Task<Result<ExternalSignIn, SessionError>> =
        let user = Tie.ofUser external.Issuer (external.Subject |> Option.ofObj |> Option.defaultValue subject)

        let ties =
            match external.SessionId with
            | null
            | "" -> [ user ]
            | sid -> [ Tie.ofSession external.Issuer sid; user ]

        task {
            let! found = marks ties errand

            return found |> Result.map (fun found -> { Ties = ties; Subject = subject; Seen = found })
        }

    /// Once it is stored and before its token goes out: a sign-in that no logout will find, or that one has ended, ends again.
    member private _.Confirm(signIn: ExternalSignIn, reply: Reply<Opened>, errand: Errand) : Task<Reply<Opened>> =
        let confirm (opened: Opened) =
            task {
                let session = opened.Snapshot.Id

                let! found =
                    task {
                        match! leaveLinks signIn signIn.Ties session errand with
                        | Error error -> return Error(SessionError.Unacknowledged(causeOf error))
                        | Ok() ->
                            match! marks signIn.Ties errand with
                            | Error error -> return Error(SessionError.Unacknowledged(causeOf error))
                            | Ok found when isOver signIn found ->
                                return Error(SessionError.Ended(OnPurpose Revoked, access.Now))
                            | Ok _ -> return Ok()
                    }

                match found with
                | Ok() -> return reply
                | Error error ->
                    let! error = takeBack signIn session error errand
                    return Reply.Failed error
            }

        match reply with
        | Reply.Done opened
        | Reply.Partly(opened, _) -> confirm opened
        | Reply.Failed _ -> Task.FromResult reply

    /// A sign-in that is to be tied to a provider's session, with what is known of logouts before it; null: as it is.
    member externals.Tied
        (
            external: ExternalSession | null,
            subject: string,
            errand: Errand,
            signIn: ExternalSignIn voption -> Task<Result<'a, SessionError>>
        ) : Task<Result<'a, SessionError>> =
        match external with
        | null -> signIn ValueNone
        | external ->
            task {
                match! externals.Begin(external, subject, errand) with
                | Ok tie -> return! signIn (ValueSome tie)
                | Error error -> return Error error
            }

    /// What the store took of such a sign-in, as far as it stands.
    member externals.Confirmed(tie: ExternalSignIn voption, signingIn: Task<Reply<Opened>>, errand) =
        match tie with
        | ValueNone -> signingIn
        | ValueSome tie ->
            task {
                let! reply = signingIn
                return! externals.Confirm(tie, reply, errand)
            }

    /// Ends what the provider names, and says how many sessions that were. Once it returns Ok no node opens one of them.
    member _.End(logout: ExternalLogout, errand: Errand) : Task<Result<LogoutReply, SessionError>> =
        let tie =
            match logout.SessionId, logout.Subject with
            | Some sid, _ -> Tie.ofSession logout.Issuer sid
            | None, Some sub -> Tie.ofUser logout.Issuer sub
            | None, None -> invalidArg (nameof logout) "A logout names a session or a user."

        let token = Tie.token logout.Issuer logout.TokenId

        task {
            try
                match! errand.Await(store.Load(token, none)) with
                | null ->
                    match! putMark access.Everywhere (Tie.mark tie) (access.Now + markedFor) errand with
                    | Error error -> return Error error
                    | Ok() ->
                        match! endAll tie errand with
                        | Error error -> return Error error
                        | Ok count ->
                            // Not before: the same token may come again until it has done its work.
                            errand.Renew()

                            match! putMark access.Everywhere token logout.TokenUntil errand with
                            | Ok() -> return Ok(LogoutReply.Ended count)
                            | Error error -> return Error error
                | _ -> return Ok LogoutReply.Repeated
            with error ->
                return Error(failed error)
        }
