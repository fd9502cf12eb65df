/// Each function of the F# face, in a request and without one: what it does, and what it gives back when it cannot.
module FSharpFace.Calls

open System
open System.Threading.Tasks
open Expecto
open Microsoft.AspNetCore.Http
open Microsoft.Extensions.DependencyInjection
open FsToolkit.ErrorHandling
open FSharpFace.Programs
open FSharpFace.Site
open Session.AspNetCore
open Session.Engine

/// Counts writes, and takes its time where it can be given up.
type private Slow(inner: ISessionStore, pause: TimeSpan) =
    inherit ForwardingStore(inner)
    let mutable writes = 0
    member _.Writes = writes

    override _.Load(id, cancel) =
        ValueTask<StoredRecord | null>(
            task =
                task {
                    do! Task.Delay(pause, cancel)
                    return! inner.Load(id, cancel)
                }
        )

    override _.Insert(record, cancel) =
        writes <- writes + 1
        inner.Insert(record, cancel)

    override _.Replace(record, expected, cancel) =
        writes <- writes + 1
        inner.Replace(record, expected, cancel)

let private slow (pause: TimeSpan) =
    let store = Slow(MemoryStore(), pause)
    store, Bench<Cart>(store, (fun settings services -> services.AddSession<Cart>(settings)))

let private tea = { Items = [ "tea" ] }

let private reads =
    testTask "what a request asks of its session, before and after it begins" {
        let bench = benchOf<Cart>()

        do!
            bench.Run(fun _ browser ->
                task {
                    let all (context: HttpContext) =
                        task {
                            let! data = Session.tryGet<Cart> context
                            let! read = Session.read<Cart> context
                            let! id = Session.tryId<Cart> context
                            let! subject = Session.subject<Cart> context
                            let! created = Session.createdAt<Cart> context
                            let! authenticated = Session.authenticatedAt<Cart> context
                            let! expires = Session.expiresAt<Cart> context
                            let! state = Session.state<Cart> context
                            let! origin = Session.origin<Cart> context
                            Expect.equal (ok read) data "read is tryGet"
                            let isThere = [ created.IsSome; expires.IsSome; id.IsSome; data.IsSome ] |> List.distinct
                            return data, subject, authenticated.IsSome, state, origin, isThere
                        }

                    let! before = bench.Do(browser, all)

                    Expect.equal
                        before
                        (None, None, false, Session.State.None, Session.Origin.New, [ false ])
                        "no session"

                    let! created = bench.Do(browser, Session.create tea)
                    Expect.equal (ok created) tea "created"
                    let! after = bench.Do(browser, all)

                    Expect.equal
                        after
                        (Some tea, None, false, Session.State.Active, Session.Origin.Resumed, [ true ])
                        "a session"

                    let! _ = bench.Do(browser, Session.signIn "ada" tea)
                    let! signedIn = bench.Do(browser, all)

                    Expect.equal
                        signedIn
                        (Some tea, Some "ada", true, Session.State.Active, Session.Origin.Resumed, [ true ])
                        "of somebody"

                    let! ended =
                        bench.Do(
                            browser,
                            fun context ->
                                task {
                                    let! ended = Session.destroy<Cart> context
                                    ok ended
                                    return! all context
                                }
                        )

                    Expect.equal
                        ended
                        (None, None, false, Session.State.Destroyed, Session.Origin.Resumed, [ false ])
                        "ended"

                    browser.Cookie <- "sid=planted"
                    let! planted = bench.Do(browser, Session.origin<Cart>)
                    Expect.equal planted Session.Origin.Invalid "what is no token"
                })
    }

let private writes =
    testTask "what a request does to its session" {
        let bench = benchOf<Cart>()

        do!
            bench.Run(fun _ browser ->
                task {
                    let! updated = bench.Do(browser, Session.update (add "tea"))
                    Expect.equal (ok updated) tea "update begins one"
                    let! saved = bench.Do(browser, Session.save { Items = [ "milk" ] })
                    Expect.equal (ok saved).Items [ "milk" ] "saved"
                    let before = browser.Cookie
                    let! regenerated = bench.Do(browser, Session.regenerate<Cart>)
                    ok regenerated
                    Expect.notEqual browser.Cookie before "a new token"
                    let second = browser.Cookie
                    let! regenerated = bench.Do(browser, Session.regenerateWith { Items = [ "sugar" ] })
                    Expect.equal (ok regenerated).Items [ "sugar" ] "a new token and new data"
                    Expect.notEqual browser.Cookie second "another one"
                    let! reloaded = bench.Do(browser, Session.reload<Cart>)
                    Expect.equal (ok reloaded) (Some { Items = [ "sugar" ] }) "as it is stored"
                    browser.Cookie <- second
                    let! refused = bench.Do(browser, Session.update (add "late"))
                    Expect.equal refused (Error(SessionError.Refused Session.Refusal.Outdated)) "the old token"
                })
    }

