/// Two stores, and nodes that move sessions between them, each of which can be stopped or held up at each of its calls.
module Properties.MigrationWorld

open System
open System.Collections.Generic
open System.Threading
open System.Threading.Tasks
open Expecto
open Session.Domain
open Session.Engine

let none = CancellationToken.None

let t0 = DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero)

let at (n: int) = t0.AddMinutes n

let recordOf id version kind subject due =
    StoredRecord(id, version, kind, t0, at due, subject, Random.Shared.NextInt64(), ReadOnlyMemory [| byte version |])

let live id version = recordOf id version RecordKind.Live "ada" 30

let ended id version = recordOf id version RecordKind.Ended "ada" 90

/// One that has to last, as a renewal has.
let lasting id version =
    let record = live id version

    StoredRecord(
        id,
        version,
        record.Kind,
        record.LastSeen,
        record.DueAt,
        record.Subject,
        record.Operation,
        record.Body,
        true
    )

exception NodeDied

/// What befalls a node at its call number `Place`, counted over both stores.
type Mishap =
    /// It dies before the call is sent.
    | DiesBefore
    /// It dies before the answer comes.
    | DiesAfter
    /// The call takes effect, and the answer is lost.
    | AnswerLost
    /// The call gets lost, and so does the answer.
    | CallLost
    /// It sleeps, until it is woken.
    | Sleeps
    /// It sleeps, is woken, makes this one call and dies.
    | SleepsAndDies

/// One node's way to both stores.
type Node(place: int, mishap: Mishap) =
    let mutable calls = 0
    let mutable dead = false
    let asleep = TaskCompletionSource()
    let woken = TaskCompletionSource()
    new() = Node(-1, Sleeps)
    member _.Calls = calls
    /// Another node that meets the same mishap.
    member _.Again() = Node(place, mishap)
    /// Done when the node has fallen asleep.
    member _.Asleep: Task = asleep.Task
    member _.Wake() = woken.SetResult()

    member private _.Call(send: unit -> ValueTask<'a>, unknown: 'a voption) : Task<'a> =
        task {
            if dead then
                raise NodeDied

            let isPlace = calls = place
            calls <- calls + 1

            match mishap, unknown with
            | _ when not isPlace -> return! send ()
            | Sleeps, _ ->
                asleep.SetResult()
                do! woken.Task
                return! send ()
            | SleepsAndDies, _ ->
                dead <- true
                asleep.SetResult()
                do! woken.Task
                let! _ = send ()
                return raise NodeDied
            | AnswerLost, ValueSome answer ->
                let! _ = send ()
                return answer
            | CallLost, ValueSome answer -> return answer
            | DiesAfter, _ ->
                dead <- true
                let! _ = send ()
                return raise NodeDied
            | DiesBefore, _
            | AnswerLost, _
            | CallLost, _ ->
                dead <- true
                return raise NodeDied
        }

    member private node.Do(send: unit -> ValueTask) =
        ValueTask(
            task =
                task {
                    let send () =
                        ValueTask<unit>(
                            task =
                                task {
                                    do! send ()
                                    return ()
                                }
                        )

                    do! node.Call(send, ValueNone)
                }
        )

    member node.To(inner: ISessionStore) =
        let read send = ValueTask<_>(task = node.Call(send, ValueNone))
        let write send = ValueTask<_>(task = node.Call(send, ValueSome WriteResult.Unknown))

        { new ISessionStore with
            member _.Prepare cancel = inner.Prepare cancel
            member _.Insert(record, cancel) = write (fun () -> inner.Insert(record, cancel))
            member _.Load(id, cancel) = read (fun () -> inner.Load(id, cancel))
            member _.Replace(record, expected, cancel) = write (fun () -> inner.Replace(record, expected, cancel))
            member _.Touch(id, at, cancel) = node.Do(fun () -> inner.Touch(id, at, cancel))
            member _.Remove(id, cancel) = node.Do(fun () -> inner.Remove(id, cancel))

            member _.BySubject(subject, after, limit, cancel) =
                read (fun () -> inner.BySubject(subject, after, limit, cancel))

            member _.Enumerate(after, limit, cancel) = read (fun () -> inner.Enumerate(after, limit, cancel))
            member _.Count cancel = read (fun () -> inner.Count cancel)

            member _.ClaimOverdue(now, lease, limit, cancel) =
                read (fun () -> inner.ClaimOverdue(now, lease, limit, cancel))

            member _.Reschedule(id, version, dueAt, cancel) =
                node.Do(fun () -> inner.Reschedule(id, version, dueAt, cancel)) }

/// Two stores, and the nodes between them.
type Place() =
    member val Old = MemoryStore() :> ISessionStore
    member val New = MemoryStore() :> ISessionStore
    member place.Through(node: Node) = MigratingStore(node.To place.New, node.To place.Old) :> ISessionStore
    /// A node that nothing befalls.
    member place.Store = MigratingStore(place.New, place.Old) :> ISessionStore

let load (store: ISessionStore) id =
    task {
        let! found = store.Load(id, none)
        return Option.ofObj found
    }

let show (record: StoredRecord option) =
    match record with
    | None -> "nothing"
    | Some record -> $"v{record.Version} {record.Kind}"

