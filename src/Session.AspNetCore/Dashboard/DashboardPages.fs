/// The pages of the dashboard: what lives, what happened, whose session ended and why, and the end of any.
namespace Session.AspNetCore

open System
open System.Threading
open System.Threading.Tasks
open Microsoft.AspNetCore.Http
open Session.Domain
open Session.Engine

[<Sealed>]
type internal DashboardPages<'T>
    (service: SessionService<'T>, watch: Watch<'T>, settings: DashboardSettings<'T>, isOpen: bool) =
    let engine = service.Engine

    let orRaise (result: Result<'a, SessionError>) : 'a =
        match result with
        | Ok value -> value
        | Error error -> raise (SessionFailure.toException error)

    /// The start has looked already; where no host has started the application, the first request does.
    let verify (context: HttpContext) =
        if not isOpen then
            match context.GetEndpoint() with
            | null -> invalidOp "The dashboard is an endpoint: map it."
            | endpoint ->
                match endpoint.Metadata.GetMetadata<DashboardEndpoint>() with
                | null -> invalidOp "The dashboard is an endpoint: map it."
                | dashboard -> dashboard.Verify endpoint

    /// The operator's own session, which antiforgery asks for without waiting.
    let readOwn (context: HttpContext) : Task =
        task {
            if service.IsMounted then
                let! loaded = (RequestSession.find<'T> context).Load context.RequestAborted
                orRaise loaded
        }

    let operator (context: HttpContext) =
        match context.User.Identity with
        | null -> "somebody"
        | identity -> identity.Name |> Option.ofObj |> Option.defaultValue "somebody"

    let healthOf (context: HttpContext) =
        task {
            let! health = watch.Health context.RequestAborted

            let kind =
                match health.Status with
                | Microsoft.Extensions.Diagnostics.HealthChecks.HealthStatus.Healthy -> "good"
                | Microsoft.Extensions.Diagnostics.HealthChecks.HealthStatus.Degraded -> "warn"
                | _ -> "bad"

            return
                Page.card
                    "store"
                    "Store"
                    [ el
                          "p"
                          []
                          [ el "strong" [ "class", kind ] [ text (health.Status.ToString()) ]
                            text ". "
                            text (health.Description |> Option.ofObj |> Option.defaultValue "") ]
                      el
                          "dl"
                          []
                          [ for item in health.Data do
                                match item.Value with
                                | :? string as value -> Page.fact item.Key (text value)
                                | _ -> () ] ]
        }

    let overview (context: HttpContext) : Task =
        task {
            let place = Page.placeOf context ""
            let now = service.Clock.GetUtcNow()
            let chronicle = watch.Chronicle
            let! store = healthOf context
            let! live = watch.Live()
            let hour = chronicle.Hour
            let sum (number: Minute -> int64) = Chart.count (List.sumBy number hour)

            let counted =
                match live with
                | null when watch.CountsLive -> DashboardViews.figure "Live" "unknown" "the store did not answer"
                | null -> DashboardViews.figure "Live" "not counted" "this store would look at each of them"
                | live -> DashboardViews.figure "Live" (Chart.count live.Count) (Page.ago now live.At)

            do!
                Page.write
                    context
                    200
                    settings.Title
                    nothing
                    [ DashboardViews.search place ""
                      Page.card
                          "now"
                          "Now"
                          [ el
                                "ul"
                                [ "class", "counts" ]
                                [ counted
                                  DashboardViews.figure "Began" (sum _.Began) "in the last hour, here"
                                  DashboardViews.figure "Sign-ins" (sum _.SignIns) "in the last hour, here"
                                  DashboardViews.figure "Ended" (sum _.Over) "in the last hour, here"
                                  DashboardViews.figure "Refused" (sum _.Refused) "requests in the last hour, here" ] ]
                      Page.card
                          "hour"
                          "The last hour"
                          [ Chart.draw hour
                            el
                                "p"
                                [ "class", "quiet" ]
                                [ text "Seen by this node, which has looked on since "
                                  Page.time now chronicle.Since
                                  text "." ] ]
                      store
                      Page.card
                          "lately"
                          "What happened lately"
                          [ DashboardViews.entries place now "What happened lately" (List.truncate 60 chronicle.Lately) ]
                      Page.card
                          "settings"
                          "Settings"
                          [ el
                                "details"
                                []
                                [ el "summary" [] [ text "Show all" ]
                                  el
                                      "table"
                                      []
                                      [ el
                                            "tbody"
                                            []
                                            [ for name, value in SettingsTable.rows service do
                                                  Page.row name (text value) ] ] ] ] ]
        }

    /// In UTF-8 and without what a form would change in it: a subject may hold any character.
    let packed (subject: string) = Convert.ToHexString(Text.Encoding.UTF8.GetBytes subject)

    let unpacked (packed: string) =
        try
            let subject = Text.UTF8Encoding(false, true).GetString(Convert.FromHexString packed)
            if Subject.isValid subject then Some subject else None
        with
        | :? FormatException
        | :? Text.DecoderFallbackException -> None

    let endAll (context: HttpContext) place subject =
        el
            "details"
            []
            [ el "summary" [] [ text "End all sessions of "; foreign subject ]
              el "p" [] [ text "Each device is signed out at its next request." ]
              Forms.button
                  context
                  (place + "/end-all")
                  [ "subject", packed subject ]
                  (el "button" [ "class", "danger" ] [ text "End all" ]) ]

    let said (context: HttpContext) =
        match string context.Request.Query["said"] with
        | "ended" -> "The session is ended."
        | "gone" -> "There was no such session that lived."
        | "all" -> "All sessions of this subject are ended."
        | _ -> ""

    /// One load for the id, a page of the subject's: never more, whatever the store has.
    let rec results (context: HttpContext) (asked: string) : Task =
        task {
            do! readOwn context
            let place = Page.placeOf context ""
            let now = service.Clock.GetUtcNow()

            let after: string | null =
                match string context.Request.Query["after"] with
                | after when Token.isValidId after -> after
                | _ -> null

            // An id may have been copied with blanks around it; in a subject they mean something.
            let id = asked.Trim()

            let! byId =
                task {
                    if not (Token.isValidId id) || not (isNull after) then
                        return None
                    else
                        let! found = engine.Look [| id |]

                        match found.TryGetValue id with
                        | true, Ok session -> return Some(Shelf.settle engine now session)
                        | true, Error(SessionError.Unavailable _ as error) ->
                            return raise (SessionFailure.toException error)
                        | _ -> return None
                }

            let! shelf =
                if Subject.isValid asked then
                    Shelf.ofSubject engine now asked after context.RequestAborted
                else
                    Task.FromResult(Ok { Sessions = []; Unreadable = 0; Next = null; Lists = true })

            let shelf = orRaise shelf
            let found = Option.toList byId @ shelf.Sessions |> List.distinctBy _.Id

            let shown =
                [ for session in found do
                      match Shelf.known session with
                      | Some live -> live.LastSeen, DashboardViews.item engine place now session live
                      | None -> () ]
                |> List.sortByDescending fst
                |> List.map snd

            if shown.IsEmpty && isNull after && id <> asked && id <> "" && said context = "" then
                do! results context id
            else
                do!
                    Page.write
                        context
                        200
                        settings.Title
                        (DashboardViews.back place)
                        [ Page.note (said context)
                          DashboardViews.search place asked
                          Page.card
                              "found"
                              "Found"
                              [ if shown.IsEmpty then
                                    el
                                        "p"
                                        []
                                        [ text
                                              "No session of this id or subject lives, or has ended within the time that it is remembered (TombstoneRetention)." ]
                                else
                                    el "ul" [ "class", "list" ] shown
                                if not shelf.Lists then
                                    el
                                        "p"
                                        [ "class", "quiet" ]
                                        [ text "This store cannot list the sessions of a subject." ]
                                if shelf.Unreadable > 0 then
                                    el
                                        "p"
                                        [ "class", "warn" ]
                                        [ text (string shelf.Unreadable + " more cannot be read on this node.") ]
                                match shelf.Next with
                                | null -> ()
                                | next ->
                                    el
                                        "p"
                                        []
                                        [ el
                                              "a"
                                              [ "href",
                                                Page.self place + "?q=" + DashboardViews.encode asked + "&after=" + next ]
                                              [ text "More" ] ]
                                if not shelf.Sessions.IsEmpty then
                                    endAll context place asked ] ]
        }

    let dataOf (session: Snapshot) (live: Live) =
        match settings.ShowData with
        | None -> nothing
        | Some show ->
            let shown =
                if not session.IsOpen then
                    text "Sealed to its bearer: it cannot be read here."
                else
                    match service.Deserialize live.Data with
                    | Ok(Some data) -> el "pre" [] [ foreign (show data) ]
                    | Ok None -> text "None."
                    | Error _ -> text "It cannot be read as this type."

            Page.card "data" "Data" [ shown ]

    member _.Home(context: HttpContext) : Task =
        verify context

        match string context.Request.Query["q"] with
        | "" -> overview context
        | asked -> results context asked

    member _.Session(context: HttpContext) : Task =
        task {
            verify context
            do! readOwn context

            let id =
                match context.Request.RouteValues["id"] with
                | null -> ""
                | id -> string id

            let place = Page.above context "/session/"
            let now = service.Clock.GetUtcNow()

            let! found =
                if Token.isValidId id then engine.Look [| id |] else Task.FromResult(Collections.Generic.Dictionary())

            let session =
                match found.TryGetValue id with
                | true, Ok session -> Some(Shelf.settle engine now session)
                | true, Error(SessionError.Unavailable _ as error) -> raise (SessionFailure.toException error)
                | _ -> None

            let lately = watch.Chronicle.Lately |> List.filter (fun it -> it.Id = id && id <> "")

            let events =
                Page.card
                    "lately"
                    "What happened lately"
                    [ DashboardViews.entries place now "What happened lately" lately ]

            match session |> Option.bind (fun it -> Shelf.known it |> Option.map (fun live -> it, live)) with
            | None ->
                do!
                    Page.write
                        context
                        404
                        "No such session"
                        (DashboardViews.back place)
                        [ Page.note (said context)
                          el
                              "p"
                              []
                              [ text
                                    "No session has this id, or it ended longer ago than it is remembered (TombstoneRetention), or it cannot be read." ]
                          events ]
            | Some(session, live) ->
                let endIt =
                    if Shelf.isLive engine now session then
                        Forms.button
                            context
                            (place + "/end")
                            [ "id", session.Id ]
                            (el "button" [ "class", "danger" ] [ text "End this session" ])
                    else
                        nothing

                do!
                    Page.write
                        context
                        200
                        ("Session " + id)
                        (DashboardViews.back place)
                        [ Page.note (said context)
                          Page.card
                              "life"
                              "Its life"
                              [ LifeDiagram.draw session.State (Shelf.overdue engine now session) ]
                          Page.card
                              "facts"
                              "What is known"
                              [ DashboardViews.facts engine place now session live; endIt ]
                          (if Shelf.isLive engine now session then dataOf session live else nothing)
                          events
                          (match live.Subject with
                           | Some subject -> Page.card "all" "The subject" [ endAll context place subject ]
                           | None -> nothing) ]
        }

    member _.End(context: HttpContext) : Task =
        task {
            verify context
            do! readOwn context

            match! Forms.accept<'T> context with
            | None -> ()
            | Some form ->
                let id = string form["id"]
                let place = Page.placeOf context "/end"

                if not (Token.isValidId id) then
                    do! Page.seeOther context (Page.self place)
                else
                    let! ended = engine.Destroy(id, Revoked, CancellationToken.None)
                    let ended = orRaise ended

                    if ended then
                        EdgeLog.endedByOperator service.Log null (operator context) id

                    do!
                        Page.seeOther
                            context
                            (place + "/session/" + id + (if ended then "?said=ended" else "?said=gone"))
        }

    member _.EndAll(context: HttpContext) : Task =
        task {
            verify context
            do! readOwn context

            match! Forms.accept<'T> context with
            | None -> ()
            | Some form ->
                let place = Page.placeOf context "/end-all"

                match unpacked (string form["subject"]) with
                | None -> do! Page.seeOther context (Page.self place)
                | Some subject ->
                    let! ended = engine.DestroyAll(subject, None, Revoked, CancellationToken.None)

                    match ended with
                    | Ok count
                    | Error(SessionError.Incomplete(count, _, _)) ->
                        EdgeLog.allEndedByOperator service.Log null (operator context) count
                    | Error _ -> ()

                    orRaise ended |> ignore<int>
                    do! Page.seeOther context (Page.self place + "?q=" + DashboardViews.encode subject + "&said=all")
        }