let private refusals =
    testTask "tryUpdate refuses without a write, begins nothing, and hands out what the function gave" {
        let store, bench = slow TimeSpan.Zero

        do!
            bench.Run(fun _ browser ->
                task {
                    let nothing (_: Cart option) : Result<Cart, string> = Error "no"
                    let! refused = bench.Do(browser, Session.tryUpdate nothing)
                    Expect.equal refused (Error(UpdateError.Declined "no")) "without a session"
                    Expect.equal (store.Writes, browser.Cookie) (0, "") "nothing was begun"
                    let! first = bench.Do(browser, Session.tryUpdate (fun cart -> Ok(add "tea" cart)))
                    Expect.equal first (Ok tea: Result<Cart, UpdateError<string>>) "begun"
                    let! _ = bench.Do(browser, Session.tryGet<Cart>)
                    let count = store.Writes
                    let! refused = bench.Do(browser, Session.tryUpdate nothing)
                    Expect.equal refused (Error(UpdateError.Declined "no")) "with one"
                    Expect.equal store.Writes count "nothing was written"
                })
    }

let private alone =
    testTask "a client that hangs up stops reads, and neither a sign-out nor a sign-in nor a new token" {
        let _, bench = slow (TimeSpan.FromMilliseconds 50L)

        do!
            bench.Run(fun services browser ->
                task {
                    let! signedIn = bench.DoAlone(browser, Session.signIn "ada" tea)
                    Expect.equal signedIn (Ok tea) "signed in"
                    let! _ = bench.Do(browser, Session.signIn "bob" tea)
                    let token = browser.Cookie

                    let isGivenUp (operation: HttpContext -> Task) (context: HttpContext) =
                        task {
                            try
                                do! operation context
                                return false
                            with :? OperationCanceledException ->
                                return true
                        }

                    let! read = bench.DoAlone(browser, isGivenUp (fun context -> Session.tryGet<Cart> context))
                    let! listed = bench.DoAlone(browser, isGivenUp (fun context -> Sessions.find<Cart> "x" context))
                    Expect.equal (read, listed) (true, true) "reads"

                    let! regenerated = bench.DoAlone(browser, Session.regenerate<Cart>)
                    ok regenerated
                    let! old = bench.Do(browser, Session.subject<Cart>)
                    Expect.equal old None "the token of before is dead, although nobody has the new one"
                    browser.Cookie <- ""
                    let! _ = bench.Do(browser, Session.signIn "cyd" tea)
                    Expect.notEqual browser.Cookie token "another session"
                    let! ended = bench.DoAlone(browser, Session.destroy<Cart>)
                    ok ended
                    let! left = SessionServices.list<Cart> "cyd" services
                    Expect.equal (ok left) [] "the sign-out stands"
                })
    }

/// Nobody proves twice who they are because a connection was lost: what was begun is done to its end.
let private finished =
    testTask "a client that hangs up stops nothing that begins a session, elevates it or ends it" {
        let _, bench = slow (TimeSpan.FromMilliseconds 20L)
        let external = ExternalSession("https://id.example.com", "its session")

        let only (operation: HttpContext -> Task<Result<Cart, SessionError>>) (context: HttpContext) =
            task {
                let! answer = operation context
                return Result.map ignore<Cart> answer
            }

        do!
            bench.Run(fun _ browser ->
                task {
                    for name, operation in
                        [ "create", only (Session.create tea)
                          "signIn", only (Session.signIn "bob" tea)
                          "signInExternal", only (Session.signInExternal external "bob" tea)
                          "regenerate", Session.regenerate<Cart>
                          "regenerateWith", only (Session.regenerateWith tea)
                          "destroy", Session.destroy<Cart> ] do
                        browser.Cookie <- ""
                        let! _ = bench.Do(browser, Session.signIn "ada" tea)
                        let! answer = bench.DoAlone(browser, operation)
                        Expect.equal answer (Ok()) name
                        let! old = bench.Do(browser, Session.subject<Cart>)
                        Expect.equal old None $"{name}: the token of before opens nothing any more"
                })
    }

