/// Sessions in a distributed cache: what it keeps, what it says that it cannot, and what it refuses.
module Integration.DistributedCache

open System
open System.Buffers
open System.Collections.Concurrent
open System.Threading
open System.Threading.Tasks
open Expecto
open Microsoft.Extensions.Caching.Distributed
open Microsoft.Extensions.Caching.Memory
open Microsoft.Extensions.DependencyInjection
open Microsoft.Extensions.Options
open Integration.App
open Integration.Http
open Integration.World
open Session.CSharp
open Session.Domain
open Session.Engine
open Session.Stores.DistributedCache
open Session.Stores.Testing

let private none = CancellationToken.None
let private memoryCache () = MemoryDistributedCache(Options.Create(MemoryDistributedCacheOptions()))

/// A cache behind a wire: it answers later, keeps what it was told about expiry, and can be held up.
type private WireCache(inner: IDistributedCache) =
    let expiries = ConcurrentDictionary<string, TimeSpan>()
    /// Called before a verb is carried out.
    member val Before: string -> Task = (fun _ -> Task.CompletedTask) with get, set
    member _.Expiries = expiries
    member _.Inner = inner

    member wire.Answer(verb: string, send: unit -> Task<'a>) =
        task {
            do! Task.Yield()
            do! wire.Before verb
            return! send ()
        }

    member _.Note(key, options: DistributedCacheEntryOptions) =
        if options.SlidingExpiration.HasValue || options.AbsoluteExpiration.HasValue then
            failtest "only a time from now on"

        expiries[key] <- options.AbsoluteExpirationRelativeToNow.Value

    interface IDistributedCache with
        member _.Get _ = failtest "blocks"
        member _.Set(_: string, _: byte array, _: DistributedCacheEntryOptions) : unit = failtest "blocks"
        member _.Refresh _ = failtest "never refreshed"
        member _.RefreshAsync(_, _) = failtest "never refreshed"
        member _.Remove _ = failtest "blocks"
        member wire.GetAsync(key, cancel) = wire.Answer("get", (fun () -> inner.GetAsync(key, cancel)))

        member wire.SetAsync(key, value, options, cancel) =
            wire.Note(key, options)

            wire.Answer(
                "set",
                fun () ->
                    task {
                        do! inner.SetAsync(key, Array.copy value, options, cancel)
                        return ()
                    }
            )

        member wire.RemoveAsync(key, cancel) =
            wire.Answer(
                "remove",
                fun () ->
                    task {
                        do! inner.RemoveAsync(key, cancel)
                        return ()
                    }
            )

/// Looks at no token: what was asked is answered, whoever has gone meanwhile.
type private DeafCache(inner: IDistributedCache) =
    interface IDistributedCache with
        member _.Get key = inner.Get key
        member _.Set(key, value, options) = inner.Set(key, value, options)
        member _.Refresh key = inner.Refresh key
        member _.RefreshAsync(key, _) = inner.RefreshAsync(key, none)
        member _.Remove key = inner.Remove key
        member _.GetAsync(key, _) = inner.GetAsync(key, none)
        member _.SetAsync(key, value, options, _) = inner.SetAsync(key, value, options, none)
        member _.RemoveAsync(key, _) = inner.RemoveAsync(key, none)

/// Drops what does not fit, and says nothing.
let private fullCache () = MemoryDistributedCache(Options.Create(MemoryDistributedCacheOptions(SizeLimit = 4000L)))

/// A cache with buffers; its arrays are not to be used.
type private BufferCache() =
    let inner = memoryCache () :> IDistributedCache

    interface IDistributedCache with
        member _.Get _ = failtest "blocks"
        member _.Set(_, _, _) = failtest "blocks"
        member _.Refresh _ = failtest "never refreshed"
        member _.RefreshAsync(_, _) = failtest "never refreshed"
        member _.Remove _ = failtest "blocks"
        member _.GetAsync(_, _) = failtest "copies"

        member _.SetAsync(_: string, _: byte array, _: DistributedCacheEntryOptions, _: CancellationToken) : Task =
            failtest "copies"

        member _.RemoveAsync(key, cancel) = inner.RemoveAsync(key, cancel)

    interface IBufferDistributedCache with
        member _.TryGet(_, _) = failtest "blocks"
        member _.Set(_: string, _: ReadOnlySequence<byte>, _: DistributedCacheEntryOptions) : unit = failtest "blocks"

        member _.TryGetAsync(key, destination, cancel) =
            ValueTask<bool>(
                task =
                    task {
                        match! inner.GetAsync(key, cancel) with
                        | null -> return false
                        | value ->
                            // In pieces, as it comes from a wire.
                            for piece in Array.chunkBySize 100 value do
                                destination.Write(ReadOnlySpan piece)

                            return true
                    }
            )

        member _.SetAsync
            (
                key: string,
                value: ReadOnlySequence<byte>,
                options: DistributedCacheEntryOptions,
                cancel: CancellationToken
            ) : ValueTask =
            ValueTask(inner.SetAsync(key, value.ToArray(), options, cancel))

let private openOn (cache: IDistributedCache) =
    DistributedCacheStore(cache, DistributedCacheStoreOptions()) :> ISessionStore

let private contract name (cache: unit -> IDistributedCache) =
    StoreContract(
        name,
        (fun _ -> Task.FromResult(openOn (cache ()))),
        Contract.sized (StoreContractOptions(ComparesAndSwaps = false, Lists = false))
    )
    |> Contract.tests

let private start2026 = DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero)

