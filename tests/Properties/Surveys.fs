/// What the health check knows of a store's surroundings, and for how long.
module Properties.Surveys

open System
open System.Threading
open System.Threading.Tasks
open Expecto
open Microsoft.Extensions.Time.Testing
open Session.AspNetCore
open Session.Engine

let private none = CancellationToken.None

/// Counts how often it is asked.
[<Sealed>]
type private Asked() =
    inherit ForwardingStore(MemoryStore())
    let mutable count = 0
    member _.Count = count

    override _.Prepare(cancel) =
        count <- count + 1
        base.Prepare cancel

let all =
    testTask
        "survey: settings of a server change while it runs, so they are looked at once a minute, and while something is wrong" {
        let clock = FakeTimeProvider()
        let store = Asked()
        let survey = StoreSurvey(store, { WaitLimits.Default with Timer = clock })

        let look () =
            task {
                let! _ = survey.Get(TimeSpan.FromSeconds 1L, none)
                return store.Count
            }

        let! _ = look ()
        let! again = look ()
        Expect.equal again 2 "nobody has said that all is well"
        survey.IsClean <- true
        clock.Advance(TimeSpan.FromSeconds 59L)
        let! within = look ()
        Expect.equal within 2 "not within a minute"
        clock.Advance(TimeSpan.FromSeconds 1L)
        let! after = look ()
        Expect.equal after 3 "after a minute"
        survey.IsClean <- false
        let! after = look ()
        Expect.equal after 4 "after trouble"
    }