/// All that a listing holds, page by page.
let listed (limit: int) (read: string | null -> ValueTask<StoredPage>) =
    task {
        let found = List<string>()
        let mutable after: string | null = null
        let mutable more = true

        while more do
            let! page = read after

            if page.Records.Count > limit then
                failtestf "%d on a page of %d" page.Records.Count limit

            for record in page.Records do
                if record.Version < 1L then
                    failtestf "a placeholder is listed: %s" record.Id

                found.Add record.Id

            after <- page.Next
            more <- not (isNull after)

        return List.ofSeq found
    }

let bySubject limit (store: ISessionStore) = listed limit (fun after -> store.BySubject("ada", after, limit, none))

let enumerate limit (store: ISessionStore) = listed limit (fun after -> store.Enumerate(after, limit, none))

let private withVersion version (record: StoredRecord) =
    StoredRecord(
        record.Id,
        version,
        record.Kind,
        record.LastSeen,
        record.DueAt,
        record.Subject,
        record.Operation,
        record.Body
    )

let placeholder = StoredRecord("a", -77L, RecordKind.Ended, t0, at 30, null, 1L, ReadOnlyMemory [| 0uy |])

/// What movers that were stopped can have left of a session at version 1.
let beginnings =
    let place (old: StoredRecord list) (current: StoredRecord list) =
        fun () ->
            task {
                let place = Place()

                for record in old do
                    let! _ = place.Old.Insert(record, none)
                    ()

                for record in current do
                    let! _ = place.New.Insert(record, none)
                    ()

                return place
            }

    let first = live "a" 1L
    let fenced = withVersion -1L first

    [ "as it was", place [ first ] []
      "staged", place [ first ] [ placeholder ]
      "fenced", place [ fenced ] []
      "fenced and staged", place [ fenced ] [ placeholder ]
      "copied", place [ fenced ] [ first ] ]

/// What a client does; true when it was told that it took effect.
let replace (record: StoredRecord) (store: ISessionStore) =
    task {
        let! answer = store.Replace(record, record.Version - 1L, none)
        return answer = WriteResult.Written
    }

let remove id (store: ISessionStore) =
    task {
        do! store.Remove(id, none)
        return true
    }

let operations: (string * (ISessionStore -> Task<bool>)) list =
    [ "write", replace (live "a" 2L)
      "logout", replace (ended "a" 2L)
      "remove", remove "a"
      "touch",
      (fun store ->
          task {
              do! store.Touch("a", at 1, none)
              return true
          })
      "insert",
      (fun store ->
          task {
              let! answer = store.Insert(live "a" 1L, none)
              Expect.notEqual answer WriteResult.Written "the id is taken"
              return false
          })
      "sweep",
      (fun store ->
          task {
              let! claimed = store.ClaimOverdue(at 60, TimeSpan.FromMinutes 2L, 10, none)

              for record in claimed do
                  do! store.Reschedule(record.Id, record.Version, at 61, none)

              return true
          }) ]

/// Every place of an operation, with each mishap: until a node gets through without it.
let everywhere mishaps (attempt: Node -> string -> Task<unit>) =
    task {
        let mutable tried = 0

        for mishap in mishaps do
            let mutable place = 0
            let mutable more = true

            while more do
                let node = Node(place, mishap)
                do! attempt node $"{mishap} at call {place}"
                tried <- tried + 1
                more <- node.Calls > place
                place <- place + 1

        return tried
    }

let deaths = [ DiesBefore; DiesAfter; AnswerLost; CallLost ]

/// Runs until it is done, or the node has died. None: nobody was told anything.
let run (operation: ISessionStore -> Task<bool>) store =
    task {
        try
            let! told = operation store
            return Some told
        with
        | NodeDied
        | :? StoreRefusedException -> return None
    }

/// What is said by the exception that a call ends with; "" where it ends without one of this kind.
let refusal<'error when 'error :> exn> (call: unit -> Task) : Task<string> =
    task {
        try
            do! call ()
            return ""
        with :? 'error as error ->
            return error.Message
    }

/// The session ends, is acknowledged as ended, and stays so: also when the target's own janitor clears it away.
let endsForGood (place: Place) why =
    task {
        match! load place.Store "a" with
        | None -> ()
        | Some found ->
            if found.Kind <> RecordKind.Ended then
                let! told = replace (ended "a" (found.Version + 1L)) place.Store
                Expect.isTrue told $"{why}: the next node signs out"

            let! found = load place.Store "a"
            Expect.equal (found.Value.Kind) RecordKind.Ended $"{why}: it is over"

            if found.Value.Version > 1L then
                do! place.New.Remove("a", none)
                let! found = load place.Store "a"
                Expect.isNone found $"{why}: and stays so without its tombstone"
    }

/// What others do while a node sleeps.
let meanwhile: (string * (Place -> Task<unit>)) list =
    let signOut (place: Place) =
        task {
            let! found = load place.Store "a"

            match found with
            | Some found when found.Kind <> RecordKind.Ended ->
                let! told = replace (ended "a" (found.Version + 1L)) place.Store
                Expect.isTrue told "signed out"
            | _ -> ()
        }

    [ "a logout", signOut
      "a logout, and the end of its tombstone",
      (fun place ->
          task {
              do! signOut place
              do! place.Store.Remove("a", none)
          })
      "a logout, and the target's janitor",
      (fun place ->
          task {
              do! signOut place
              do! place.New.Remove("a", none)
          })
      "a write",
      (fun place ->
          task {
              let! _ = replace (live "a" 2L) place.Store
              ()
          }) ]