let private values =
    testTask "what can go wrong is a value: subjects, data, other sessions" {
        let bench = benchOf<Cart>()

        do!
            bench.Run(fun services browser ->
                task {
                    for subject in
                        [ ""
                          String.replicate 1025 "x"
                          String.replicate 513 "ü"
                          string (char 0xD800) ] do
                        let! refused = bench.Do(browser, Session.signIn subject tea)
                        Expect.equal refused (Error SessionError.InvalidSubject) "a sign-in"
                        let! refused = bench.Do(browser, Sessions.list<Cart> subject)
                        Expect.equal refused (Error SessionError.InvalidSubject) "a list"
                        let! refused = bench.Do(browser, Sessions.destroyAll<Cart> subject)
                        Expect.equal refused (Error SessionError.InvalidSubject) "an end"
                        let! refused = SessionServices.destroyAllBut<Cart> "x" subject services
                        Expect.equal refused (Error SessionError.InvalidSubject) "without a request"

                    Expect.equal browser.Cookie "" "nothing was begun"

                    match! bench.Do(browser, Session.save { Items = [ string (char 0xD800) ] }) with
                    | Error(SessionError.Unwritable _) -> ()
                    | other -> failtest $"half of a surrogate pair: {other}"

                    match! bench.Do(browser, Session.save { Items = [ String.replicate 70_000 "x" ] }) with
                    | Error(SessionError.TooLarge(_, 65_536)) -> ()
                    | other -> failtest $"too much: {other}"

                    for id in [ ""; "nobody"; "no id at all"; String.replicate 65 "x" ] do
                        let! found = bench.Do(browser, Sessions.find<Cart> id)
                        Expect.equal found (Ok None) "found"
                        let! ended = bench.Do(browser, Sessions.destroy<Cart> id)
                        Expect.equal ended (Ok false) "ended"
                        let! updated = bench.Do(browser, Sessions.update id (add "x"))
                        Expect.equal updated (Ok None) "updated"
                })
    }

let private nulls =
    testTask "null is no data: each write of it is refused as a value, and changes nothing" {
        let store, bench = slow TimeSpan.Zero
        let nothing = Unchecked.defaultof<Cart>

        let isRefused answer =
            match answer with
            | Error(SessionError.Unwritable _) -> ()
            | other -> failtest $"written: {other}"

        do!
            bench.Run(fun services browser ->
                task {
                    let each () =
                        task {
                            let count = store.Writes
                            let! updated = bench.Do(browser, Session.update (fun _ -> nothing))
                            isRefused updated

                            match!
                                bench.Do(browser, Session.tryUpdate (fun _ -> (Ok nothing: Result<Cart, string>)))
                            with
                            | Error(UpdateError.Failed(SessionError.Unwritable _)) -> ()
                            | other -> failtest $"written: {other}"

                            let! saved = bench.Do(browser, Session.save nothing)
                            isRefused saved
                            let! created = bench.Do(browser, Session.create nothing)
                            isRefused created
                            let! signedIn = bench.Do(browser, Session.signIn "bob" nothing)
                            isRefused signedIn
                            Expect.equal store.Writes count "nothing was written"
                        }

                    do! each ()
                    Expect.equal browser.Cookie "" "nothing was begun"
                    let! _ = bench.Do(browser, Session.signIn "ada" tea)
                    let! id = bench.Do(browser, Session.tryId<Cart>)
                    do! each ()
                    let! regenerated = bench.Do(browser, Session.regenerateWith nothing)
                    isRefused regenerated
                    let! updated = SessionServices.update id.Value (fun (_: Cart option) -> nothing) services
                    isRefused updated
                    let! data = bench.Do(browser, Session.tryGet<Cart>)
                    let! subject = bench.Do(browser, Session.subject<Cart>)
                    Expect.equal (data, subject) (Some tea, Some "ada") "and she is still there"
                })
    }

