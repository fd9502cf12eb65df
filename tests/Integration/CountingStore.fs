/// A store that counts the calls of another one by verb, and fails on demand.
namespace Integration

open System.Collections.Concurrent
open System.IO
open Session.Engine

[<Sealed>]
type CountingStore(inner: ISessionStore) =
    inherit ForwardingStore(inner)
    let counts = ConcurrentDictionary<string, int>()
    let failing = ConcurrentDictionary<string, bool>()

    let call verb =
        counts.AddOrUpdate(verb, 1, (fun _ n -> n + 1)) |> ignore

        if failing.ContainsKey verb then
            raise (IOException("The test has taken the store down: " + verb))

    let verbs =
        [ "Insert"
          "Load"
          "Replace"
          "Touch"
          "Remove"
          "BySubject"
          "Enumerate"
          "Count"
          "ClaimOverdue"
          "Reschedule" ]

    member _.Counts =
        [ for verb in verbs do
              match counts.TryGetValue verb with
              | true, n -> verb, n
              | _ -> () ]

    member _.Reset() = counts.Clear()

    member _.Fail(names: string list) =
        for name in names do
            failing[name] <- true

    member store.FailAll() = store.Fail verbs
    member _.Heal() = failing.Clear()

    override _.Insert(record, cancel) =
        call "Insert"
        inner.Insert(record, cancel)

    override _.Load(id, cancel) =
        call "Load"
        inner.Load(id, cancel)

    override _.Replace(record, expected, cancel) =
        call "Replace"
        inner.Replace(record, expected, cancel)

    override _.Touch(id, at, cancel) =
        call "Touch"
        inner.Touch(id, at, cancel)

    override _.Remove(id, cancel) =
        call "Remove"
        inner.Remove(id, cancel)

    /// Counts, and fails, as a removal.
    override _.RemoveVersion(id, version, operation, cancel) =
        call "Remove"
        base.RemoveVersion(id, version, operation, cancel)

    override _.BySubject(subject, after, limit, cancel) =
        call "BySubject"
        inner.BySubject(subject, after, limit, cancel)

    override _.Enumerate(after, limit, cancel) =
        call "Enumerate"
        inner.Enumerate(after, limit, cancel)

    override _.Count cancel =
        call "Count"
        inner.Count cancel

    override _.ClaimOverdue(now, lease, limit, cancel) =
        call "ClaimOverdue"
        inner.ClaimOverdue(now, lease, limit, cancel)

    override _.Reschedule(id, version, dueAt, cancel) =
        call "Reschedule"
        inner.Reschedule(id, version, dueAt, cancel)
