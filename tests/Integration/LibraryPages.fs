/// The library's own pages in a real browser, in samples/Shop: on a phone, in the dark, without script, by keyboard, and as axe
/// (the rules of WCAG) judges them. The pictures are in artifacts/pages; with SESSION_WRITE_IMAGES=1 those of the documents are
/// written anew, after SESSION_IMAGES_MINUTES of traffic.
module Integration.LibraryPages

open System
open System.IO
open System.Net.Http
open System.Text
open System.Threading.Tasks
open Deque.AxeCore.Commons
open Expecto
open Integration.Chromium

let private axe = lazy (BundledAxeScriptProvider().GetScript())

let private pictures = lazy ((Directory.CreateDirectory(Repository.under [ "artifacts"; "pages" ])).FullName)

/// The shop, in memory, without a file of its own.
let private shop (body: Uri -> (unit -> Task<Person>) -> Task<unit>) =
    task {
        let content = World.temporaryFolder ()
        let pages = Repository.under [ "samples"; "Shop"; "wwwroot" ]
        Directory.CreateSymbolicLink(Path.Combine(content, "wwwroot"), pages) |> ignore

        try
            do!
                Shops.running "Shop" [ "SHOP_STORE", "memory" ] [ "--contentRoot"; content ] (fun address ->
                    browsing (fun newPerson -> body address newPerson))
        finally
            Directory.Delete(content, true)
    }

/// A sign-in by a program, under a User-Agent of its choice.
let private signsIn (address: Uri) (user: string) (agent: string) : Task =
    task {
        use client = new HttpClient()
        use request = new HttpRequestMessage(HttpMethod.Post, Uri(address, "/login"))
        request.Headers.TryAddWithoutValidation("User-Agent", agent) |> ignore
        request.Content <- new StringContent($$"""{"user":"{{user}}"}""", Encoding.UTF8, "application/json")
        use! answer = client.SendAsync request
        answer.EnsureSuccessStatusCode() |> ignore
    }

let private enters (address: Uri) (person: Person) =
    task {
        let! _ = person.Goes(Uri(address, "/signin"))
        let! _ = person.Sends("form", [ "user", "ada" ])
        ()
    }

let private keeps (name: string) (person: Person) =
    task {
        let! picture = person.Picture()
        File.WriteAllBytes(Path.Combine(pictures.Force(), name + ".png"), picture)
    }

/// What axe finds: nothing.
let private isAccessible (what: string) (person: Person) =
    task {
        let! _ = person.Awaits(axe.Force() + "; Promise.resolve(typeof axe)")

        let! found =
            person.Awaits
                "axe.run(document, { resultTypes: ['violations'] }).then(found => found.violations.map(it => it.id + ': ' + it.nodes.map(node => node.html).join(' | ')).join('\\n'))"

        Expect.equal found "" $"axe on {what}"
    }

/// In both widths and both colours: nothing has to be pushed aside to be read, the style is there, and axe finds nothing.
let private looksRight (name: string) (person: Person) (address: Uri) =
    task {
        let grounds = Collections.Generic.HashSet<string>()

        for width, height in [ 360, 740; 1200, 900 ] do
            for isDark in [ false; true ] do
                do! person.ShowsAs(width, height, isDark)
                let! _ = person.Goes address
                let colour = if isDark then "dark" else "light"
                let what = $"{name}-{width}-{colour}"
                let! wide = person.Read "document.documentElement.scrollWidth <= innerWidth"
                Expect.equal wide "true" $"{what}: it fits"
                let! round = person.Read "getComputedStyle(document.querySelector('.card')).borderTopLeftRadius"
                Expect.notEqual round "0px" $"{what}: the policy lets its style through"
                let! ground = person.Read "getComputedStyle(document.body).backgroundColor"
                grounds.Add ground |> ignore
                do! isAccessible what person
                do! keeps what person

        Expect.equal grounds.Count 2 "light and dark"
    }

/// Tab, until what has the focus is this one. So it is reached without a mouse.
let private reaches (person: Person) (condition: string) =
    task {
        let mutable isThere = false
        let mutable steps = 0

        while not isThere do
            steps <- steps + 1
            Expect.isLessThan steps 60 $"Tab does not lead to {condition}"
            do! person.Presses("Tab", 9)
            let! answer = person.Read $"Boolean({condition})"
            isThere <- answer = "true"

        let! outline = person.Read "getComputedStyle(document.activeElement).outlineStyle"
        Expect.equal outline "solid" "the focus can be seen"
    }

let private phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) Version/19.0 Safari/605.1"
let private hostile = "<img src=x onerror=alert(1)>"

let private devices =
    testCaseTask "Chromium: the devices page on a phone, in the dark, by keyboard, and 0 findings of axe" (fun () ->
        shop (fun address newPerson ->
            task {
                let! ada = newPerson ()
                do! enters address ada
                do! signsIn address "ada" phone
                do! signsIn address "ada" hostile
                let page = Uri(address, "/account/sessions")
                do! looksRight "devices" ada page
                let! listed = ada.Read "[...document.querySelectorAll('li bdi')].map(it => it.textContent).sort()"
                Expect.stringContains listed "Safari on iPhone" "what the shop says of the device"
                Expect.stringContains listed hostile "a hostile User-Agent is text"
                let! images = ada.Read "document.images.length"
                Expect.equal images "0" "and nothing else"

                do! reaches ada "(document.activeElement.ariaLabel || '').startsWith('End: Safari')"
                do! ada.Presses("Enter", 13)
                do! ada.Sees "location.search === '?said=ended' && document.querySelectorAll('.list li').length === 2"
                let! said = ada.Read "document.querySelector('[role=status]').textContent"
                Expect.equal said "That device is signed out." "it is said"
                do! isAccessible "devices after an end" ada
            }))

