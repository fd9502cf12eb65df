/// Sessions that end inside a transaction of the application's: with its commit, or not at all.
namespace Session.Engine

open System
open System.Collections.Generic
open System.Data.Common
open System.Threading
open System.Threading.Tasks
open Session.Domain

/// Remembers the records that are written through it.
[<Sealed>]
type private Remembering(inner: ISessionStore, written: List<StoredRecord>) =
    inherit ForwardingStore(inner)

    override _.Replace(record, expected, cancel) =
        ValueTask<WriteResult>(
            task =
                task {
                    let! result = inner.Replace(record, expected, cancel)

                    if result = WriteResult.Written then
                        written.Add record

                    return result
                }
        )

/// Sessions that a transaction has ended. Everybody else sees it with the commit.
[<Sealed>]
type PendingEnds internal (count: int, written: IReadOnlyList<StoredRecord>, store: ISessionStore, tell: unit -> Task) =

    /// By what everybody sees. A tombstone of ours may have been written to since, or be removed.
    let isCommitted cancel =
        task {
            let mutable answer = ValueNone
            let mutable next = 0

            while answer.IsNone && next < written.Count do
                let ours = written[next]
                next <- next + 1

                match! store.Load(ours.Id, cancel) with
                | null -> ()
                | found when found.Operation = ours.Operation -> answer <- ValueSome true
                | found when found.Kind = RecordKind.Ended && found.Version > ours.Version -> ()
                | _ -> answer <- ValueSome false

            return ValueOption.defaultValue true answer
        }

    /// How many lived.
    member _.Count = count

    /// To be called after the commit: tells the application of the sessions that ended, once. False when the transaction
    /// was not committed: nobody has ended then, and nothing is told.
    member _.Complete(cancel: CancellationToken) : Task<bool> =
        task {
            let! isCommitted = isCommitted cancel

            if isCommitted then
                do! tell ()

            return isCommitted
        }

[<RequireQualifiedAccess>]
module internal Joining =
    // Another kind of transaction, another database, one that is over.
    let private isMistake (error: exn) =
        error :? ArgumentException || error :? InvalidOperationException || error :? NotSupportedException

    let private join (store: ISessionStore) transaction subject (unavailable: exn -> SessionError) cancel =
        task {
            try
                match store with
                | :? IJoinsTransaction as store ->
                    let! joined = store.Join(transaction, subject, cancel)
                    return Ok joined
                | :? MigratingStore -> return raise (NotSupportedException SessionStore.cannotJoinYet)
                | _ -> return raise (NotSupportedException SessionStore.cannotJoin)
            with error when not (isMistake error) ->
                return Error(unavailable error)
        }

    /// Ends every session of a subject but `except` inside the transaction. `within`: the operations on a store.
    let destroyAll
        (store: ISessionStore)
        (within: ISessionStore -> Errand -> Task<Result<int, SessionError>>)
        (errand: Errand)
        (unavailable: exn -> SessionError)
        (tellAll: Errand -> Task)
        (transaction: DbTransaction)
        (subject: string)
        (cancel: CancellationToken)
        : Task<Result<PendingEnds, SessionError>> =
        task {
            match! join store transaction subject unavailable cancel with
            | Error error -> return Error error
            | Ok joined ->
                let written = List<StoredRecord>()

                match! within (Remembering(joined, written)) errand with
                | Error error -> return Error error
                | Ok count -> return Ok(PendingEnds(count, written, store, (fun () -> tellAll errand)))
        }
