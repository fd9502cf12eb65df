/// Circuits of Blazor Server, in a real browser and with the framework's own script: each ends together with its session.
/// The nodes are processes of tests/Circuits on one SQLite file. Cookies know no ports: a tab at another node has the same session.
module Integration.Circuits

open System
open System.Diagnostics
open System.IO
open System.Text.Json
open System.Threading.Tasks
open Expecto
open Integration.Chromium
open Integration.Http

/// Two nodes, and people at browsers.
let private nodes
    (liveCheck: TimeSpan)
    (hearNotices: bool)
    (body: Uri -> Uri -> (unit -> Task<Person>) -> Task<unit>)
    : Task<unit> =
    task {
        let data = World.temporaryFolder ()

        let node (work: Uri -> Task<unit>) =
            Shops.running
                "Circuits"
                []
                [ "--data"
                  data
                  "--live-check"
                  liveCheck.ToString()
                  "--notices"
                  string hearNotices ]
                work

        try
            do! node (fun one -> node (fun other -> browsing (fun newPerson -> body one other newPerson)))
        finally
            Directory.Delete(data, true)
    }

/// No look comes within the test: whatever ends was ended by a notice.
let private byNotices body = nodes (TimeSpan.FromMinutes 5L) true body

let private atOnce = TimeSpan.FromSeconds 15L

let private posts (person: Person) (path: string) =
    task {
        let! status = person.Awaits $"fetch('{path}', {{ method: 'POST' }}).then(it => String(it.status))"
        Expect.equal status "200" path
    }

/// At a page of this node that has no circuit.
let private comesTo (node: Uri) (person: Person) =
    task {
        let! _ = person.Goes(Uri(node, "/plain"))
        ()
    }

let private signsIn (node: Uri) (person: Person) (user: string) =
    task {
        do! comesTo node person
        do! posts person $"/member/sign-in?user={user}"
    }

let private shows (person: Person) (element: string) (text: string) =
    person.Sees $"document.querySelector('#{element}')?.textContent === '{text}'"

/// What the node has run: presses of the button, and circuits that were resumed with what was kept of them.
let private seen (node: Uri) =
    task {
        use client = newClient ()
        let! answer = send client node "GET" "/seen" []

        match answer.Body.Split ' ' with
        | [| presses; resumed |] -> return int presses, int resumed
        | _ -> return failtestf "the node says %d %s" answer.Status answer.Body
    }

/// A page with an open circuit, which acts for them.
let private opens (node: Uri) (person: Person) (user: string) =
    task {
        let! _ = person.Goes(Uri(node, "/"))
        do! shows person "user" user
        let! before, _ = seen node
        let! _ = person.Read "window.isFormer = true, document.querySelector('#more').click()"
        do! shows person "count" "1"
        let! after, _ = seen node
        Expect.equal after (before + 1) "the node has run it"
    }

/// Somebody who has signed in at this node, at a page with an open circuit.
let private comesAs (user: string) (node: Uri) (newPerson: unit -> Task<Person>) =
    task {
        let! person = newPerson ()
        do! signsIn node person user
        do! opens node person user
        return person
    }

/// The page is loaded anew, as this user's.
let private comesAnew (person: Person) (user: string) (within: TimeSpan) (clock: Stopwatch) =
    task {
        do! person.Sees $"!window.isFormer && document.querySelector('#user')?.textContent === '{user}'"
        Expect.isLessThan clock.Elapsed within "how long the page of the former session was there"
        do! shows person "opened" user
        do! shows person "count" "0"
    }

/// Documents are asked for and never come: the page stays, whatever it is told.
let private refusesToReload (person: Person) =
    task {
        let! _ =
            person.Told(
                "Fetch.enable",
                """{"patterns":[{"urlPattern":"*","resourceType":"Document","requestStage":"Request"}]}"""
            )

        ()
    }

/// The page knows its sockets, and what went over those that were open.
let private watchesItsSockets (person: Person) =
    task {
        let! _ = person.Told("Page.enable", "{}")

        let script =
            JsonSerializer.Serialize
                "window.sent = []; window.sockets = [];
                 window.WebSocket = class extends WebSocket {
                     constructor(...where) { super(...where); window.sockets.push(this); }
                     send(what) {
                         if (this.readyState === WebSocket.OPEN)
                             window.sent.push(typeof what === 'string' ? what : new TextDecoder().decode(what));
                         super.send(what);
                     }
                 };"

        let! _ = person.Told("Page.addScriptToEvaluateOnNewDocument", $$"""{"source":{{script}} }""")
        ()
    }

let private logout =
    testCaseTask "Chromium: 'log out everywhere' at another node closes a circuit at once, and nobody else's" (fun () ->
        byNotices (fun one other newPerson ->
            task {
                let! home = newPerson |> comesAs "ada" one
                let! eve = newPerson |> comesAs "eve" one
                let! work = newPerson ()
                do! signsIn other work "ada"
                do! posts work "/member/everywhere"
                do! comesAnew home "nobody" atOnce (Stopwatch.StartNew())
                let! isThere = eve.Read "window.isFormer"
                Expect.equal isThere "true" "her page stays"
                let! _ = eve.Read "document.querySelector('#more').click()"
                do! shows eve "count" "2"
            }))