let private recordOf version kind =
    StoredRecord(
        "a",
        version,
        kind,
        start2026,
        start2026.AddMinutes 30.0,
        "ann",
        Random.Shared.NextInt64(),
        ReadOnlyMemory [| byte version |]
    )

/// Waits 200 ms for the cache, and no longer.
let private impatient (cache: IDistributedCache) : ISessionStore =
    DistributedCacheStore(cache, DistributedCacheStoreOptions(OperationTimeout = TimeSpan.FromMilliseconds 200.0))

/// Waits for as long as any test takes.
let private patient (cache: IDistributedCache) : ISessionStore =
    DistributedCacheStore(cache, DistributedCacheStoreOptions(OperationTimeout = TimeSpan.FromSeconds 30.0))

let private live version = recordOf version RecordKind.Live
let private ended version = recordOf version RecordKind.Ended

/// A cache behind a wire, and a store on it that has a session.
let private begun (opened: IDistributedCache -> ISessionStore) =
    task {
        let cache = WireCache(memoryCache ())
        let store = opened (cache :> IDistributedCache)
        let! _ = store.Insert(live 1L, none)
        return cache, store
    }

let private load (store: ISessionStore) =
    task {
        let! found = store.Load("a", none)
        return Option.ofObj found
    }

let private version (found: StoredRecord option) = found |> Option.map _.Version

/// For how many sessions a store and all others on its cache know of somebody who writes, or waits to.
let private turns (store: ISessionStore) =
    let hidden = System.Reflection.BindingFlags.NonPublic ||| System.Reflection.BindingFlags.Instance
    let gates (owner: obj) = nonNull ((nonNull (owner.GetType().GetField("_gates", hidden))).GetValue owner)
    (gates (gates store) :?> System.Collections.ICollection).Count

/// These need lists.
let private unlisted = [ "/01b "; "/17 "; "/22 "; "/22b "; "/22c "; "/23 " ]

let private stories =
    Stories.on Cache
    |> Test.filter "/" (fun name ->
        let name = String.concat "/" name
        not (List.exists (fun (part: string) -> name.Contains(part, StringComparison.Ordinal)) unlisted))

