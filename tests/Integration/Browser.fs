/// What a real browser does with the cookies: Chromium, without a window.
module Integration.Browser

open System
open System.Diagnostics
open System.IO
open System.Threading.Tasks
open Expecto
open Integration.App
open Session.Engine

/// Runs until `reported` is there, and this as well. Stopped by its own id.
let visitingUntil (address: string) (reported: Task<string>) (isDone: unit -> bool) : Task<string> =
    task {
        let profile = Directory.CreateTempSubdirectory("session-chromium-").FullName

        let arguments =
            [ "--headless=new"
              "--no-sandbox"
              "--disable-gpu"
              "--disable-dev-shm-usage"
              "--no-first-run"
              "--user-data-dir=" + profile
              address ]

        use browser = RedisServer.launch "chromium" arguments

        try
            let! said = reported.WaitAsync(TimeSpan.FromSeconds 90L)
            let clock = Stopwatch.StartNew()

            while not (isDone ()) && clock.Elapsed < TimeSpan.FromSeconds 20L do
                do! Task.Delay 20

            return said
        finally
            browser.Kill true
            browser.WaitForExit()

            try
                Directory.Delete(profile, true)
            with :? IOException ->
                ()
    }

let private visiting (address: string) (reported: Task<string>) = visitingUntil address reported (fun () -> true)

/// Two applications on one store: before and after Partitioned was switched. The page goes from one to the other and back.
let private script =
    """
    const ask = async (path, method) => (await fetch(path, { method: method || 'GET', credentials: 'include' })).text();
    const me = async () => { said.push(await ask('/me')); };
    const said = (new URLSearchParams(location.search).get('said') || '').split(',').filter(it => it);
    const goTo = where => { location = where + '?step=' + (step + 1) + '&other=' + encodeURIComponent(location.origin) + '&said=' + said; };
    const step = +(new URLSearchParams(location.search).get('step') || 1);
    const other = new URLSearchParams(location.search).get('other');
    (async () => {
      try {
        if (step === 1) { await ask('/login', 'POST'); await me(); goTo(other); }
        if (step === 2) {
          await me();
          await ask('/later', 'POST'); await me(); await me();
          said.push((await ask('/names')).replace(' ', '+'));
          await ask('/login', 'POST'); await me();
          goTo(other);
        }
        if (step === 3) {
          await me();
          await ask('/later', 'POST'); await me(); await me();
          said.push((await ask('/names')).replace(' ', '+'));
          await ask('/logout', 'POST'); await me();
          goTo(other);
        }
        if (step === 4) { await me(); await ask('/report?said=' + said, 'POST'); }
      } catch (error) { await ask('/report?said=' + encodeURIComponent(error), 'POST'); }
    })();
    """

let private switched name isPartitionedFirst (names: string list) =
    testCaseTask name (fun () ->
        task {
            let store = MemoryStore()
            let clock = CacheApp.Clock()
            let reported = TaskCompletionSource<string> TaskCreationOptions.RunContinuationsAsynchronously
            let report said = reported.TrySetResult said |> ignore
            let start isPartitioned = PartitionApp.StartAsync(store, clock, isPartitioned, script, report)
            let! first = start isPartitionedFirst
            let! second = start (not isPartitionedFirst)

            try
                let! said = visiting $"{first.Address}/?other={Uri.EscapeDataString second.Address}" reported.Task

                Expect.equal
                    (List.ofArray (said.Split ','))
                    [ "ada"
                      "ada"
                      "ada"
                      "ada"
                      names[0]
                      "ada"
                      "ada"
                      "ada"
                      "ada"
                      names[1]
                      "nobody"
                      "nobody" ]
                    "who the browser is, and the cookies that it sends"
            finally
                for app in [ first; second ] do
                    app.DisposeAsync().AsTask().GetAwaiter().GetResult()
        })

let all =
    testList
        "browser"
        [ switched
              "Chromium: Partitioned switched on, and off again, signs nobody out"
              false
              [ "__Host-sid-p"; "__Host-sid" ]
          switched
              "Chromium: Partitioned switched off, and on again, signs nobody out"
              true
              [ "__Host-sid"; "__Host-sid-p" ] ]
