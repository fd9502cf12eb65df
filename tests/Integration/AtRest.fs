/// What a thief of the store's disk finds: no token in any form; and of sealed or protected sessions no data. Searched is
/// all that the store has kept at any time, and not only what is left: logs, command histories and files as they are.
module Integration.AtRest

open System
open System.Collections.Concurrent
open System.IO
open System.Text
open System.Threading
open System.Threading.Tasks
open Expecto
open Microsoft.Extensions.Caching.Distributed
open Microsoft.Extensions.Caching.Memory
open Microsoft.Extensions.Options
open MongoDB.Bson
open Integration
open Integration.Http
open Integration.World
open Session.Engine
open Session.Stores.DistributedCache

// -- the search

/// The forms in which bytes may lie in a file: as they are, in hexadecimal, and in base64 wherever a group may begin.
let private forms (bytes: byte array) : byte array list =
    let ascii (text: string) = Encoding.ASCII.GetBytes text
    let hex = Convert.ToHexString bytes

    let base64 =
        [ for skipped in 0..2 do
              // What the neighbours of the bytes decide is cut off.
              let inner = bytes[skipped..]
              let whole = inner[.. inner.Length / 3 * 3 - 1]
              let text = Convert.ToBase64String whole
              text
              text.Replace('+', '-').Replace('/', '_') ]

    [ bytes; ascii hex; ascii (hex.ToLowerInvariant()) ] @ List.map ascii base64 |> List.distinct

let private formsOfText (text: string) = forms (Encoding.UTF8.GetBytes text) @ [ Encoding.Unicode.GetBytes text ]

let private isIn (dump: byte array) (form: byte array) = dump.AsSpan().IndexOf(ReadOnlySpan form) >= 0

let private fromBase64Url (text: string) =
    Convert.FromBase64String(text.Replace('-', '+').Replace('_', '/') + String('=', (4 - text.Length % 4) % 4))

// -- the stores, and all that they have kept

/// Keeps every value that it was ever given.
type private RememberingCache() =
    let inner = new MemoryDistributedCache(Options.Create(MemoryDistributedCacheOptions())) :> IDistributedCache

    let kept = ConcurrentQueue<byte array>()
    member _.Kept = Array.concat kept

    interface IDistributedCache with
        member _.Get key = inner.Get key
        member _.Set(key, value, options) = inner.Set(key, value, options)
        member _.Refresh key = inner.Refresh key
        member _.RefreshAsync(key, cancel) = inner.RefreshAsync(key, cancel)
        member _.Remove key = inner.Remove key
        member _.RemoveAsync(key, cancel) = inner.RemoveAsync(key, cancel)
        member _.GetAsync(key, cancel) = inner.GetAsync(key, cancel)

        member _.SetAsync(key, value, options, cancel) =
            kept.Enqueue(Encoding.UTF8.GetBytes key)
            kept.Enqueue(Array.copy value)
            inner.SetAsync(key, value, options, cancel)

let private files (folder: string) =
    [| for file in Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories) do
           use stream = new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite)
           use copy = new MemoryStream()
           stream.CopyTo copy
           copy.ToArray() |]
    |> Array.concat

/// Runs `body` on a store of this kind, and hands over what it kept.
let private dumped kind (body: ISessionStore -> Task<unit>) : Task<byte array> =
    task {
        match kind with
        | Sqlite ->
            let folder = temporaryFolder ()

            try
                use store = openSqlite folder
                do! body store
                // With its write-ahead log.
                return files folder
            finally
                Directory.Delete(folder, true)
        | Redis ->
            // Its log of commands has every write in the clear; then the values, as the server hands them out.
            use server =
                RedisServer.startOne [ "appendonly", "yes"; "appendfsync", "always"; "aof-use-rdb-preamble", "no" ]

            let store = openRedisAt server.Address "rest:" ignore
            do! body store
            do! (store :> IAsyncDisposable).DisposeAsync()
            return files server.Folder
        | Mongo ->
            use server = new MongoServer.StandIn()
            use store = openMongoAt server.Address "sessions" ignore
            do! body store

            return
                Array.append (server.Dump()) (Array.collect BsonExtensionMethods.ToBson (Array.ofList server.Commands))
        | Postgres ->
            use server = PostgresServer.startOne []
            use store = openPostgresAt server.Address "sessions" ignore
            do! body store
            // With its write-ahead log.
            server.Execute "CHECKPOINT"

            return
                files (Path.Combine(server.Folder, "data", "base") |> Path.GetFullPath)
                |> Array.append (files (Path.Combine(server.Folder, "data", "pg_wal")))
        | Cache ->
            let cache = RememberingCache()
            do! body (DistributedCacheStore(cache, DistributedCacheStoreOptions()))
            return cache.Kept
        | other -> return failtestf "no dump of %A" other
    }

