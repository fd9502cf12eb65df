// A day of one session, in the pure core: no server, no store, no clock but this script's.
//
//     dotnet build src/Session.Domain.fsproj --configuration Release
//     dotnet fsi docs/lifecycle.fsx

#r "../artifacts/bin/Session.Domain/release/Session.Domain.dll"

open System
open System.Security.Cryptography
open Session.Domain

let policy =
    { Idle = TimeSpan.FromMinutes 30.0
      Absolute = TimeSpan.FromHours 8.0
      Confirm = TimeSpan.FromMinutes 10.0
      RotateEvery = Some(TimeSpan.FromMinutes 15.0)
      Grace = TimeSpan.FromSeconds 30.0
      Retention = TimeSpan.FromHours 1.0
      OnReplay = DestroySession }

/// What a record knows of a secret. The secrets of this script are words.
let secret (words: string) = SecretHash.ofBytes (SHA256.HashData(Text.Encoding.UTF8.GetBytes words))

let day = DateTimeOffset(2026, 3, 2, 0, 0, 0, TimeSpan.Zero)
let at (time: string) = day + TimeSpan.Parse time

/// Everything that has happened, oldest first: the session is what these events make of nothing.
let mutable history: Event list = []

let ask (time: string) (who: string) command =
    let state = Lifecycle.replay history

    match Lifecycle.decide policy (at time) command state with
    | Ok events ->
        history <- history @ events
        printfn "%s  %-34s %O -> %O" time who state (Lifecycle.replay history)
    | Error refusal -> printfn "%s  %-34s %O, refused: %O" time who state refusal

let present time who words = ask time who (Present(secret words, at time))

/// What lets a request in that comes with this secret at this time.
let grant time words = Lifecycle.grant (secret words) (at time) (Lifecycle.replay history)

ask "09:00" "a visitor fills a cart" (Create(secret "first", None, "tea"B))
present "09:01" "comes back with the token" "first"
ask "09:02" "signs in" (SignIn("ada", "tea"B, secret "second", grant "09:02" "first"))
present "09:03" "whoever planted the first token" "first"
present "09:10" "ada" "second"

// A renewal in two phases: the old token works until the new one has been seen.
ask "09:20" "is issued the next token" (Renew(secret "third", grant "09:20" "second"))
present "09:20" "the response was lost: the old one" "second"
present "09:21" "ada, with the new one" "third"
present "09:21" "a request that was under way" "second"
ask "09:22" "writes" (Write("tea, milk"B, None, Some(grant "09:22" "third")))

// The session lives as long as somebody comes.
present "09:50" "ada" "third"
present "10:19" "ada" "third"

// A token that was superseded an hour ago: somebody has stolen it.
present "10:40" "a thief" "second"
present "10:41" "ada" "third"
ask "10:42" "a slow save" (Write("tea, milk, sugar"B, None, Some(grant "10:42" "third")))

printfn "%d events, and the session is %O." history.Length (Lifecycle.replay history)