let private keeps =
    [ testCaseTask "two stores on one cache object take turns: a hundred parallel updates all count" (fun () ->
          task {
              let cache = WireCache(memoryCache ())
              let silent (o: SessionOptions<Cart>) = o.Events.OnExpired <- null
              let! a = start (openOn cache) silent
              let! b = start (openOn cache) silent

              try
                  let! token = a.Begin "first"
                  let! answers = all [ for i in 1..100 -> (if i % 2 = 0 then a else b).Post($"/cart/s{i}", token) ]
                  Expect.all answers (fun answer -> answer.Status = 200) "all are 200"
                  let! cart = b.Cart token
                  Expect.equal (cart.Split(',').Length) 101 "none is lost"
              finally
                  (stop a).GetAwaiter().GetResult()
                  (stop b).GetAwaiter().GetResult()
          })

      testCaseTask "a late write does not bring back what the cache has dropped" (fun () ->
          task {
              let cache = memoryCache ()
              let store = openOn cache
              let! _ = store.Insert(live 1L, none)
              let! _ = store.Replace(ended 2L, 1L, none)
              do! (cache :> IDistributedCache).RemoveAsync("session:a", none)
              let! late = store.Replace(live 2L, 1L, none)
              Expect.equal late WriteResult.Absent "absent"
              do! store.Touch("a", start2026.AddMinutes 5.0, none)
              let! found = load store
              Expect.isNone found "and stays so"
          })

      testCaseTask "a touch cannot undo what another node does meanwhile" (fun () ->
          task {
              let shared = memoryCache ()
              let here, there = WireCache shared, WireCache shared
              let one, other = openOn here, openOn there
              let! _ = one.Insert(live 1L, none)
              let held, entered = TaskCompletionSource(), TaskCompletionSource()

              here.Before <-
                  fun verb ->
                      if verb = "set" then
                          entered.TrySetResult() |> ignore
                          held.Task
                      else
                          Task.CompletedTask

              let touching = one.Touch("a", start2026.AddMinutes 5.0, none).AsTask()
              do! entered.Task
              let! out = other.Replace(ended 2L, 1L, none)
              Expect.equal out WriteResult.Written "the logout on the other node"
              held.SetResult()
              do! touching
              let! found = load one
              Expect.equal (found |> Option.map (fun r -> r.Version, r.Kind)) (Some(2L, RecordKind.Ended)) "still over"
              do! other.Remove("a", none)
              let! found = load one
              Expect.isNone found "and gone"
          })

      testCaseTask "a write that hangs keeps its turn: it does not take effect behind a later one" (fun () ->
          task {
              let! cache, store = begun impatient
              let held = TaskCompletionSource()
              cache.Before <- fun verb -> if verb = "set" then held.Task else Task.CompletedTask
              let! hung = store.Replace(live 2L, 1L, none)
              Expect.equal hung WriteResult.Unknown "sent, and no answer"

              let! refused =
                  task {
                      try
                          let! _ = store.Replace(ended 2L, 1L, none)
                          return "written"
                      with :? StoreRefusedException as error ->
                          return error.Message
                  }

              Expect.stringContains
                  refused
                  "OperationTimeout"
                  "nobody overtakes it, and what has not been sent has changed nothing"

              cache.Before <- fun _ -> Task.CompletedTask
              held.SetResult()
              let mutable late = WriteResult.Unknown

              for _ in 1..100 do
                  if late <> WriteResult.Written then
                      do! Task.Delay 10

                      try
                          let! answer = store.Replace(ended 3L, 2L, none)
                          late <- answer
                      with :? StoreRefusedException ->
                          ()

              Expect.equal late WriteResult.Written "behind it, on what it wrote"
              let! found = load store
              Expect.equal (version found) (Some 3L) "the last one"
          })

      testCaseTask "a write that hangs holds up its own session, and no other one" (fun () ->
          task {
              let cache = WireCache(memoryCache ())

              let store = impatient cache

              let named id =
                  let record = live 1L
                  StoredRecord(id, 1L, record.Kind, record.LastSeen, record.DueAt, null, record.Operation, record.Body)

              cache.Before <- fun verb -> if verb = "set" then Task.Delay -1 else Task.CompletedTask

              for n in 1..100 do
                  let! hung = store.Insert(named $"hung{n}", none)
                  Expect.equal hung WriteResult.Unknown "sent, and no answer ever"

              cache.Before <- fun _ -> Task.CompletedTask

              for n in 1..300 do
                  let! written = store.Insert(named $"n{n}", none)
                  Expect.equal written WriteResult.Written "the cache works again"
          })

      testCaseTask "of a session that nobody writes to any more nothing is kept in this process" (fun () ->
          task {
              let! cache, store = begun impatient
              Expect.equal (turns store) 0 "after a write"
              let held = TaskCompletionSource()
              cache.Before <- fun verb -> if verb = "set" then held.Task else Task.CompletedTask
              let! hung = store.Replace(live 2L, 1L, none)
              Expect.equal hung WriteResult.Unknown "sent, and no answer"

              let! isRefused =
                  task {
                      try
                          let! _ = store.Replace(ended 2L, 1L, none)
                          return false
                      with :? StoreRefusedException ->
                          return true
                  }

              Expect.isTrue isRefused "whose turn does not come"
              Expect.equal (turns store) 1 "one has its turn"
              held.SetResult()
              do! eventually "the end of its turn" (fun () -> turns store = 0)
          })

      testCaseTask
          "a write that takes longer than its deadline is sent once, and stays behind none that comes later"
          (fun () ->
              task {
                  let! cache, store = begun openOn
                  let mutable sets = 0

                  cache.Before <-
                      fun verb ->
                          if verb = "set" && Interlocked.Increment &sets = 1 then
                              Task.Delay 2600
                          else
                              Task.CompletedTask

                  let slow = live 2L
                  let clock = Diagnostics.Stopwatch.StartNew()
                  let! unknown = store.Replace(slow, 1L, none)
                  Expect.equal unknown WriteResult.Unknown "sent, and no answer within the deadline of two seconds"
                  Expect.isLessThan clock.Elapsed (TimeSpan.FromSeconds 2.5) "one deadline"
                  let! found = load store
                  Expect.equal (version found) (Some 1L) "it has not come yet"
                  // A caller that looked, and decides anew on what it saw: it waits its turn, and finds what came.
                  let! again = store.Replace(ended 2L, 1L, none)
                  Expect.equal again WriteResult.Conflict "the first one was faster, after all"
                  Expect.equal sets 1 "and was sent once"
                  let! found = load store
                  Expect.equal (found |> Option.map _.Operation) (Some slow.Operation) "that very one"
                  let! out = store.Replace(ended 3L, 2L, none)
                  Expect.equal out WriteResult.Written "a logout on what came late"
                  do! Task.Delay 800
                  let! found = load store
                  Expect.equal (found |> Option.map (fun r -> r.Version, r.Kind)) (Some(3L, RecordKind.Ended)) "stays"
                  Expect.equal sets 2 "nothing was sent twice"
              })

      testCaseTask "a write behind a slow one has one deadline, for its turn and for the cache" (fun () ->
          task {
              let! cache, store = begun openOn
              let first, second = TaskCompletionSource(), TaskCompletionSource()
              let mutable sets = 0

              cache.Before <-
                  fun verb ->
                      if verb <> "set" then Task.CompletedTask
                      elif Interlocked.Increment &sets = 1 then first.Task
                      else second.Task

              let clock = Diagnostics.Stopwatch.StartNew()
              let slow = store.Replace(live 2L, 1L, none).AsTask()
              let behind = store.Replace(ended 3L, 2L, none).AsTask()
              do! Task.Delay 1500
              first.SetResult()
              let! written = slow
              Expect.equal written WriteResult.Written "the slow one"
              let! unknown = behind
              Expect.equal unknown WriteResult.Unknown "sent in its turn, and no answer"
              Expect.isLessThan clock.Elapsed (TimeSpan.FromSeconds 2.8) "one deadline, of two seconds"
              second.SetResult()
          })

      testCaseTask "who comes while a write that has waited has its turn waits, too" (fun () ->
          task {
              let! cache, store = begun patient
              let first, second = TaskCompletionSource(), TaskCompletionSource()
              let mutable sets = 0

              cache.Before <-
                  fun verb ->
                      if verb <> "set" then Task.CompletedTask
                      elif Interlocked.Increment &sets = 1 then first.Task
                      else second.Task

              let slow = store.Replace(live 2L, 1L, none).AsTask()
              let behind = store.Replace(live 3L, 2L, none).AsTask()
              first.SetResult()
              let! written = slow
              Expect.equal written WriteResult.Written "the first one"
              do! eventually "the turn of the second one" (fun () -> sets = 2)
              let last = store.Replace(ended 4L, 3L, none).AsTask()
              do! Task.Delay 200
              Expect.isFalse last.IsCompleted "the second one has its turn to itself"
              second.SetResult()

              for write in [ behind; last ] do
                  let! written = write
                  Expect.equal written WriteResult.Written "each on what the one before has written"

              let! found = load store

              Expect.equal
                  (found |> Option.map (fun r -> r.Version, r.Kind))
                  (Some(4L, RecordKind.Ended))
                  "all of them"
          })

      testCaseTask "a caller that goes while it waits for its turn has changed nothing, and lets nobody by" (fun () ->
          task {
              let writes: (string * (ISessionStore -> CancellationToken -> Task)) list =
                  [ "an insert", (fun store cancel -> store.Insert(live 1L, cancel).AsTask() :> Task)
                    "a replace", (fun store cancel -> store.Replace(live 3L, 2L, cancel).AsTask() :> Task)
                    "a touch", (fun store cancel -> store.Touch("a", start2026.AddMinutes 5.0, cancel).AsTask())
                    "a removal", (fun store cancel -> store.Remove("a", cancel).AsTask())
                    "a removal of one version",
                    (fun store cancel -> (store :?> IRemovesVersion).RemoveVersion("a", 2L, 0L, cancel).AsTask()) ]

              for name, write in writes do
                  let! cache, store = begun patient
                  let held = TaskCompletionSource()
                  let sent = ConcurrentQueue<string>()

                  cache.Before <-
                      fun verb ->
                          if verb = "get" then
                              Task.CompletedTask
                          else
                              sent.Enqueue verb
                              held.Task

                  let slow = store.Replace(live 2L, 1L, none).AsTask()
                  do! eventually "a write that has its turn" (fun () -> not sent.IsEmpty)
                  use caller = new CancellationTokenSource()
                  let waiting = write store caller.Token
                  caller.Cancel()

                  let! isTold =
                      task {
                          try
                              do! waiting
                              return false
                          with :? OperationCanceledException ->
                              return true
                      }

                  Expect.isTrue isTold $"{name}: the caller is told that nothing was changed"
                  let last = store.Replace(live 3L, 2L, none).AsTask()
                  do! Task.Delay 200
                  Expect.isFalse last.IsCompleted $"{name}: whoever comes then waits for the one that has its turn"
                  held.SetResult()

                  for writing in [ slow; last ] do
                      let! written = writing
                      Expect.equal written WriteResult.Written $"{name}: the others go on"

                  Expect.equal (List.ofSeq sent) [ "set"; "set" ] $"{name}: nothing else was sent"
          })

      testCaseTask "a write whose caller goes while the cache still looks is not sent afterwards" (fun () ->
          task {
              let first = live 1L

              let writes: (string * bool * (ISessionStore -> CancellationToken -> Task)) list =
                  [ "an insert", false, (fun store cancel -> store.Insert(live 1L, cancel).AsTask() :> Task)
                    "a replace", true, (fun store cancel -> store.Replace(live 2L, 1L, cancel).AsTask() :> Task)
                    "a touch", true, (fun store cancel -> store.Touch("a", start2026.AddMinutes 5.0, cancel).AsTask())
                    "a removal of one version",
                    true,
                    (fun store cancel ->
                        (store :?> IRemovesVersion).RemoveVersion("a", 1L, first.Operation, cancel).AsTask()) ]

              for name, isThere, write in writes do
                  let cache = WireCache(DeafCache(memoryCache ()))
                  let store = openOn cache

                  if isThere then
                      let! _ = store.Insert(first, none)
                      ()

                  let held, entered = TaskCompletionSource(), TaskCompletionSource()
                  let sent = ConcurrentQueue<string>()

                  cache.Before <-
                      fun verb ->
                          if verb = "get" then
                              entered.TrySetResult() |> ignore
                              held.Task
                          else
                              sent.Enqueue verb
                              Task.CompletedTask

                  use caller = new CancellationTokenSource()
                  let writing = write store caller.Token
                  do! entered.Task
                  caller.Cancel()

                  let! isTold =
                      task {
                          try
                              do! writing
                              return false
                          with :? OperationCanceledException ->
                              return true
                      }

                  Expect.isTrue isTold $"{name}: the caller is told that nothing was changed"
                  held.SetResult()
                  // Whose turn comes when that one is over.
                  let! _ = store.Replace(live 9L, 8L, none)
                  Expect.isEmpty sent $"{name}: and nothing was"
          })

      testCaseTask
          "a write that the cache itself cancels is unknown, and a read is an error: neither is cancelled"
          (fun () ->
              task {
                  let! cache, store = begun openOn

                  let cancels verb =
                      if verb = "get" then Task.CompletedTask else Task.FromCanceled(CancellationToken true)

                  cache.Before <- cancels
                  let! written = store.Replace(live 2L, 1L, none)
                  Expect.equal written WriteResult.Unknown "it may have been written"

                  for call in
                      [ fun () -> store.Remove("a", none).AsTask()
                        fun () ->
                            cache.Before <- fun _ -> Task.FromCanceled(CancellationToken true)
                            store.Load("a", none).AsTask() :> Task
                        fun () -> store.Replace(live 2L, 1L, none).AsTask() :> Task ] do
                      let mutable answer = ""

                      try
                          do! call ()
                      with
                      | :? TimeoutException -> answer <- "no answer"
                      | error -> answer <- string error

                      Expect.equal answer "no answer" "the caller has cancelled nothing"
              })

      testCaseTask "a cache that hangs is no store: the request is a 503, in time" (fun () ->
          task {
              let cache = WireCache(memoryCache ())

              let store =
                  DistributedCacheStore(
                      cache,
                      DistributedCacheStoreOptions(OperationTimeout = TimeSpan.FromMilliseconds 200.0)
                  )

              let! w = start store (fun o -> o.Events.OnExpired <- null)

              try
                  let! token = w.Begin "x"
                  cache.Before <- fun _ -> Task.Delay Timeout.Infinite
                  let clock = Diagnostics.Stopwatch.StartNew()

                  for verb, path in [ "GET", "/guarded"; "POST", "/cart/y"; "POST", "/logout" ] do
                      let! answer = w.Send(verb, path, [ "Cookie", "sid=" + token ])
                      Expect.equal answer.Status 503 path
                      Expect.isEmpty answer.SetCookies "the cookie stays"

                  Expect.isLessThan clock.Elapsed (TimeSpan.FromSeconds 20L) "in time"
                  cache.Before <- fun _ -> Task.CompletedTask
                  let! cart = w.Cart token
                  Expect.equal cart "x" "as if nothing had been"
              finally
                  (stop w).GetAwaiter().GetResult()
          })

      testCaseTask
          "the cache keeps a live session for KeepFor, others for the rest of their time, and nothing slides"
          (fun () ->
              task {
                  let cache = WireCache(memoryCache ())
                  let store = openOn cache
                  let! _ = store.Insert(recordOf 1L RecordKind.Unconfirmed, none)
                  Expect.equal cache.Expiries["session:a"] (TimeSpan.FromMinutes 90.0) "unconfirmed"
                  let! _ = store.Replace(live 2L, 1L, none)
                  Expect.equal cache.Expiries["session:a"] (TimeSpan.FromHours 25.0) "live"
                  do! store.Touch("a", start2026.AddMinutes 5.0, none)
                  Expect.equal cache.Expiries["session:a:seen"] (TimeSpan.FromHours 25.0) "touched"
                  let! _ = store.Replace(ended 3L, 2L, none)
                  Expect.equal cache.Expiries["session:a"] (TimeSpan.FromMinutes 90.0) "ended"
                  let! _ = store.Replace((live 4L).Due(start2026.AddDays 3.0), 3L, none)
                  Expect.equal cache.Expiries["session:a"] (TimeSpan.FromHours 73.0) "live for longer than KeepFor"
                  let! _ = store.Replace((ended 5L).Due(start2026.AddDays -3.0), 4L, none)
                  Expect.equal cache.Expiries["session:a"] (TimeSpan.FromHours 1.0) "over for long"

                  let own: ISessionStore =
                      DistributedCacheStore(
                          cache,
                          DistributedCacheStoreOptions(
                              KeepFor = TimeSpan.FromHours 3.0,
                              JanitorMargin = TimeSpan.FromMinutes 20.0
                          )
                      )

                  let! _ = own.Replace(live 6L, 5L, none)
                  Expect.equal cache.Expiries["session:a"] (TimeSpan.FromMinutes 200.0) "live, as its settings say"
                  let! _ = own.Replace(ended 7L, 6L, none)
                  Expect.equal cache.Expiries["session:a"] (TimeSpan.FromMinutes 50.0) "ended, as its settings say"
              })

      testCaseTask
          "what is removed leaves nothing in the cache, and nothing to a session that gets the same id"
          (fun () ->
              task {
                  let removals: (string * (ISessionStore -> StoredRecord -> ValueTask)) list =
                      [ "a removal", (fun store _ -> store.Remove("a", none))
                        "a removal of one version",
                        (fun store it ->
                            (store :?> IRemovesVersion).RemoveVersion("a", it.Version, it.Operation, none)) ]

                  for name, remove in removals do
                      let cache = memoryCache ()
                      let store = openOn cache
                      let first = live 1L
                      let! _ = store.Insert(first, none)
                      do! store.Touch("a", start2026.AddMinutes 5.0, none)
                      do! remove store first

                      for key in [ "session:a"; "session:a:seen" ] do
                          let! left = (cache :> IDistributedCache).GetAsync(key, none)
                          Expect.isNull left $"{name}: {key}"

                      let! _ = store.Insert(live 1L, none)
                      let! found = load store
                      Expect.equal (found |> Option.map _.LastSeen) (Some start2026) $"{name}: seen when it began"
              })

      testCaseTask "a cache in this process that is full says nothing: what it has not kept is no success" (fun () ->
          task {
              let store = openOn (fullCache ())
              let engine = Engines.engineOn store Engines.settings TimeProvider.System Engines.silent
              let mutable refused = 0

              for _ in 1..60 do
                  let id = Token.newId ()

                  match! engine.Create((fun () -> id), Some "ada", Array.zeroCreate 300, none) with
                  | Ok _ -> ()
                  | Error(SessionError.Unsure cause as error) ->
                      refused <- refused + 1
                      Expect.stringContains cause.Message "SizeLimit" "what to change"
                      Expect.equal (SessionError.outcome error) MayHaveChanged "what is said"
                      let! found = store.Load(id, none)
                      Expect.isNull found "it is not there"
                  | Error error -> failtestf "%A" error

              Expect.isGreaterThan refused 0 "it is full, and says so"
          })

      testCaseTask "what another program wrote under the prefix opens nothing, and is told apart" (fun () ->
          task {
              let cache = memoryCache ()
              let store = openOn cache

              for value in [ [||]; [| 9uy |]; Array.create 36 2uy; Array.create 36 1uy ] do
                  do! (cache :> IDistributedCache).SetAsync("session:a", value, DistributedCacheEntryOptions(), none)

                  try
                      let! _ = store.Load("a", none)
                      failtestf "%A was read" value
                  with :? IO.InvalidDataException as error ->
                      Expect.stringContains error.Message "prefix" "says where to look"
          }) ]