let private refusing =
    testCaseTask
        "Chromium: a tab that does not reload clicks over its open socket, nothing is run, and it is cut off"
        (fun () ->
            byNotices (fun one other newPerson ->
                task {
                    let! home = newPerson ()
                    let! work = newPerson ()
                    do! watchesItsSockets home
                    do! signsIn one home "ada"
                    do! opens one home "ada"
                    do! signsIn other work "ada"
                    do! refusesToReload home
                    let! before, _ = seen one
                    do! posts work "/member/everywhere"
                    do! shows home "user" "nobody"

                    let! _ = home.Read "window.sent = [], document.querySelector('#more').click()"
                    do! home.Sees "window.sent.some(it => it.includes('DispatchEventAsync'))"
                    let! isFormer = home.Read "window.isFormer"
                    Expect.equal isFormer "true" "the former page, over its open socket"
                    do! home.Sees "window.sockets[0].readyState === WebSocket.CLOSED"
                    let! after, _ = seen one
                    Expect.equal after before "nothing was run"
                    let! count = home.Read "document.querySelector('#count').textContent"
                    Expect.equal count "1" "and nothing is shown"
                }))

let private elevation =
    testCaseTask "Chromium: an elevation in another tab closes a circuit at once, and it comes anew" (fun () ->
        byNotices (fun one other newPerson ->
            task {
                let! ada = newPerson |> comesAs "ada" one
                let! tab = ada.OpensTab()
                do! comesTo other tab
                do! posts tab "/member/regenerate"
                do! comesAnew ada "ada" atOnce (Stopwatch.StartNew())
                do! opens one ada "ada"
            }))

let private another =
    testCaseTask "Chromium: another user's sign-in in another tab closes a circuit at once" (fun () ->
        byNotices (fun one other newPerson ->
            task {
                let! person = newPerson |> comesAs "ada" one
                let! tab = person.OpensTab()
                do! signsIn other tab "bob"
                do! comesAnew person "bob" atOnce (Stopwatch.StartNew())
                do! opens one person "bob"
            }))

let private two =
    testCaseTask "Chromium: a circuit under sessions of two types is closed by the end of either" (fun () ->
        byNotices (fun one other newPerson ->
            task {
                let! ada = newPerson ()
                do! signsIn one ada "ada"
                do! posts ada "/cart/begin"
                do! opens one ada "ada"
                let! tab = ada.OpensTab()
                do! comesTo other tab
                do! posts tab "/cart/end"
                do! comesAnew ada "ada" atOnce (Stopwatch.StartNew())
                do! posts tab "/cart/begin"
                do! opens one ada "ada"
                do! posts tab "/member/sign-out"
                do! comesAnew ada "nobody" atOnce (Stopwatch.StartNew())
                // The cart is still there, and the circuit that was opened under it alone.
                do! opens one ada "nobody"
                do! posts tab "/cart/end"
                do! comesAnew ada "nobody" atOnce (Stopwatch.StartNew())
            }))

let private looks =
    let liveCheck = TimeSpan.FromSeconds 3L

    testCaseTask "Chromium: where no notice comes through, the next look closes a circuit" (fun () ->
        nodes liveCheck false (fun one other newPerson ->
            task {
                let! home = newPerson |> comesAs "ada" one
                let! work = newPerson ()
                do! signsIn other work "ada"
                do! posts work "/member/everywhere"
                // Besides the look, until the page is there again.
                do! comesAnew home "nobody" (liveCheck + TimeSpan.FromSeconds 5L) (Stopwatch.StartNew())
            }))

let private resumed =
    testCaseTask "Chromium: a paused circuit is resumed by its session, and by nobody after the logout" (fun () ->
        byNotices (fun one other newPerson ->
            task {
                let! home = newPerson |> comesAs "ada" one
                let! work = newPerson ()
                let! isPaused = home.Awaits "Blazor.pauseCircuit().then(String)"
                Expect.equal isPaused "true" "paused"
                let! isResumed = home.Awaits "Blazor.resumeCircuit().then(String)"
                Expect.equal isResumed "true" "resumed"
                let! _ = home.Read "document.querySelector('#more').click()"
                do! shows home "count" "2"
                let! _, count = seen one
                Expect.equal count 1 "with what was kept of it"

                let! isPaused = home.Awaits "Blazor.pauseCircuit().then(String)"
                Expect.equal isPaused "true" "paused once more"
                do! signsIn other work "ada"
                do! posts work "/member/everywhere"
                let clock = Stopwatch.StartNew()
                let! _ = home.Read "void Blazor.resumeCircuit()"
                do! comesAnew home "nobody" atOnce clock
                let! _, count = seen one
                Expect.equal count 1 "nothing of what was kept has come back"
            }))

let all = testSequenced (testList "circuits" [ logout; refusing; elevation; another; two; looks; resumed ])
