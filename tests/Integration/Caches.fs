/// Real caches between users: the output cache, response caching, and nginx. Nobody gets what is somebody else's.
module Integration.Caches

open System
open System.IO
open System.Threading.Tasks
open Expecto
open Integration.App
open Integration.Http
open Integration.Nginx

let private places =
    [ for keeper in [ Keeper.Output; Keeper.OutputOfAll; Keeper.OutputByForce; Keeper.Response ] do
          for isCacheFirst in [ true; false ] do
              keeper, isCacheFirst
      Keeper.Proxy, true ]

let private run isBuiltIn (keeper: Keeper) isCacheFirst =
    task {
        let! app = CacheApp.StartAsync(keeper, isCacheFirst, isBuiltIn)

        try
            if keeper = Keeper.Proxy then
                use nginx = new Nginx(app.Address)
                return! CacheMatrix(app, nginx.Address, keeper, isCacheFirst).RunAsync()
            else
                return! CacheMatrix(app, app.Address, keeper, isCacheFirst).RunAsync()
        finally
            app.DisposeAsync().AsTask().GetAwaiter().GetResult()
    }

let private all isBuiltIn =
    task {
        let found = ResizeArray<CacheFinding>()

        for keeper, isCacheFirst in places do
            let! some = run isBuiltIn keeper isCacheFirst
            found.AddRange some

        return List.ofSeq found
    }

let private nameOf keeper =
    match keeper with
    | Keeper.Output -> "output cache, default policy"
    | Keeper.OutputOfAll -> "output cache, a policy that asks for no user"
    | Keeper.OutputByForce -> "output cache, a policy that allows storage at the end"
    | Keeper.Response -> "response caching"
    | _ -> "nginx"

/// A line for each cache: of so many combinations so many were wrong, theirs and ours.
let private table (theirs: CacheFinding list) (ours: CacheFinding list) =
    let wrong (found: CacheFinding list) = found |> List.filter (fun it -> not (isNull it.Wrong)) |> List.length

    let line name (theirs: CacheFinding list) (ours: CacheFinding list) =
        $"| {name} | {theirs.Length} | {wrong theirs} | {wrong ours} |"

    [ for keeper in places |> List.map fst |> List.distinct do
          let isIt (found: CacheFinding) = found.Keeper = keeper
          line (nameOf keeper) (List.filter isIt theirs) (List.filter isIt ours)
      line "together" theirs ours ]

let private page () = Repository.under [ "docs"; "CACHES.md" ]

let tests =
    testList
        "caches"
        [ testCaseTask "of two users and nobody each gets what is theirs, whatever keeps answers" (fun () ->
              task {
                  let! ours = all false
                  Expect.isGreaterThanOrEqual ours.Length 200 "combinations"
                  Expect.isEmpty (ours |> List.filter (fun it -> not (isNull it.Wrong))) "wrong bodies"
                  let! theirs = all true
                  let table = table theirs ours

                  if Environment.GetEnvironmentVariable "SESSION_WRITE_API" = "1" then
                      let before = File.ReadAllLines(page ()) |> List.ofArray

                      let isRow (line: string) =
                          line.StartsWith "| " && not (line.StartsWith "| cache" || line.StartsWith "| ---")

                      let head = before |> List.takeWhile (isRow >> not)
                      let rest = before |> List.skip head.Length |> List.skipWhile isRow
                      File.WriteAllLines(page (), head @ table @ rest)

                  let said = File.ReadAllLines(page ())

                  Expect.isEmpty
                      (table |> List.filter (fun line -> not (Array.contains line said)))
                      "docs/CACHES.md says so"
              })

          testCaseTask "nginx keeps what the application lets it keep" (fun () ->
              task {
                  let! app = CacheApp.StartAsync(Keeper.Proxy, true, false)

                  try
                      use nginx = new Nginx(app.Address)
                      use client = newClient ()
                      let! _ = send client nginx.Address "GET" "/shared?early=true" []
                      let! second = send client nginx.Address "GET" "/shared?early=true" []
                      Expect.equal (second.Header "X-Cache") (Some "HIT") "from the cache"
                      Expect.equal app.SharedRuns 1 "the endpoint ran once"
                  finally
                      app.DisposeAsync().AsTask().GetAwaiter().GetResult()
              }) ]
