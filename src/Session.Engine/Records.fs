/// A state as the record that a store keeps, and back: encoded, sealed or protected, with what a store has to know of it.
namespace Session.Engine

open System
open Microsoft.Extensions.Logging
open Session.Domain

[<RequireQualifiedAccess>]
module internal Event =
    /// Whether an event is worth a write by itself. The others follow from the clock, or come with a touch.
    let isStored event =
        match event with
        | WasSeen _
        | GraceEnded false -> false
        | _ -> true

    /// Everything but what a touch would store.
    let isNoTouch event =
        match event with
        | WasSeen _ -> false
        | _ -> true

    /// What must not come back when a node of the store is lost: an ended session, a token that an elevation killed. And
    /// what must not go: a sign-in, and the token of a renewal, which its client has in place of every other one.
    let mustLast event =
        match event with
        | WasDestroyed _
        | WasElevated _
        | WasSignedIn _
        | RenewalIssued _
        | WasCreated(_, Some _, _, _) -> true
        | WasCreated(_, None, _, _)
        | RenewalConfirmed _
        | WasReplayed _
        | HasExpired _
        | WasConfirmed
        | WasSeen _
        | WasWritten _
        | GraceEnded _
        | WasTold
        | WasLeft -> false

module internal Tombstone =

    /// What a tombstone keeps of a session: no secret opens it.
    let live subject data at : Live =
        { CreatedAt = at
          AuthenticatedAt = None
          LastSeen = at
          Subject = subject
          Data = data
          Revision = 1L
          Elevations = 0
          Secret = Unchecked.defaultof<SecretHash>
          SecretSince = at
          Superseded = [] }

[<Sealed>]
type internal Records(rules: Rules, settings: EngineSettings, log: ILogger) =

    let kindOf state =
        match state with
        | Created live when live.Subject.IsNone -> RecordKind.Unconfirmed
        | Created _
        | Active _
        | Regenerated _ -> RecordKind.Live
        | Destroyed _
        | Expired _
        | Absent -> RecordKind.Ended

    // Timeouts are no longer than ten years, and several are added up.
    let latest = (DateTimeOffset.MaxValue.AddYears -100).UtcTicks

    let unreadable (id: string) (reason: string) : Result<'a, SessionError> =
        EngineLog.recordUnreadable log null id reason
        Error(SessionError.Unreadable reason)

    let decode (record: StoredRecord) =
        match settings.Protector with
        | null -> Codec.decode record.Id record.Version record.Body
        | protector ->
            match protector.Unprotect(record.Body.ToArray()) with
            | null -> Error "not protected under a key of this application"
            | body -> Codec.decode record.Id record.Version (ReadOnlyMemory body)

    let encode id version state =
        let body = Codec.encode id version state

        match settings.Protector with
        | null -> body
        | protector -> protector.Protect body

    /// What every state but Absent has.
    static member AnyLive state =
        match state with
        | Created live
        | Active live
        | Regenerated(live, _)
        | Destroyed(live, _, _)
        | Expired(live, _, _, _) -> live
        | Absent -> invalidOp "There is no record of an absent session."

    static member Absent(id: string) : Snapshot =
        { Id = id
          Version = 0L
          Operation = 0L
          State = Absent
          StoredLastSeen = DateTimeOffset.MinValue
          IsOpen = true
          Wraps = []
          Record = null }

    /// The record as a snapshot, with its data as far as the keys open it; absent when there is none. An unreadable record
    /// opens nothing, and stays as it is.
    member _.Read(id: string, record: StoredRecord | null, keys: BearerKeys | null) : Result<Snapshot, SessionError> =
        match record with
        | null -> Ok(Records.Absent id)
        | record ->
            match decode record with
            | Error reason -> unreadable id reason
            // Nobody of ours writes that, and no deadline can be counted from it. What is over has none any more.
            | Ok state when record.LastSeen.UtcTicks > latest && (Lifecycle.living state).IsSome ->
                unreadable id "last seen at no possible time"
            | Ok state ->
                let struct (state, wraps, isOpen) =
                    match Lifecycle.living state with
                    | _ when not settings.SealsToBearer -> struct (state, [], true)
                    | ValueSome live -> Bearer.openState record.Id record.Version keys live.Data state
                    | ValueNone -> struct (Bearer.withData [||] state, [], true)

                Ok
                    { Id = record.Id
                      Version = record.Version
                      Operation = record.Operation
                      State =
                        match Lifecycle.living state with
                        | ValueSome live when live.LastSeen.UtcTicks >= record.LastSeen.UtcTicks -> state
                        | _ -> Lifecycle.evolve state (WasSeen record.LastSeen)
                      StoredLastSeen = record.LastSeen
                      IsOpen = isOpen
                      Wraps = wraps
                      Record = record }

    /// The session as it is once this state is stored in place of the one before, and its record. `hold`: nobody needs to
    /// look at it for so long.
    member _.Write
        (
            before: Snapshot,
            state: State,
            events: Event list,
            at: DateTimeOffset,
            operation: int64,
            keys: BearerKeys | null,
            hold: TimeSpan
        ) : Snapshot =
        let version = before.Version + 1L

        let struct (stored, wraps) =
            match keys, Lifecycle.living state with
            | null, _
            | _, ValueNone -> struct (state, [])
            | keys, ValueSome live -> Bearer.sealState before.Id version keys before.Wraps live.Data state

        let due, notBefore = Rules.due rules state, at + hold
        let live = Records.AnyLive state

        let record =
            StoredRecord(
                before.Id,
                version,
                kindOf state,
                live.LastSeen,
                (if due.UtcTicks < notBefore.UtcTicks then notBefore else due),
                Option.toObj live.Subject,
                operation,
                encode before.Id version stored,
                List.exists Event.mustLast events
            )

        let record =
            match before.Record with
            | null -> record
            | basis -> record.BasedOn basis.Head

        { before with
            Version = version
            Operation = operation
            State = state
            StoredLastSeen = record.LastSeen
            IsOpen = true
            Wraps = wraps
            Record = record }

    /// A tombstone in place of a record that cannot be read here: an end needs nothing of what is in it.
    member _.Tombstone(record: StoredRecord, reason: DestroyReason, now: DateTimeOffset) : StoredRecord =
        let live = Tombstone.live (Option.ofObj record.Subject) [||] record.LastSeen
        let state, version = Destroyed(live, reason, now), record.Version + 1L

        StoredRecord(
            record.Id,
            version,
            RecordKind.Ended,
            record.LastSeen,
            Rules.due rules state,
            record.Subject,
            Random.Shared.NextInt64(),
            encode record.Id version state,
            true
        )

    /// A record that is no session: a few bytes under a name of ours, until then. A tombstone to whoever does not know better.
    member _.Note
        (
            id: string,
            version: int64,
            subject: string option,
            data: byte[],
            until: DateTimeOffset,
            now: DateTimeOffset,
            operation: int64
        ) : StoredRecord =
        let live = Tombstone.live subject data now
        let state = Destroyed(live, Revoked, until - settings.Policy.Retention)
        let body = encode id version state
        StoredRecord(id, version, RecordKind.Ended, now, until, Option.toObj subject, operation, body, true)

    /// The bytes of such a record.
    member _.NoteData(record: StoredRecord) : Result<byte[], SessionError> =
        match decode record with
        | Error reason -> unreadable record.Id reason
        | Ok(Destroyed(live, _, _)) -> Ok live.Data
        | Ok _ -> Ok [||]