let private others =
    testTask "sessions by id and by subject, in a request and without" {
        let bench = benchOf<Cart>()

        do!
            bench.Run(fun services first ->
                task {
                    let second, stranger = Browser first.Address, Browser first.Address
                    let! _ = bench.Do(first, Session.signIn "ada" tea)
                    let! _ = bench.Do(second, Session.signIn "ada" tea)
                    let! _ = bench.Do(stranger, Session.signIn "bob" tea)
                    let! firstId = bench.Do(first, Session.tryId<Cart>)
                    let! secondId = bench.Do(second, Session.tryId<Cart>)
                    let! strangerId = bench.Do(stranger, Session.tryId<Cart>)
                    let firstId, secondId, strangerId = firstId.Value, secondId.Value, strangerId.Value
                    let! listed = bench.Do(first, Devices.devices)
                    let ids = ok listed |> List.map _.Id |> List.sort
                    Expect.equal ids (List.sort [ firstId; secondId ]) "her devices"
                    let! same = SessionServices.list<Cart> "ada" services
                    Expect.equal (ok same |> List.map _.Id |> List.sort) ids "the same without a request"
                    let! found = bench.Do(first, Sessions.find<Cart> strangerId)
                    let info = (ok found).Value
                    Expect.equal (info.Subject, info.State) (Some "bob", Session.State.Active) "anybody's"
                    Expect.isTrue (info.CreatedAt <= info.LastSeen && info.LastSeen < info.ExpiresAt) "its times"
                    Expect.isSome info.AuthenticatedAt "its sign-in"
                    let! same = SessionServices.find<Cart> strangerId services
                    Expect.equal (ok same |> Option.map _.Id) (Some strangerId) "the same without a request"
                    let! hidden = bench.Do(first, Sessions.findOwn<Cart> strangerId)
                    Expect.equal hidden (Ok None) "not hers"
                    let! own = bench.Do(first, Sessions.findOwn<Cart> secondId)
                    Expect.equal (ok own |> Option.map _.Id) (Some secondId) "hers"
                    let! nobody = bench.Do(Browser first.Address, Sessions.findOwn<Cart> secondId)
                    Expect.equal nobody (Ok None) "nobody's"
                    // Two of nobody belong to two people.
                    let anonymous, another = Browser first.Address, Browser first.Address
                    let! _ = bench.Do(anonymous, Session.create tea)
                    let! _ = bench.Do(another, Session.create tea)
                    let! anothersId = bench.Do(another, Session.tryId<Cart>)
                    let! hidden = bench.Do(anonymous, Sessions.findOwn<Cart> anothersId.Value)
                    Expect.equal hidden (Ok None) "nobody's is nobody else's"

                    for browser in [ anonymous; another ] do
                        let! ended = bench.Do(browser, Session.destroy<Cart>)
                        ok ended |> ignore

                    let! missed = bench.Do(first, Devices.signOutDevice strangerId)
                    Expect.equal missed (Ok false) "she cannot end his"
                    let! updated = bench.Do(stranger, Sessions.update secondId (add "gift"))
                    Expect.equal (ok updated) (Some { Items = [ "gift"; "tea" ] }) "changed from elsewhere"
                    let! updated = SessionServices.update secondId (add "card") services
                    Expect.equal (ok updated |> Option.map _.Items.Length) (Some 3) "and without a request"
                    let! data = bench.Do(second, Session.tryGet<Cart>)
                    Expect.equal (data |> Option.map _.Items) (Some [ "card"; "gift"; "tea" ]) "and stored"

                    let before = first.Cookie
                    let store _ _ = Task.FromResult(Ok())
                    let! changed = bench.Do(first, Devices.changePassword store "secret")
                    Expect.equal changed (Ok 1) "the other device"
                    Expect.notEqual first.Cookie before "a new token"
                    let! mine = bench.Do(first, Session.subject<Cart>)
                    let! gone = bench.Do(second, Session.subject<Cart>)
                    Expect.equal (mine, gone) (Some "ada", None) "she stays, the other is out"

                    let! wrong =
                        bench.Do(stranger, Devices.changePassword (fun _ _ -> Task.FromResult(Error "weak")) "1")

                    Expect.equal wrong (Error "weak") "the first error"

                    let! ended = SessionServices.destroy<Cart> strangerId services
                    Expect.equal ended (Ok true) "his"
                    let! _ = bench.Do(second, Session.signIn "ada" tea)
                    let! ended = SessionServices.destroyAllBut<Cart> firstId "ada" services
                    Expect.equal ended (Ok 1) "all but one"
                    let! all = Devices.endAll "ada" services
                    Expect.equal all "1 ended" "all"
                    let! _ = bench.Do(first, Session.signIn "ada" tea)
                    let! _ = bench.Do(second, Session.signIn "ada" tea)
                    let! all = bench.Do(first, Sessions.destroyAll<Cart> "ada")
                    Expect.equal all (Ok 2) "all, in a request"
                    let! _ = bench.Do(stranger, Session.create tea)
                    let! every = bench.Do(first, Sessions.destroyEvery<Cart>)
                    Expect.equal every (Ok 1) "everybody"
                    let! none = SessionServices.destroyEvery<Cart> services
                    Expect.equal none (Ok 0) "nobody is left"
                })
    }