/// A session's life: begun, confirmed, signed in, elevated, renewed, ended. The tokens that were ever issued.
let private lives (canary: string) (w: World) : Task<string list> =
    task {
        let issued = ConcurrentQueue<string>()

        let take (answer: Answer) =
            for line in answer.SetCookies do
                match (parseSetCookie line).Value with
                | "" -> ()
                | token -> issued.Enqueue token

            answer

        let latest () = Seq.last issued
        let! begun = w.Post("/cart/" + canary)
        take begun |> ignore

        for verb, path, later in
            [ "GET", "/cart", 0.0
              "POST", "/login?user=ann", 0.0
              "POST", "/cart/" + canary + "-again", 0.0
              "POST", "/elevate", 0.0
              // A renewal, and its confirmation.
              "GET", "/cart", 16.0
              "GET", "/cart", 1.0
              "POST", "/cart/" + canary + "-late", 1.0 ] do
            w.Clock.Advance(minutes later)
            let! answer = w.Send(verb, path, [ "Cookie", "sid=" + latest () ])
            Expect.equal answer.Status 200 $"{verb} {path}"
            take answer |> ignore

        // Another one, that stays.
        let! kept = w.Post("/cart/" + canary)
        take kept |> ignore
        let! _ = w.Get("/cart", token kept)
        let! out = w.Post("/logout", Seq.item (issued.Count - 2) issued)
        Expect.equal out.Status 200 "ended"
        return List.ofSeq issued
    }

let private stolen kind (mode: StoreKind option) =
    let name =
        match mode with
        | None -> "plain"
        | Some mode -> (string mode).ToLowerInvariant()

    testCaseTask $"{kind}, {name}" (fun () ->
        task {
            let canary = "canary" + Guid.NewGuid().ToString "N"
            let mutable tokens = []

            let! dump =
                dumped kind (fun store ->
                    task {
                        let! w =
                            startWith (mode |> Option.map protection |> Option.defaultValue ignore) store (fun o ->
                                if kind = Cache then
                                    o.Events.OnExpired <- null)

                        try
                            let! issued = lives canary w
                            tokens <- issued
                        finally
                            (stop w).GetAwaiter().GetResult()
                    })

            Expect.isGreaterThanOrEqual (List.length (List.distinct tokens)) 5 "tokens"
            // The search finds what is there.
            Expect.isTrue (isIn dump (Encoding.UTF8.GetBytes(idOf tokens.Head))) "the id is public"

            for token in tokens do
                let secret = token.Substring(token.LastIndexOf '.' + 1)

                for form in formsOfText secret @ forms (fromBase64Url secret) do
                    Expect.isFalse (isIn dump form) "a secret, in some form"

            let found = formsOfText canary |> List.exists (isIn dump)

            match mode with
            | None -> Expect.isTrue found "data that is not protected is there: the search finds it"
            | Some _ -> Expect.isFalse found "data, in some form"
        })

let all =
    testList
        "at rest"
        [ testCase "the search finds what is there, in every form and wherever it begins" (fun () ->
              let hidden = Encoding.UTF8.GetBytes "4711-secret-0815-secret"

              for before in 0..3 do
                  let whole = Array.concat [ Array.create before 42uy; hidden; [| 7uy; 8uy |] ]
                  let text = Convert.ToBase64String whole

                  for dump in
                      [ whole
                        Encoding.ASCII.GetBytes text
                        Encoding.ASCII.GetBytes(text.TrimEnd('=').Replace('+', '-').Replace('/', '_'))
                        Encoding.ASCII.GetBytes(Convert.ToHexString whole)
                        Encoding.ASCII.GetBytes(Convert.ToHexStringLower whole) ] do
                      Expect.exists (forms hidden) (isIn dump) "found"

              Expect.exists (formsOfText "secret") (isIn (Encoding.Unicode.GetBytes "a secret")) "as UTF-16, too"
              Expect.all (forms hidden) (fun form -> not (isIn (Array.create 1000 42uy) form)) "and nothing else")

          for kind in [ Sqlite; Redis; Mongo; Postgres; Cache ] do
              for mode in [ None; Some Sealed; Some Protected ] do
                  stolen kind mode ]
