/// The samples with sign-in, each as its own program, and people at real browsers in front of their forms.
module Integration.Samples

open System
open System.IO
open System.Threading.Tasks
open Expecto
open Integration.Chromium

let private first, second = "correct horse battery", "staple battery horse"

/// The sample with Identity, with databases of its own.
let private identity (body: (string -> Uri) -> (unit -> Task<Person>) -> Task<unit>) =
    task {
        let data = World.temporaryFolder ()

        try
            do!
                Shops.running "Identity" [] [ "--data"; data ] (fun address ->
                    browsing (fun newPerson -> body (fun path -> Uri(address, path)) newPerson))
        finally
            Directory.Delete(data, true)
    }

let private signIn (at: string -> Uri) (person: Person) user password =
    task {
        let! asked = person.Goes(at "/devices")
        Expect.equal asked "/login" "who is not signed in is sent to the login page"
        let! there = person.Sends("main form", [ "user", user; "password", password ])
        Expect.equal there "/devices" "and comes back"
    }

let private register (at: string -> Uri) (person: Person) user password =
    task {
        let! _ = person.Goes(at "/register")
        let! there = person.Sends("main form", [ "user", user; "password", password ])
        Expect.equal there "/devices" "registered and signed in"
    }

let private others (person: Person) =
    person.Read "[...document.querySelectorAll('.devices strong')].map(it => it.textContent).sort()"

let private withIdentity =
    [ testCaseTask "Chromium: ending another device there signs it out at its next request" (fun () ->
          identity (fun at newPerson ->
              task {
                  let! home = newPerson ()
                  let! work = newPerson ()
                  do! register at home "ada" first
                  do! signIn at work "ada" first
                  let! _ = home.Goes(at "/devices")
                  let! listed = others home
                  Expect.equal listed "Another browser,This browser" "two browsers"

                  let! there = home.Sends("form[action='/devices/end']", [])
                  Expect.equal there "/devices" "ended"
                  let! listed = others home
                  Expect.equal listed "This browser" "one is left"
                  let! stopped = work.Goes(at "/devices")
                  Expect.equal stopped "/login" "the other one is out"
                  let! still = home.Goes(at "/devices")
                  Expect.equal still "/devices" "this one is not"
              }))

      testCaseTask "Chromium: ending all others signs each of them out at its next request, and nobody else" (fun () ->
          identity (fun at newPerson ->
              task {
                  let! home = newPerson ()
                  let! work = newPerson ()
                  let! phone = newPerson ()
                  let! eve = newPerson ()
                  do! register at home "ada" first
                  do! register at eve "eve" first
                  do! signIn at work "ada" first
                  do! signIn at phone "ada" first
                  let! there = home.Sends("form[action='/devices/end-others']", [])
                  Expect.equal there "/devices" "ended"

                  for person in [ work; phone ] do
                      let! stopped = person.Goes(at "/devices")
                      Expect.equal stopped "/login" "out"

                  for person in [ home; eve ] do
                      let! still = person.Goes(at "/devices")
                      Expect.equal still "/devices" "in"
              }))

      testCaseTask "Chromium: a password change keeps the browser that made it, and ends the others" (fun () ->
          identity (fun at newPerson ->
              task {
                  let! home = newPerson ()
                  let! work = newPerson ()
                  do! register at home "ada" first
                  do! signIn at work "ada" first
                  let! _ = home.Goes(at "/password")
                  let! there = home.Sends("main form", [ "current", first; "next", second ])
                  Expect.equal there "/devices" "changed"
                  let! listed = others home
                  Expect.equal listed "This browser" "only this one"
                  let! stopped = work.Goes(at "/devices")
                  Expect.equal stopped "/login" "the other one is out"
                  let! refused = work.Sends("main form", [ "user", "ada"; "password", first ])
                  Expect.equal refused "/login" "the former password lets nobody in"
                  do! signIn at work "ada" second

                  let! left = home.Sends("nav form", [])
                  Expect.equal left "/" "signed out"
                  let! stopped = home.Goes(at "/devices")
                  Expect.equal stopped "/login" "by its own button, too"
                  let! still = work.Goes(at "/devices")
                  Expect.equal still "/devices" "this browser alone"
              })) ]

let private withShop =
    testCaseTask
        "Chromium: the shop's login page, its devices, and the end of another one, which its page says at once"
        (fun () ->
            task {
                let content = World.temporaryFolder ()
                // Its pages, and a place for its file.
                let pages = Repository.under [ "samples"; "Shop"; "wwwroot" ]
                Directory.CreateSymbolicLink(Path.Combine(content, "wwwroot"), pages) |> ignore

                try
                    do!
                        Shops.running "Shop" [ "SHOP_STORE", "sqlite" ] [ "--contentRoot"; content ] (fun address ->
                            browsing (fun newPerson ->
                                task {
                                    let signIn (person: Person) =
                                        task {
                                            let! asked = person.Goes(Uri(address, "/account"))
                                            Expect.equal asked "/signin" "sent to the login page"
                                            let! there = person.Sends("form", [ "user", "ada"; "role", "admin" ])
                                            Expect.equal there "/" "and back"

                                            do!
                                                person.Sees
                                                    "document.querySelector('#who-user').textContent === 'ada'"
                                        }

                                    let! home = newPerson ()
                                    let! work = newPerson ()
                                    let! _ = home.Goes address
                                    do! home.Sees "!document.querySelector('[data-add]').disabled"
                                    let! _ = home.Read "document.querySelector('[data-add]').click()"
                                    do! home.Sees "document.querySelector('#nav-count').textContent === '1'"
                                    do! signIn home
                                    do! home.Sees "document.querySelector('#nav-count').textContent === '1'"
                                    do! home.Sees "document.querySelector('#who-role').textContent === '(admin)'"
                                    do! signIn work
                                    do! work.Sees "document.querySelectorAll('#device-list li').length === 2"
                                    do! work.Sees "!document.querySelector('#everywhere').disabled"

                                    let! _ =
                                        work.Read
                                            "document.querySelector('#device-list li:not(.current) button').click()"

                                    do! work.Sees "document.querySelectorAll('#device-list li').length === 1"
                                    let! stopped = home.Goes(Uri(address, "/account"))
                                    Expect.equal stopped "/signin" "the other one is out"

                                    // By the stream that each page listens to: nobody presses anything at home.
                                    do! signIn home
                                    do! home.Sees "!document.querySelector('#signedin').hidden"
                                    let clock = Diagnostics.Stopwatch.StartNew()
                                    let! _ = work.Read "document.querySelector('#everywhere').click()"
                                    do! home.Sees "!document.querySelector('#signin').hidden"

                                    Expect.isLessThan
                                        clock.Elapsed
                                        (TimeSpan.FromSeconds 20L)
                                        "and not by a later look"

                                    do! work.Sees "!document.querySelector('#signin').hidden"
                                }))
                finally
                    Directory.Delete(content, true)
            })

let all = testList "samples" (withShop :: withIdentity)