let private guards =
    testTask "a guard runs one of two handlers" {
        let bench = benchOf<Cart>()

        do!
            bench.Run(fun _ browser ->
                task {
                    let answer (context: HttpContext) (handle: (HttpContext -> Task) -> HttpContext -> Task) =
                        task {
                            let mutable came = "answered"
                            let note text : HttpContext -> Task = fun _ -> task { came <- text }
                            do! handle (note "handler") context
                            return came, context.Response.StatusCode
                        }

                    let missing (context: HttpContext) : Task = task { context.Response.StatusCode <- 418 }

                    let each context =
                        task {
                            let! a = answer context (SessionEndpoint.requireSessionOr<Cart> missing)
                            let! b = answer context (SessionEndpoint.requireSignInOr<Cart> missing)

                            let! c =
                                answer context (fun it -> SessionEndpoint.withSessionOr<Cart> missing (fun _ -> it))

                            let! d =
                                answer context (fun it -> SessionEndpoint.withSubjectOr<Cart> missing (fun _ -> it))

                            return [ a; b; c; d ] |> List.map fst
                        }

                    let alone (guard: (HttpContext -> Task) -> HttpContext -> Task) =
                        bench.Do(browser, (fun c -> answer c guard))

                    let! nobody = bench.Do(browser, each)
                    Expect.equal nobody (List.replicate 4 "answered") "the first handler"

                    for guard in
                        [ SessionEndpoint.requireSession<Cart>
                          SessionEndpoint.requireSignIn<Cart>
                          (fun it -> SessionEndpoint.withSession<Cart>(fun _ -> it))
                          (fun it -> SessionEndpoint.withSubject<Cart>(fun _ -> it)) ] do
                        let! refused = alone guard
                        Expect.equal refused ("answered", 401) "or 401"

                    let! _ = bench.Do(browser, Session.create tea)
                    let! anonymous = bench.Do(browser, each)
                    Expect.equal anonymous [ "handler"; "answered"; "handler"; "answered" ] "a session is no sign-in"
                    let! _ = bench.Do(browser, Session.signIn "ada" tea)
                    let! signedIn = bench.Do(browser, each)
                    Expect.equal signedIn (List.replicate 4 "handler") "the second handler"

                    let! failed =
                        bench.Do(
                            browser,
                            fun context ->
                                task {
                                    do! SessionEndpoint.failed (SessionError.LimitReached 5) context
                                    return context.Response.StatusCode
                                }
                        )

                    Expect.equal failed 409 "as the middleware answers"
                })
    }

let private together =
    testTask "and!: calls of one request wait for each other, and begin one session" {
        let _, bench = slow (TimeSpan.FromMilliseconds 10L)

        do!
            bench.Run(fun _ browser ->
                task {
                    let! data =
                        bench.Do(
                            browser,
                            fun context ->
                                task {
                                    let! a = Session.update (add "a") context
                                    and! b = Session.update (add "b") context
                                    and! c = Session.update (add "c") context
                                    ok a |> ignore
                                    ok b |> ignore
                                    ok c |> ignore
                                    return! Session.tryGet<Cart> context
                                }
                        )

                    Expect.equal (data |> Option.map (_.Items >> List.sort)) (Some [ "a"; "b"; "c" ]) "all three count"
                })
    }

let private composed =
    testTask "taskResult binds each call as it is" {
        let bench = benchOf<Cart>()

        do!
            bench.Run(fun _ browser ->
                task {
                    let visit (context: HttpContext) =
                        taskResult {
                            let! first = Session.update (add "tea") context
                            do! Session.regenerate<Cart> context
                            let! read = Session.read<Cart> context
                            let! _ = Session.signIn "" first context
                            return read
                        }

                    let! result = bench.Do(browser, visit)
                    Expect.equal result (Error SessionError.InvalidSubject) "the first error is the result"
                })
    }

let private forgotten =
    testCase "a type argument that was forgotten is said where it was, not with the first request" (fun () ->
        let services = ServiceCollection()

        for call in
            [ (fun () -> services.AddSession(fun settings -> settings) |> ignore)
              (fun () -> services.AddSessionWith(fun _ settings -> settings) |> ignore) ] do
            Expect.stringContains (Expect.throwsC call id).Message "services.AddSession" "what to write")

let all =
    testList
        "calls"
        [ reads
          writes
          refusals
          alone
          finished
          values
          nulls
          others
          guards
          together
          composed
          forgotten ]
