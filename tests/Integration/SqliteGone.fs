/// The file of the SQLite store, deleted, moved or readable by others while the application runs.
module Integration.SqliteGone

open System
open System.IO
open System.Threading.Tasks
open Expecto
open Integration.Http
open Integration.Sqlite
open Integration.World
open Session.Engine
open Session.Stores.Sqlite

let private insert (store: SqliteStore) id = (store :> ISessionStore).Insert(record id false, never)

/// The mode of the file and of its companions, as far as they are there.
let private modes (path: string) =
    [ for name in [ path; path + "-wal"; path + "-shm" ] do
          if File.Exists name then
              File.GetUnixFileMode name ]

let private ownerOnly = UnixFileMode.UserRead ||| UnixFileMode.UserWrite

let private refusal (work: unit -> Task<'a>) =
    task {
        try
            let! _ = work ()
            return ""
        with
        | :? InvalidOperationException
        | :? StoreRefusedException as refused -> return refused.Message
    }

/// Whether the store says that a write has changed nothing.
let private isRefused (write: unit -> ValueTask<WriteResult>) =
    task {
        try
            let! _ = write ()
            return false
        with :? StoreRefusedException ->
            return true
    }

/// Deletes the file under a store, and says what the store says of it.
let private deleted (path: string) (store: SqliteStore) (work: unit -> Task<string>) =
    task {
        let! _ = insert store "before"

        // Several readers, which stay open.
        let! _ = [ for _ in 1..8 -> (store :> ISessionStore).Count(never).AsTask() ] |> Task.WhenAll

        for name in [ path; path + "-wal"; path + "-shm" ] do
            File.Delete name

        do! Task.Delay 1000
        return! work ()
    }

let private disappearances =
    [ testCaseAsync
          "a deleted file is noticed within a second by a write, and no other one is made"
          (inFolder (fun path ->
              task {
                  use store = openAt path

                  let! sentence = deleted path store (fun () -> refusal (fun () -> (insert store "after").AsTask()))

                  Expect.stringContains sentence path "the sentence names the file"
                  Expect.stringContains sentence "deleted" "and says what happened"
                  let! again = refusal (fun () -> (insert store "again").AsTask())
                  Expect.stringContains again "deleted" "and so does every other write"
                  let! isSure = isRefused (fun () -> insert store "once more")
                  Expect.isTrue isSure "each has changed nothing, and says so"
                  Expect.isFalse (File.Exists path) "nothing was made in its place"
              }))
      testCaseAsync
          "a deleted file is noticed within a second by a read, and no other one is made"
          (inFolder (fun path ->
              task {
                  use store = openAt path
                  let load () = (store :> ISessionStore).Load("before", never).AsTask()
                  let! sentence = deleted path store (fun () -> refusal load)
                  Expect.stringContains sentence "deleted" "it says what happened"
                  let! again = refusal load
                  Expect.stringContains again "deleted" "and so does every other read"
                  Expect.isFalse (File.Exists path) "nothing was made in its place"
              }))
      testCaseAsync
          "a file that is moved back is used again, with all that it holds"
          (inFolder (fun path ->
              task {
                  use store = openAt path
                  let! _ = insert store "before"
                  let! _ = (store :> ISessionStore).Load("before", never)
                  File.Move(path, path + ".away")
                  do! Task.Delay 600
                  let! sentence = refusal (fun () -> (insert store "meanwhile").AsTask())
                  Expect.stringContains sentence "moved" "it is away"
                  File.Move(path + ".away", path)
                  let! inserted = insert store "after"
                  Expect.equal inserted WriteResult.Written "it is back"
                  let! found = (store :> ISessionStore).Load("before", never)
                  Expect.isNotNull found "with what it held"
                  Expect.equal (scalar path "SELECT count(*) FROM sessions") (box 2L) "where everybody sees it"
              }))
      for how in [ "moved"; "copied" ] do
          testCaseAsync
              $"a backup that is {how} in its place is not mixed with the log of the file before"
              (inFolder (fun path ->
                  task {
                      let backup = path + ".backup"

                      do!
                          task {
                              use store = openAt path

                              for n in 1..200 do
                                  let! _ = insert store $"before-{n}"
                                  ()

                              execute path $"VACUUM INTO '{backup}'"

                              // In the log, and in no backup.
                              for n in 1..200 do
                                  let! _ = insert store $"after-{n}"
                                  do! (store :> ISessionStore).Remove($"before-{n}", never)

                              if how = "moved" then
                                  File.Move(backup, path, true)
                              else
                                  File.Delete path
                                  File.Copy(backup, path)

                              do! Task.Delay 600

                              for _ in 1..3 do
                                  let! sentence = refusal (fun () -> (insert store "late").AsTask())
                                  Expect.stringContains sentence "Another file" "what happened"
                                  Expect.stringContains sentence (path + "-wal") "what to do"

                                  let! sentence =
                                      refusal (fun () -> (store :> ISessionStore).Load("before-1", never).AsTask())

                                  Expect.stringContains sentence "Another file" "no read either"
                          }

                      // As the sentence says.
                      for name in [ path + "-wal"; path + "-shm" ] do
                          File.Delete name

                      use store = openAt path
                      let! count = (store :> ISessionStore).Count never
                      Expect.equal count 200L "the backup"
                      let! inserted = insert store "next"
                      Expect.equal inserted WriteResult.Written "goes on"
                      Expect.equal (scalar path "PRAGMA integrity_check") (box "ok") "and is whole"
                  }))
      testCaseAsync
          "over HTTP a deleted file is 503, and the cookie stays"
          (inFolder (fun path ->
              task {
                  use store = openAt path
                  let! w = start store ignore
                  let! token = w.Begin "x"
                  File.Delete path
                  do! Task.Delay 1000

                  for _ in 1..3 do
                      let! answer = w.Post("/cart/y", token)
                      Expect.equal (answer.Status, answer.SetCookies) (503, []) "a write"
                      let! answer = w.Get("/cart", token)
                      Expect.equal (answer.Status, answer.SetCookies) (503, []) "a read"

                  do! stop w
              }))
      testCaseAsync
          "the file and its companions are the owner's alone, also when they were not"
          (inFolder (fun path ->
              task {
                  let make () =
                      task {
                          use store = openAt path
                          let! _ = insert store (string (Guid.NewGuid()))
                          Expect.equal (List.distinct (modes path)) [ ownerOnly ] "0600"
                          Expect.isGreaterThan (modes path).Length 1 "with its companions"
                      }

                  do! make ()
                  File.SetUnixFileMode(path, ownerOnly ||| UnixFileMode.GroupRead ||| UnixFileMode.OtherRead)
                  do! make ()
                  File.Delete path
                  File.WriteAllBytes(path, [||])
                  File.SetUnixFileMode(path, ownerOnly ||| UnixFileMode.OtherRead)
                  do! make ()

                  // Companions that an open connection keeps, and that others can read.
                  use other = new Microsoft.Data.Sqlite.SqliteConnection $"Data Source={path};Pooling=False"
                  other.Open()
                  use command = other.CreateCommand()
                  command.CommandText <- "UPDATE sessions SET last_seen = last_seen + 1"
                  Expect.isGreaterThan (command.ExecuteNonQuery()) 0 "it has written"

                  for name in [ path + "-wal"; path + "-shm" ] do
                      File.SetUnixFileMode(name, ownerOnly ||| UnixFileMode.OtherRead)

                  do! make ()
              })) ]

let all = testList "Sqlite file that is gone" disappearances