let private dashboard =
    testCaseTask
        "Chromium: the dashboard on a phone, in the dark, by keyboard, without script, and 0 findings of axe"
        (fun () ->
            shop (fun address newPerson ->
                task {
                    let! operator = newPerson ()
                    do! signsIn address "ada" phone
                    do! signsIn address "bob" hostile
                    do! signsIn address hostile phone
                    let page = Uri(address, "/operators/sessions")
                    do! looksRight "dashboard" operator page
                    do! looksRight "found" operator (Uri(address, "/operators/sessions?q=ada"))
                    let! session = operator.Read "document.querySelector('.list a').href"
                    do! looksRight "session" operator (Uri session)

                    // By keyboard alone: to the subject, to its session, and its end.
                    do! reaches operator "document.activeElement.textContent === 'End this session'"
                    do! operator.Presses("Enter", 13)
                    do! operator.Sees "location.search === '?said=ended'"
                    let! state = operator.Read "document.querySelector('svg').getAttribute('aria-label')"
                    Expect.stringContains state "it is Destroyed now" "ended"
                    do! isAccessible "an ended session" operator

                    // A script that somebody has got into the page does not run.
                    let! ran =
                        operator.Read
                            "(() => { const it = document.createElement('script'); it.textContent = 'window.hasRun = true'; document.body.append(it); return window.hasRun === true; })()"

                    Expect.equal ran "false" "the policy stops it"

                    do! operator.RunsScripts false
                    let! _ = operator.Goes page
                    let! there = operator.Sends("form[role=search]", [ "q", "bob" ])
                    Expect.equal there "/operators/sessions" "found without script"
                    let! found = operator.Read "document.querySelectorAll('.list li').length"
                    Expect.equal found "1" "one"
                    let! there = operator.Sends("form[action$='/end-all']", [])
                    Expect.equal there "/operators/sessions" "ended without script"
                    let! said = operator.Read "document.querySelector('[role=status]').textContent"
                    Expect.equal said "All sessions of this subject are ended." "it is said"
                }))

let private forTheDocuments =
    testCaseTask "Chromium: the pictures of the documents" (fun () ->
        shop (fun address newPerson ->
            task {
                let minutes =
                    match Int32.TryParse(Environment.GetEnvironmentVariable "SESSION_IMAGES_MINUTES") with
                    | true, minutes -> minutes
                    | false, _ -> 0

                let chance = Random 7
                let over = DateTimeOffset.UtcNow.AddMinutes minutes
                let names = [ "ada"; "bob"; "carol"; "dan"; "erin"; "frank"; "grace"; "heidi" ]
                let! guest = newPerson ()
                do! enters address guest

                let mutable isOver = false

                while not isOver do
                    for _ in 1 .. chance.Next(1, 6) do
                        do! signsIn address names[chance.Next names.Length] phone

                    if chance.Next 3 = 0 then
                        let! _ = guest.Goes(Uri(address, "/operators/sessions?q=" + names[1 + chance.Next 7]))
                        let! any = guest.Read "document.querySelector('form[action$=\"/end-all\"]') !== null"

                        if any = "true" then
                            let! _ = guest.Sends("form[action$='/end-all']", [])
                            ()

                    isOver <- DateTimeOffset.UtcNow >= over

                    if not isOver then
                        do! Task.Delay(chance.Next(2000, 15000))

                do! guest.ShowsAs(1100, 860, false)
                let! _ = guest.Goes(Uri(address, "/operators/sessions"))
                let! board = guest.Picture()
                let! _ = guest.Goes address
                do! guest.Sees "document.querySelector('#who-user').textContent === 'ada'"
                do! guest.Sees "document.querySelectorAll('#device-list li').length > 0"

                for place in [ 0; 1 ] do
                    do! guest.Sees $"!document.querySelectorAll('[data-add]')[{place}].disabled"
                    let! _ = guest.Read $"document.querySelectorAll('[data-add]')[{place}].click()"
                    do! guest.Sees $"document.querySelector('#nav-count').textContent === '{place + 1}'"

                let! front = guest.Picture()

                for name, picture in [ "dashboard.png", board; "shop.png", front ] do
                    Expect.isGreaterThan picture.Length 10_000 $"{name} shows something"
                    Expect.isLessThan picture.Length 120_000 $"{name} is small"

                    if Environment.GetEnvironmentVariable "SESSION_WRITE_IMAGES" = "1" then
                        let folder = Directory.CreateDirectory(Repository.under [ "docs"; "images" ])
                        File.WriteAllBytes(Path.Combine(folder.FullName, name), picture)
            }))

let all = testList "pages" [ devices; dashboard; forTheDocuments ]
