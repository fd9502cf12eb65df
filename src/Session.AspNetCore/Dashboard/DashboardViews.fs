/// The parts that the pages of the dashboard are made of.
namespace Session.AspNetCore

open System
open Session.Domain
open Session.Engine

[<RequireQualifiedAccess>]
module internal DashboardViews =
    let encode (value: string) = Uri.EscapeDataString value
    let linkTo place id = el "a" [ "href", place + "/session/" + id ] [ el "code" [] [ text id ] ]
    let subjectLink place subject = el "a" [ "href", Page.self place + "?q=" + encode subject ] [ foreign subject ]
    let back place = el "p" [] [ el "a" [ "href", Page.self place ] [ text "All sessions" ] ]

    let search place (asked: string) =
        el
            "form"
            [ "class", "search"
              "method", "get"
              "action", Page.self place
              "role", "search" ]
            [ el
                  "div"
                  []
                  [ el "label" [ "for", "q" ] [ text "Subject or session id" ]
                    el
                        "input"
                        [ "type", "search"
                          "id", "q"
                          "name", "q"
                          "value", asked
                          "autocapitalize", "none"
                          "spellcheck", "false" ]
                        [] ]
              el "button" [ "class", "strong" ] [ text "Find" ] ]

    let figure (name: string) (value: string) (more: string) =
        el
            "li"
            []
            [ text name
              el "strong" [] [ text value ]
              el "span" [ "class", "quiet" ] [ text more ] ]

    let entry place now (it: Entry) =
        el
            "tr"
            []
            [ el "td" [] [ Page.time now it.At ]
              el "td" [] [ text it.What ]
              el "td" [] [ (if it.Id = "" then text "none" else linkTo place it.Id) ]
              el
                  "td"
                  []
                  [ (match it.Subject with
                     | Some subject -> subjectLink place subject
                     | None -> el "span" [ "class", "quiet" ] [ text "nobody" ]) ] ]

    let entries place now (said: string) (found: Entry list) =
        if found.IsEmpty then
            el "p" [ "class", "quiet" ] [ text "Nothing yet, on this node." ]
        else
            el
                "div"
                [ "class", "scroll"
                  "tabindex", "0"
                  "role", "region"
                  "aria-label", "Table: " + said ]
                [ el
                      "table"
                      []
                      [ el
                            "thead"
                            []
                            [ el
                                  "tr"
                                  []
                                  [ for name in [ "When"; "What"; "Session"; "Subject" ] do
                                        el "th" [ "scope", "col" ] [ text name ] ] ]
                        el "tbody" [] (List.map (entry place now) found) ] ]

    let stateOf engine now (session: Snapshot) =
        match session.State, Shelf.overdue engine now session with
        | _, ValueSome(struct (kind, _)) -> String.Concat("Expired: ", Said.kind kind)
        | Destroyed(_, reason, _), _ -> String.Concat("Destroyed: ", Said.reason reason)
        | Expired(_, kind, _, _), _ -> String.Concat("Expired: ", Said.kind kind)
        | state, _ -> string state

    let item engine place now (session: Snapshot) (live: Live) =
        el
            "li"
            []
            [ el
                  "div"
                  []
                  [ el
                        "p"
                        []
                        [ linkTo place session.Id
                          text " "
                          el "span" [ "class", "tag" ] [ text (stateOf engine now session) ] ]
                    el
                        "p"
                        [ "class", "quiet" ]
                        [ (match live.Subject with
                           | Some subject -> Html.Many [ foreign subject; text ". " ]
                           | None -> text "Nobody has signed in. ")
                          text "Seen "
                          Page.time now live.LastSeen
                          text "." ] ] ]

    let facts (engine: SessionEngine) place now (session: Snapshot) (live: Live) =
        let at (time: DateTimeOffset) = Html.Many [ text (Page.stamp time); text ", "; Page.time now time ]

        el
            "dl"
            []
            [ Page.fact "State" (text (stateOf engine now session))
              Page.fact
                  "Subject"
                  (match live.Subject with
                   | Some subject -> subjectLink place subject
                   | None -> text "nobody has signed in")
              Page.fact "Created" (at live.CreatedAt)
              match live.AuthenticatedAt with
              | Some time -> Page.fact "Signed in" (at time)
              | None -> ()
              Page.fact "Last seen" (at live.LastSeen)
              Page.fact "Token since" (at live.SecretSince)
              match session.State, engine.Deadline session.State with
              | Destroyed(_, _, time), _
              | Expired(_, _, time, _), _ -> Page.fact "Over since" (at time)
              | _, ValueSome(struct (_, time)) when time <= now -> Page.fact "Over since" (at time)
              | _, ValueSome(struct (kind, time)) ->
                  Page.fact "Ends" (Html.Many [ at time; text (String.Concat(" (", kind, ")")) ])
              | _, ValueNone -> ()
              Page.fact "Version" (text (Chart.count session.Version)) ]
