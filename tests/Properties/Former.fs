/// Records that the version before (0.1, record format 1) has written: its sessions go on. data/records-0.1.json was made
/// by that version; it holds one record of each state, in the clear, under a server key, and sealed to its bearer.
module Properties.Former

open System
open System.IO
open System.Text.Json
open System.Threading
open Expecto
open Microsoft.Extensions.Logging.Abstractions
open Microsoft.Extensions.Time.Testing
open Session.Domain
open Session.Engine
open Properties.Engines

let private none = CancellationToken.None
let private minutes (n: int) = TimeSpan.FromMinutes(int64 n)

let private settingsOf kind =
    { settings with
        Policy =
            { Idle = minutes 30
              Absolute = TimeSpan.FromHours 8
              Confirm = minutes 10
              RotateEvery = Some(minutes 15)
              Grace = TimeSpan.FromSeconds 30L
              Retention = TimeSpan.FromHours 1
              OnReplay = DestroySession }
        MaxDataBytes = 65_536
        SealsToBearer = (kind = "sealed")
        ServerKey = if kind = "keyed" then ServerKeys(Array.create 32 7uy) else null }

let private records =
    lazy
        (let file = Path.Combine(AppContext.BaseDirectory, "data", "records-0.1.json")
         use document = JsonDocument.Parse(File.ReadAllText file)

         [ for it in document.RootElement.EnumerateArray() do
               let text (name: string) = it.GetProperty(name).GetString() |> Option.ofObj
               let must name = (text name).Value
               let time name = DateTimeOffset.Parse(must name, Globalization.CultureInfo.InvariantCulture)

               let record =
                   StoredRecord(
                       must "id",
                       it.GetProperty("version").GetInt64(),
                       enum<RecordKind>(it.GetProperty("recordKind").GetInt32()),
                       time "lastSeen",
                       time "dueAt",
                       Option.toObj (text "subject"),
                       it.GetProperty("operation").GetInt64(),
                       ReadOnlyMemory(Convert.FromBase64String(must "body"))
                   )

               must "kind", must "state", time "at", record, must "token", must "old" ])

/// An engine of today on a store that holds this record, at the time when it was written.
let private engineOn kind at (record: StoredRecord) =
    let store = MemoryStore() :> ISessionStore
    store.Insert(record, none).AsTask().GetAwaiter().GetResult() |> ignore
    SessionEngine(store, settingsOf kind, FakeTimeProvider at, NullLogger.Instance, silent)

let private present (engine: SessionEngine) (token: string) =
    engine.Present((Token.tryParse engine.Hasher (token.AsSpan())).Value, false, none).AsTask().GetAwaiter().GetResult()

let private isOver (answer: Result<Opened, SessionError>) =
    match answer with
    | Error(SessionError.Ended _) -> true
    | _ -> false

let all =
    testList
        "records of 0.1"
        [ testCase "16 one decoder: every state of each kind is there, and is read" (fun () ->
              Expect.equal records.Value.Length 24 "eight states in three kinds"

              for kind, state, at, record, token, _ in records.Value do
                  let answer = present (engineOn kind at record) token
                  let name = $"{kind}, {state}"

                  match state with
                  | "Destroyed"
                  | "Expired" -> Expect.isTrue (isOver answer) name
                  | "Renewed twice" -> Expect.equal (ok answer).Live.Data "cart!"B name
                  | "Signed in" -> Expect.equal (ok answer).Live.Data "signed in"B name
                  | _ -> Expect.equal (ok answer).Live.Data "cart"B name)

          testCase "13 grace is the last: the tokens that these records know are what they were" (fun () ->
              for kind, state, at, record, _, old in records.Value do
                  let engine = engineOn kind at record
                  let name = $"{kind}, {state}"

                  match state with
                  // The renewal's new token, and within its grace the old one.
                  | "Issued"
                  | "Confirmed" -> Expect.equal (ok (present engine old)).Live.Data "cart"B name
                  | "Renewed twice" ->
                      Expect.equal (present engine old) (Error(SessionError.Refused Outdated)) name
                      let found = engine.Find(record.Id, none).GetAwaiter().GetResult()
                      Expect.equal (ok found) None "a replay ends it"
                  | "Signed in" -> Expect.equal (present engine old) (Error(SessionError.Refused Outdated)) name
                  | _ -> ())

          testCase "they are written in today's form, with all that is in them" (fun () ->
              for kind, state, at, record, token, _ in records.Value do
                  if state <> "Destroyed" && state <> "Expired" then
                      let engine = engineOn kind at record
                      let opened = ok (present engine token)
                      let update = engine.Update(opened, (fun data -> Ok(Array.append data "+"B)), none)
                      let updated = ok (update.GetAwaiter().GetResult())
                      let again = ok (present engine token)
                      Expect.equal again.Live.Data (Array.append opened.Live.Data "+"B) $"{kind}, {state}"
                      Expect.equal updated.Live.CreatedAt opened.Live.CreatedAt "the same session") ]
