/// What a real browser says of who had it send a request, and what the library makes of it: Chromium, three origins.
module Integration.CrossSites

open System
open System.Threading.Tasks
open Expecto
open Integration.App

/// Each page asks what is its own; then the browser goes to the next one. The last one sends a form as a page of its own.
let private page =
    """<!doctype html><body><script>
    const query = new URLSearchParams(location.search);
    const [app, pages, token] = ['app', 'pages', 'token'].map(it => query.get(it));
    const step = +query.get('step');
    const who = ['own', 'same-site', 'cross-site', 'cross-site'][step];
    const cases = JSON.parse(query.get('cases'));
    const address = it => app + it.split(' ')[3] + '?case=' + encodeURIComponent(it);
    const pause = (start, most) => new Promise(done => { setTimeout(done, most); start(done); });
    const go = (base, step, token) => { query.set('step', step); query.set('token', token); location = base + '/page?' + query; };
    const form = (it, target) => {
      const form = document.body.appendChild(document.createElement('form'));
      form.method = it.split(' ')[2]; form.action = address(it); form.target = target || '_self';
      const field = form.appendChild(document.createElement('input'));
      field.name = 'case'; field.value = it;
      form.submit();
    };
    const ways = {
      fetch: (it, method) => fetch(address(it), { method, credentials: 'include' }).catch(() => 0),
      header: (it, method) => fetch(address(it), { method, credentials: 'omit', headers: { 'X-Token': token } }).catch(() => 0),
      opaque: (it, method) => fetch(address(it), { method, credentials: 'include', mode: 'no-cors' }).catch(() => 0),
      frame: it => pause(done => {
        const frame = document.createElement('iframe');
        frame.name = 'frame' + cases.indexOf(it);
        document.body.appendChild(frame);
        setTimeout(() => { frame.onload = done; form(it, frame.name); }, 50);
      }, 3000),
      socket: it => pause(done => { const socket = new WebSocket(address(it).replace('http', 'ws')); socket.onerror = socket.onclose = done; }, 3000),
    };
    (async () => {
      try {
        let kept = token;
        if (step === 0) {
          await fetch(app + '/login', { method: 'POST', credentials: 'include' });
          kept = (await fetch(app + '/login', { method: 'POST', credentials: 'omit', headers: { 'X-Token': '' } })).headers.get('X-Token');
          query.set('token', kept);
        }
        if (step < 3) {
          for (const it of cases.filter(it => it.startsWith(who + ' ') && !it.includes(' top '))) {
            const [, way, method] = it.split(' ');
            await ways[way](it, method);
          }
          if (step === 0) go(pages.split(' ')[0], 1, kept);
          if (step === 1) go(pages.split(' ')[1], 2, kept);
          if (step === 2) go(pages.split(' ')[1], 3, kept);
        } else {
          await fetch(app + '/report?said=done', { method: 'POST', mode: 'no-cors' });
          form(cases[cases.length - 1]);
        }
      } catch (error) { await fetch(app + '/report?said=' + encodeURIComponent(error), { method: 'POST', mode: 'no-cors' }); }
    })();
    </script>"""

let private isUnsafe method = method <> "GET" && method <> "HEAD"

/// Who, by what, with which method, to which end.
let private cases =
    [ for who in [ "own"; "same-site"; "cross-site" ] do
          for path in
              [ "/update"
                "/login"
                if who <> "own" then
                    "/logout" ] do
              for method in
                  [ "HEAD"
                    "POST"
                    "PUT"
                    "PATCH"
                    "DELETE"
                    if path <> "/logout" then
                        "GET" ] do
                  // By a safe method they may: what that means is the application's own doing.
                  if path <> "/logout" || isUnsafe method then
                      $"{who} fetch {method} {path}"

                  if path = "/update" then
                      $"{who} header {method} {path}"

              $"{who} opaque POST {path}"
              $"{who} frame POST {path}"

              // Not to sign in: the answer to what opens a WebSocket brings the browser no cookie.
              if path = "/update" then
                  $"{who} frame GET {path}"
                  $"{who} socket GET {path}"

      // At last, in place of the page.
      "cross-site top POST /update" ]

let all =
    testList
        "cross-site"
        [ testCaseTask
              "Chromium: what another origin had it send changes no session, and all else is as before"
              (fun () ->
                  task {
                      let reported = TaskCompletionSource<string> TaskCreationOptions.RunContinuationsAsynchronously
                      let! app = CrossSiteApp.StartAsync(page, fun said -> reported.TrySetResult said |> ignore)

                      try
                          let query =
                              [ "app", app.Address
                                "pages", $"{app.SameSite} {app.OtherSite}"
                                "cases", Text.Json.JsonSerializer.Serialize cases
                                "token", ""
                                "step", "0" ]
                              |> List.map (fun (name, value) -> $"{name}={Uri.EscapeDataString value}")

                          let! said =
                              Browser.visitingUntil
                                  $"""{app.Address}/page?{String.Join('&', query)}"""
                                  reported.Task
                                  (fun () -> app.Verdicts |> Seq.exists (fun it -> it.Case = List.last cases))

                          Expect.equal said "done" "what the pages say"

                          let verdicts = List.ofSeq app.Verdicts
                          let asked = verdicts |> List.map _.Case |> List.distinct
                          Expect.equal (List.except asked cases) [] "every case was asked"

                          let wrong =
                              [ for it in verdicts do
                                    match it.Case.Split ' ' with
                                    | [| who; way; method; path |] ->
                                        let changes = path <> "/logout" || it.HasCookie

                                        let isRefused =
                                            who <> "own"
                                            && way <> "header"
                                            && changes
                                            && (isUnsafe method || way = "socket")

                                        if it.Status <> (if isRefused then 403 else 200) then
                                            it

                                        let isSaid = if who = "own" then "same-origin" else who

                                        // The browser says so itself, but of the beginning of a WebSocket.
                                        if it.Site <> isSaid && not (way = "socket" && it.Site = "") then
                                            it
                                    | _ -> it ]

                          Expect.equal wrong [] "wrong verdicts"

                          // The cookie was there, or nothing would have been at stake. (What pages of another site fetch
                          // comes without it in today's browsers; a form that takes the place of the page has it.)
                          for it in [ "own fetch POST /update"; "same-site fetch POST /update"; List.last cases ] do
                              let own = verdicts |> List.filter (fun verdict -> verdict.Case = it)

                              Expect.isTrue
                                  (not own.IsEmpty && own |> List.forall _.HasCookie)
                                  $"{it}: with the cookie"
                      finally
                          app.DisposeAsync().AsTask().GetAwaiter().GetResult()
                  }) ]