/// The sentence with which the program stops.
let private refusal (configure: SessionOptions<Cart> -> unit) (services: IServiceCollection -> unit) settings =
    task {
        try
            let! app =
                SubjectApp.StartAsync(
                    MemoryStore(),
                    TimeProvider.System,
                    Action<_> configure,
                    fun sessions ->
                        services sessions.Services
                        sessions.UseDistributedCache(Action<_> settings) |> ignore
                )

            do! app.DisposeAsync()
            return "started"
        with
        | :? OptionsValidationException as error -> return error.Message
        | :? InvalidOperationException as error -> return error.Message
        | :? ArgumentException as error -> return error.Message
    }

let private withCache (services: IServiceCollection) = services.AddDistributedMemoryCache() |> ignore

let private says =
    [ testCaseTask "it starts with the application's cache" (fun () ->
          task {
              let! sentence = refusal ignore withCache ignore
              Expect.equal sentence "started" "no more than that"
          })

      for what, configure, services, settings in
          [ "MaxSessionsPerSubject",
            (fun (o: SessionOptions<Cart>) -> o.MaxSessionsPerSubject <- Nullable 3),
            withCache,
            ignore
            "OnExpired",
            (fun (o: SessionOptions<Cart>) -> o.Events.OnExpired <- Func<_, _>(fun _ -> Task.CompletedTask)),
            withCache,
            ignore
            "IDistributedCache", ignore, ignore, ignore
            "KeyPrefix", ignore, withCache, (fun (o: DistributedCacheStoreOptions) -> o.KeyPrefix <- String('x', 101))
            "OperationTimeout", ignore, withCache, (fun o -> o.OperationTimeout <- TimeSpan.Zero)
            "KeepFor", ignore, withCache, (fun o -> o.KeepFor <- TimeSpan.Zero)
            "JanitorMargin", ignore, withCache, (fun o -> o.JanitorMargin <- TimeSpan.FromMinutes 9.0) ] do
          testCaseTask $"{what}: the program stops, and says why" (fun () ->
              task {
                  let! sentence = refusal configure services settings
                  Expect.stringContains sentence what "the setting"
              })

      testCase "a prefix of a hundred characters and ten years are taken, and a tick more is refused" (fun () ->
          let taken (set: DistributedCacheStoreOptions -> unit) =
              let options = DistributedCacheStoreOptions()
              set options

              try
                  DistributedCacheStore(memoryCache (), options) |> ignore
                  true
              with :? ArgumentException ->
                  false

          let tick, longest = TimeSpan.FromTicks 1L, TimeSpan.FromDays 3650.0

          for keepFor, isTaken in [ -tick, false; tick, true; longest, true; longest + tick, false ] do
              Expect.equal (taken (fun o -> o.KeepFor <- keepFor)) isTaken $"KeepFor: {keepFor}"

          Expect.isTrue (taken (fun o -> o.KeyPrefix <- String('x', 100))) "the longest prefix"
          Expect.isTrue (taken (fun o -> o.KeyPrefix <- "")) "none")

      testCaseTask "at start it says after how long a session is dropped" (fun () ->
          task {
              for hours, words in [ 24.0, "25 hours"; 46.0, "47 hours"; 47.0, "2 days"; 167.0, "7 days" ] do
                  let options = DistributedCacheStoreOptions(KeepFor = TimeSpan.FromHours hours)
                  let store = DistributedCacheStore(memoryCache (), options) :> ISessionStore
                  let! report = store.Prepare none
                  let said = $"dropped {words} after its last write"
                  Expect.exists report.Notes _.Contains(said) $"{hours} hours, and the hour of JanitorMargin"
          })

      testCaseTask "at start it says what it cannot promise, and where it is" (fun () ->
          task {
              let cache = memoryCache ()
              let! report = (openOn cache).Prepare none
              let! same = (openOn cache).Prepare none
              let! another = (openOn (memoryCache ())).Prepare none
              Expect.isFalse report.ComparesAndSwaps "no compare-and-swap"
              Expect.isFalse report.Lists "no lists"
              let notes = String.concat "\n" report.Notes

              for word in
                  [ "undo a logout"
                    "lose one"
                    "UseRedis"
                    "OnExpired"
                    "KeepFor"
                    "MemoryDistributedCache" ] do
                  Expect.stringContains notes word word

              Expect.equal same.Location report.Location "the same place"
              Expect.notEqual another.Location report.Location "another place"
              let! wire = (openOn (WireCache cache)).Prepare none
              Expect.isFalse ((String.concat "\n" wire.Notes).Contains "MemoryDistributedCache") "only where it is one"
          })

      testCaseTask "what would have to list says so, and nothing is swept" (fun () ->
          task {
              let! w = start (openOn (memoryCache ())) (fun o -> o.Events.OnExpired <- null)

              try
                  let manager = w.App.Services.GetRequiredService<SessionManager<Cart>>()

                  let! listing =
                      task {
                          try
                              let! _ = manager.DestroyAllAsync "ann"
                              return "done"
                          with :? NotSupportedException as error ->
                              return error.Message
                      }

                  Expect.stringContains listing "cannot list" "a sentence"
                  let! token = w.Begin "x"
                  w.Store.Reset()

                  for _ in 1..5 do
                      w.Clock.Advance(minutes 1.2)
                      do! Task.Delay 10

                  Expect.isEmpty w.Store.Counts "no sweep"
                  w.Clock.Advance(minutes 30.0)
                  let! over = w.Get("/guarded", token)
                  Expect.equal over.Status 401 "and over all the same"
              finally
                  (stop w).GetAwaiter().GetResult()
          }) ]

let all =
    testList
        "distributed cache"
        [ stories
          contract "DistributedCache" (fun () -> memoryCache ())
          contract "DistributedCache, arrays" (fun () -> WireCache(memoryCache ()))
          contract "DistributedCache, buffers" (fun () -> BufferCache())
          testList "keeps" keeps
          testList "says" says ]
