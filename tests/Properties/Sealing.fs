/// Data at rest: what a store holds tells nothing and can be changed by nobody, and sealing changes nothing for its users.
module Properties.Sealing

open System
open System.Buffers.Binary
open System.Collections.Generic
open System.Numerics
open System.Security.Cryptography
open System.Text
open System.Threading
open System.Threading.Tasks
open Expecto
open Microsoft.Extensions.Logging.Abstractions
open Microsoft.Extensions.Time.Testing
open Session.Engine
open Session.Domain
open Properties.Histories

let private none = CancellationToken.None
let private canary = "canary-4111-1111-1111-1111"
let private secretData = Encoding.UTF8.GetBytes canary
let private run (task: Task<'a>) = task.GetAwaiter().GetResult()
let private wait (task: ValueTask<'a>) = task.AsTask().GetAwaiter().GetResult()

/// Records under the newest of these keys; older ones still open.
type private Keys(keys: byte[] list) =
    interface IRecordProtector with
        member _.Protect record =
            let nonce, tag, cipher =
                RandomNumberGenerator.GetBytes 12, Array.zeroCreate<byte> 16, Array.zeroCreate<byte> record.Length

            use aes = new AesGcm(List.head keys, 16)
            aes.Encrypt(nonce, record, cipher, tag)
            Array.concat [ nonce; tag; cipher ]

        member _.Unprotect(stored: byte[]) : byte[] | null =
            let tryKey (key: byte[]) =
                let plain = Array.zeroCreate<byte>(stored.Length - 28)
                use aes = new AesGcm(key, 16)

                try
                    aes.Decrypt(stored[..11], stored[28..], stored[12..27], plain)
                    Some plain
                with :? AuthenticationTagMismatchException ->
                    None

            if stored.Length < 28 then null else List.tryPick tryKey keys |> Option.toObj

/// An engine on a store of its own, whose clock is set by hand.
type private Lab(store: ISessionStore, settings: EngineSettings) =
    let clock = FakeTimeProvider t0
    let heard = List<Notice>()

    let board =
        { new INoticeBoard with
            member _.Post notice =
                lock heard (fun () -> heard.Add notice)
                ValueTask.CompletedTask }

    let engine = SessionEngine(store, settings, clock, NullLogger.Instance, board)
    member _.Engine = engine
    member _.Store = store
    member _.Heard = List.ofSeq heard
    member _.After(span: TimeSpan) = clock.Advance span
    member _.Body id = (store.Load(id, none) |> wait |> Unchecked.nonNull).Body.ToArray()

    member _.Present(token: string, mayIssue) =
        engine.Present((Token.tryParse engine.Hasher (token.AsSpan())).Value, mayIssue, none).AsTask()
        |> run

    member lab.Data(token: string) =
        match lab.Present(token, false) with
        | Ok opened -> Ok(Encoding.UTF8.GetString opened.Live.Data)
        | Error error -> Error error

    /// Puts these bytes in the place of the record, as somebody could who writes to the store.
    member _.Forge(id: string, version: int64, body: byte[]) =
        let found = store.Load(id, none) |> wait |> Unchecked.nonNull
        store.Remove(id, none).AsTask().GetAwaiter().GetResult()

        store.Insert(
            StoredRecord(id, version, RecordKind.Live, t0, found.DueAt, found.Subject, 1L, ReadOnlyMemory body),
            none
        )
        |> wait
        |> ignore

let private toBearer = { Engines.settings with SealsToBearer = true }

let private key = RandomNumberGenerator.GetBytes 32

let private protectedWith keys = { Engines.settings with Protector = Keys keys }

let private lab settings = Lab(MemoryStore(), settings)

let private create (lab: Lab) subject =
    let opened = lab.Engine.Create(Token.newId, subject, secretData, none) |> run |> Engines.ok
    opened, opened.Issued.Value.Reveal()

/// The checksum that makes a changed record look whole.
let private mend (body: byte[]) =
    let mutable sum = 0xFFFFFFFFu

    for value in body[.. body.Length - 5] do
        sum <- BitOperations.Crc32C(sum, value)

    BinaryPrimitives.WriteUInt32LittleEndian(Span<byte>(body, body.Length - 4, 4), ~~~sum)
    body

let private contains (bytes: byte[]) (text: string) =
    let wanted = Encoding.UTF8.GetBytes text
    bytes.AsSpan().IndexOf(ReadOnlySpan<byte> wanted) >= 0

let private isUnreadable answer =
    match answer with
    | Error(SessionError.Unreadable _) -> true
    | _ -> false

let private both =
    [ "sealed to the bearer", toBearer
      "sealed to the bearer, with a server key",
      { toBearer with
          ServerKey = ServerKeys(RandomNumberGenerator.GetBytes 32) }
      "under the application's keys", protectedWith [ key ]
      "both", { toBearer with Protector = Keys [ key ] } ]

let private onEach =
    [ for name, settings in both do
          let test title body = testCase $"{name}: {title}" (fun () -> body settings)

          test "a whole life reads and writes as if nothing were sealed" (fun settings ->
              let lab = lab settings
              let opened, first = create lab None
              Expect.equal (lab.Data first) (Ok canary) "created"

              let updated =
                  lab.Engine.Update(opened, (fun data -> Ok(Array.append data "+1"B)), none) |> run |> Engines.ok

              Expect.equal (lab.Data first) (Ok(canary + "+1")) "updated"
              let signedIn = lab.Engine.SignIn(updated, "ada", "signed in"B, none) |> run |> Engines.ok
              let second = signedIn.Issued.Value.Reveal()
              Expect.equal (lab.Data second) (Ok "signed in") "after the elevation"
              Expect.equal (lab.Data first) (Error(SessionError.Refused Outdated)) "the old token"

              let written =
                  lab.Engine.Update(signedIn, (fun data -> Ok(Array.append data "!"B)), none) |> run |> Engines.ok

              Expect.equal (lab.Data second) (Ok "signed in!") "written by the request that signed in"
              let again = lab.Engine.Regenerate(written, none) |> run |> Engines.ok
              let third = again.Issued.Value.Reveal()
              Expect.equal (lab.Data third) (Ok "signed in!") "an elevation without new data"

              match lab.Engine.Reload(again, none) |> run |> Engines.ok with
              | Some fresh -> Expect.equal (Encoding.UTF8.GetString fresh.Live.Data) "signed in!" "reloaded"
              | None -> failtest "the session is gone"

              lab.Engine.SignOut(again, none) |> run |> Engines.ok |> ignore
              Expect.isError (lab.Data third) "signed out")

          test "a renewal keeps the data for both tokens, and for requests under way" (fun settings ->
              let lab = lab settings
              let _, first = create lab None
              lab.Data first |> ignore
              let slow = lab.Present(first, false) |> Engines.ok
              lab.After(TimeSpan.FromMinutes 16L)
              let renewed = lab.Present(first, true) |> Engines.ok
              let lost = renewed.Issued.Value.Reveal()
              Expect.equal (lab.Data first) (Ok canary) "the old one works"
              lab.After(TimeSpan.FromMinutes 1L)
              let second = (lab.Present(first, true) |> Engines.ok).Issued.Value.Reveal()
              Expect.notEqual second lost "another one in the place of the lost one"
              Expect.equal (lab.Data lost) (Ok canary) "which comes all the same, late"

              lab.Engine.Update(slow, (fun data -> Ok(Array.append data "+slow"B)), none)
              |> run
              |> Engines.ok
              |> ignore

              Expect.equal (lab.Data second) (Ok(canary + "+slow")) "the new one confirms"
              Expect.equal (lab.Data first) (Ok(canary + "+slow")) "within the grace"

              lab.Engine.Update(slow, (fun data -> Ok(Array.append data "+slower"B)), none)
              |> run
              |> Engines.ok
              |> ignore

              Expect.equal (lab.Data second) (Ok(canary + "+slow+slower")) "and goes on"
              lab.After(TimeSpan.FromMinutes 2L)
              Expect.equal (lab.Data second) (Ok(canary + "+slow+slower")) "alone"
              Expect.isError (lab.Data first) "after the grace")

          test "the largest data that there may be comes back" (fun settings ->
              let lab = lab { settings with MaxDataBytes = Codec.maxDataBytes }

              let data = RandomNumberGenerator.GetBytes Codec.maxDataBytes
              let opened = lab.Engine.Create(Token.newId, Some "ada", data, none) |> run |> Engines.ok
              let token = (Token.tryParse lab.Engine.Hasher (opened.Issued.Value.Reveal().AsSpan())).Value
              let found = (lab.Engine.Present(token, false, none)).AsTask() |> run |> Engines.ok
              Expect.isTrue (found.Live.Data.AsSpan().SequenceEqual(ReadOnlySpan<byte> data)) "all of it")

          test "the store holds no token and no data, at no time" (fun settings ->
              let lab = lab settings
              let opened, first = create lab (Some "ada")
              let dumps = List<byte[]>()
              let dump () = dumps.Add(lab.Body opened.Snapshot.Id)
              dump ()
              lab.Data first |> ignore
              dump ()
              lab.After(TimeSpan.FromMinutes 16L)
              let second = (lab.Present(first, true) |> Engines.ok).Issued.Value.Reveal()
              dump ()
              lab.Data second |> ignore
              dump ()

              lab.Engine.Destroy(opened.Snapshot.Id, Revoked, none) |> run |> Engines.ok |> ignore

              dump ()

              for bytes in dumps do
                  for text in [ canary; "canary"; "1111"; first.Substring 23; second.Substring 23 ] do
                      Expect.isFalse (contains bytes text) text)

          test "a flipped bit opens nothing, whatever the checksum says" (fun settings ->
              let lab = lab settings
              let opened, token = create lab (Some "ada")
              let id = opened.Snapshot.Id
              let whole = lab.Body id

              for at in 0 .. whole.Length - 5 do
                  let forged = Array.copy whole
                  forged[at] <- forged[at] ^^^ (1uy <<< (at % 8))
                  lab.Forge(id, 1L, mend forged)

                  match lab.Data token with
                  | Error _ -> ()
                  | Ok data -> failtestf "byte %d of %d changed, and it opened: %s" at whole.Length data

              lab.Forge(id, 1L, whole)
              Expect.equal (lab.Data token) (Ok canary) "and whole it opens")

          test "the record of another session opens nothing" (fun settings ->
              let lab = lab settings
              let mine, myToken = create lab (Some "ada")
              let other, _ = create lab (Some "bob")
              lab.Forge(mine.Snapshot.Id, 1L, lab.Body other.Snapshot.Id)
              Expect.isTrue (isUnreadable (lab.Data myToken)) "moved")

          test "a plaintext record opens nothing" (fun settings ->
              let lab = lab settings
              let opened, token = create lab (Some "ada")
              let plain = Codec.encode opened.Snapshot.Id 1L opened.Snapshot.State
              lab.Forge(opened.Snapshot.Id, 1L, plain)
              Expect.isTrue (isUnreadable (lab.Data token)) "no second decoder")

          test "an older version of the record opens nothing under a newer one" (fun settings ->
              let lab = lab settings
              let opened, token = create lab (Some "ada")
              let old = lab.Body opened.Snapshot.Id

              lab.Engine.Update(opened, (fun _ -> Ok "newer"B), none) |> run |> Engines.ok |> ignore

              lab.Forge(opened.Snapshot.Id, 2L, old)
              Expect.isTrue (isUnreadable (lab.Data token)) "rolled back")

          testTask $"{name}: 60 parallel updates across a renewal all count" {
              let lab = lab settings
              let created = lab.Engine.Create(Token.newId, None, [| 0uy |], none) |> run |> Engines.ok
              let token = created.Issued.Value.Reveal()
              lab.Data token |> ignore
              lab.After(TimeSpan.FromMinutes 16L)

              let! answers =
                  [ for i in 1..60 ->
                        Task.Run<Result<Opened, SessionError>>(fun () ->
                            task {
                                match lab.Present(token, (i % 3 = 0)) with
                                | Error error -> return Error error
                                | Ok opened ->
                                    return! lab.Engine.Update(opened, (fun data -> Ok [| data[0] + 1uy |]), none)
                            }) ]
                  |> Task.WhenAll

              for answer in answers do
                  Engines.ok answer |> ignore

              let found = lab.Present(token, false) |> Engines.ok
              Expect.equal found.Live.Data [| 60uy |] "the sum"
          }

          test "lists, limits and ends need no key" (fun settings ->
              let lab = lab { settings with MaxSessionsPerSubject = Some 2 }

              let _, first = create lab (Some "ada")
              lab.After(TimeSpan.FromSeconds 1L)
              let second, _ = create lab (Some "ada")
              lab.After(TimeSpan.FromSeconds 1L)
              let _, third = create lab (Some "ada")

              Expect.equal
                  (lab.Data first)
                  (Error(SessionError.Ended(OnPurpose Limit, t0.AddSeconds 2.0)))
                  "the oldest"

              let listed = lab.Engine.List("ada", none) |> run |> Engines.ok
              Expect.equal listed.Length 2 "two"

              Expect.isTrue (lab.Engine.Destroy(second.Snapshot.Id, Revoked, none) |> run |> Engines.ok) "an operator"

              lab.After(TimeSpan.FromMinutes 20L)
              lab.Engine.Sweep(10, none) |> run |> ignore

              Expect.isTrue
                  (lab.Heard
                   |> List.exists (fun notice -> notice.Kind = ExpiredNotice Idle && notice.Subject = Some "ada"))
                  "the sweeper tells"

              Expect.isError (lab.Data third) "over")

          test "a wrong secret changes nothing" (fun settings ->
              let lab = lab settings
              let opened, token = create lab None
              let before = lab.Body opened.Snapshot.Id
              let _, other = create lab None
              let guess = opened.Snapshot.Id + other.Substring(other.IndexOf '.')
              Expect.equal (lab.Data guess) (Error(SessionError.Refused Guess)) "a guess"
              Expect.equal (lab.Body opened.Snapshot.Id) before "nothing"
              Expect.equal (lab.Data token) (Ok canary) "opens") ]

let all =
    testList
        "sealing"
        (onEach
         @ [ testCase "sealed to the bearer: data, subject and times cannot be put together anew" (fun () ->
                 let lab = lab toBearer
                 let opened, token = create lab (Some "ada")
                 let id = opened.Snapshot.Id
                 let first = Codec.decode id 1L (ReadOnlyMemory(lab.Body id))

                 lab.Engine.Update(opened, (fun _ -> Ok "newer"B), none) |> run |> Engines.ok |> ignore

                 let second = Codec.decode id 2L (ReadOnlyMemory(lab.Body id))

                 match first, second with
                 | Ok(Created old | Active old), Ok(Created live | Active live) ->
                     let forge what live =
                         lab.Forge(id, 2L, Codec.encode id 2L (Active live))
                         Expect.isTrue (isUnreadable (lab.Data token)) what

                     forge "older data" { live with Data = old.Data }
                     forge "another subject" { live with Subject = Some "root" }

                     forge "a later deadline" { live with CreatedAt = live.CreatedAt.AddDays 1.0 }

                     forge "no data" { live with Data = [||] }
                 | other -> failtestf "%A" other)

             testCase
                 "sealed to the bearer: a superseded token unwraps nothing, not even with the store at hand"
                 (fun () ->
                     let lab = lab toBearer
                     let opened, token = create lab None
                     let old = (Token.tryParse lab.Engine.Hasher (token.AsSpan())).Value
                     let label = BitConverter.GetBytes old.Hash.W0

                     let count () =
                         lab.Body opened.Snapshot.Id |> fun body -> body.AsSpan().IndexOf(ReadOnlySpan<byte> label)

                     Expect.isGreaterThanOrEqual (count ()) 0 "wrapped for the token"
                     lab.Engine.SignIn(opened, "ada", secretData, none) |> run |> Engines.ok |> ignore
                     Expect.equal (count ()) -1 "and not for the token before the elevation")

             testCase
                 "sealed to the bearer: after an elevation the data has another key, so an old token and an old copy of the store open nothing of it"
                 (fun () ->
                     let secret, token = SecretHasher(null, true), RandomNumberGenerator.GetBytes 32
                     let hash = Secret.Mint().HashWith(secret, "a")
                     let before = BearerKeys.Create(hash, token)
                     let after = before.Elevate(hash, RandomNumberGenerator.GetBytes 32)
                     Expect.isFalse (nonNull before.DataKey = nonNull after.WritingKey) "a new key of the data"
                     Expect.equal after.Settled.DataKey after.WritingKey "which the session goes on with")

             testCase
                 "sealed to the bearer: the same data is never sealed to the same bytes, for a nonce is used once"
                 (fun () ->
                     let hash = Secret.Mint().HashWith(SecretHasher(null, true), "a")
                     let keys = BearerKeys.Create(hash, RandomNumberGenerator.GetBytes 32)

                     let live =
                         { CreatedAt = t0
                           AuthenticatedAt = None
                           LastSeen = t0
                           Subject = None
                           Data = secretData
                           Revision = 1L
                           Elevations = 0
                           Secret = hash
                           SecretSince = t0
                           Superseded = [] }

                     let sealedOnce () =
                         let struct (state, wraps) = Bearer.sealState "a" 1L keys [] secretData (Active live)
                         let data = (Lifecycle.living state).Value.Data
                         data, [ for wrap in wraps -> wrap.Bytes ]

                     let (first, wrap), (second, another) = sealedOnce (), sealedOnce ()
                     let cipher (data: byte[]) = data[data.Length - secretData.Length ..]
                     Expect.notEqual (cipher first) (cipher second) "the data"
                     Expect.notEqual wrap another "and its key")

             testCase "sealed to the bearer: with a server key, no key follows from the hash in the store" (fun () ->
                 let serverKey = RandomNumberGenerator.GetBytes 32
                 let lab = lab { toBearer with ServerKey = ServerKeys serverKey }
                 let opened, token = create lab None
                 let id = opened.Snapshot.Id
                 let body = lab.Body id
                 let secret = Buffers.Text.Base64Url.DecodeFromChars(token.AsSpan(token.Length - 43))
                 // What HKDF makes of the secret before it looks at the purpose: with it every key of the token follows.
                 let extracted = HKDF.Extract(HashAlgorithmName.SHA256, secret, serverKey)
                 let info = Encoding.ASCII.GetBytes("session sealed to bearer 1 " + id)
                 let wrapping = HKDF.Expand(HashAlgorithmName.SHA256, extracted, 32, info)

                 match Codec.decode id 1L (ReadOnlyMemory body) with
                 | Ok(Created live) ->
                     let data = live.Data
                     use aes = new AesGcm(wrapping, 16)
                     // Throws unless it is the key.
                     aes.Decrypt(
                         data[10..21],
                         data[38..69],
                         data[22..37],
                         Array.zeroCreate<byte> 32,
                         Encoding.ASCII.GetBytes id
                     )
                 | other -> failtestf "%A" other

                 Expect.equal (body.AsSpan().IndexOf(ReadOnlySpan<byte> extracted)) -1 "and the store does not hold it")

             testCase "under a server key a hash copied onto another record opens nothing" (fun () ->
                 let lab = lab { Engines.settings with ServerKey = ServerKeys key }
                 let own, token = create lab (Some "eve")
                 let other, _ = create lab (Some "ada")
                 let id = other.Snapshot.Id

                 match Codec.decode id 1L (ReadOnlyMemory(lab.Body id)) with
                 | Ok(Created live) ->
                     lab.Forge(id, 1L, Codec.encode id 1L (Created { live with Secret = own.Live.Secret }))
                     let forged = id + token.Substring(token.Length - 44)
                     Expect.equal (lab.Data forged) (Error(SessionError.Refused Guess)) "not ada's session"
                 | other -> failtestf "%A" other)

             testCase "a former server key opens sessions, and a renewal brings them under the new one" (fun () ->
                 for seals in [ false; true ] do
                     let older, newer = RandomNumberGenerator.GetBytes 32, RandomNumberGenerator.GetBytes 32
                     let store = MemoryStore()

                     let node keys =
                         Lab(
                             store,
                             { Engines.settings with
                                 SealsToBearer = seals
                                 ServerKey = keys
                                 Policy =
                                     { Engines.settings.Policy with
                                         RotateEvery = Some(TimeSpan.FromMinutes 5.0) } }
                         )

                     let before = node (ServerKeys older)
                     let rotating = node (ServerKeys(newer, [ older ]))
                     let after = node (ServerKeys newer)
                     let guess = Error(SessionError.Refused Guess)
                     let _, token = create before (Some "ada")
                     Expect.equal (after.Data token) guess "the new key alone"
                     Expect.equal (rotating.Data token) (Ok canary) "both"
                     let opened = rotating.Present(token, false) |> Engines.ok
                     rotating.Engine.Update(opened, Ok, none) |> run |> Engines.ok |> ignore
                     Expect.equal (before.Data token) (Ok canary) "a node that has not heard of the new one"

                     for lab in [ before; rotating; after ] do
                         lab.After(TimeSpan.FromMinutes 6.0)

                     let next = (rotating.Present(token, true) |> Engines.ok).Issued.Value.Reveal()
                     Expect.equal (rotating.Data next) (Ok canary) "renewed"
                     Expect.equal (after.Data next) (Ok canary) "under the new key"
                     Expect.equal (before.Data next) guess "and not under the old one")

             testCase "sealed to the bearer: the end by time is told without data" (fun () ->
                 let lab = lab toBearer
                 create lab (Some "ada") |> ignore
                 lab.After(TimeSpan.FromMinutes 20L)
                 lab.Engine.Sweep(10, none) |> run |> ignore

                 let told =
                     lab.Heard
                     |> List.filter (fun notice ->
                         match notice.Kind with
                         | ExpiredNotice _ -> true
                         | _ -> false)

                 Expect.equal
                     (told |> List.map (fun notice -> notice.Subject, notice.Data))
                     [ Some "ada", [||] ]
                     "whose, and no more")

             testCase "under the application's keys: a new key keeps sessions, a lost one ends them" (fun () ->
                 let store = MemoryStore()
                 let before = Lab(store, protectedWith [ key ])
                 let _, token = create before None
                 let newer = RandomNumberGenerator.GetBytes 32
                 let rotated = Lab(store, protectedWith [ newer; key ])
                 let opened = rotated.Present(token, false) |> Engines.ok
                 rotated.Engine.Update(opened, Ok, none) |> run |> Engines.ok |> ignore
                 Expect.equal ((Lab(store, protectedWith [ newer ])).Data token) (Ok canary) "written anew"
                 Expect.isTrue (isUnreadable (before.Data token)) "the old key alone"
                 Expect.isTrue (isUnreadable ((Lab(store, Engines.settings)).Data token)) "without protection")

             testCase "an unreadable record is told, stays, and is removed long after its time" (fun () ->
                 let lab = lab (protectedWith [ key ])
                 let opened, token = create lab None
                 let id = opened.Snapshot.Id
                 lab.Forge(id, 1L, [| 1uy; 2uy; 3uy |])
                 Expect.isTrue (isUnreadable (lab.Data token)) "unreadable"

                 let told =
                     lab.Heard
                     |> List.exists (fun notice ->
                         match notice.Kind with
                         | UnreadableNotice _ -> notice.Id = id
                         | _ -> false)

                 Expect.isTrue told "the application hears of it"
                 lab.After(TimeSpan.FromHours 8.0)
                 lab.Engine.Sweep(10, none) |> run |> ignore
                 Expect.equal (lab.Body id) [| 1uy; 2uy; 3uy |] "kept"
                 lab.After(TimeSpan.FromMinutes 50.0)
                 Expect.equal (lab.Engine.Sweep(10, none) |> run) 0 "not looked at again within the hour"
                 lab.After(TimeSpan.FromDays 2.0)
                 lab.Engine.Sweep(10, none) |> run |> ignore
                 Expect.isNull (lab.Store.Load(id, none) |> wait) "removed") ])
