/// The lifecycle of docs/LIFECYCLE.md, drawn with the times of one session.
namespace Session.AspNetCore

open System
open Session.Domain
open Session.Engine

[<RequireQualifiedAccess>]
module internal LifeDiagram =
    let private box name (when': string) x y width isNow =
        let kind = if isNow then "now" else "box"
        let left, top = string<int> x, string<int> y

        el
            "g"
            (if isNow || when' <> "" then [] else [ "class", "past" ])
            [ el
                  "rect"
                  [ "class", kind
                    "x", left
                    "y", top
                    "width", string<int> width
                    "height", "52"
                    "rx", "9" ]
                  []
              el "text" [ "class", "name"; "x", string<int>(x + 12); "y", string<int>(y + 21) ] [ text name ]
              el "text" [ "class", "when"; "x", string<int>(x + 12); "y", string<int>(y + 41) ] [ text when' ] ]

    let private arrow (path: string) (tip: string) =
        Html.Many
            [ el "path" [ "class", "way"; "d", path ] []
              el "path" [ "class", "tip"; "d", tip ] [] ]

    let private stamp (at: DateTimeOffset) = Page.stamp at

    /// The state that counts: of a session that is overdue the end that nobody has stored yet.
    let draw (state: State) (over: struct (ExpiryKind * DateTimeOffset) voption) =
        let live =
            match state with
            | Absent -> None
            | Created live
            | Active live
            | Regenerated(live, _)
            | Destroyed(live, _, _)
            | Expired(live, _, _, _) -> Some live

        match live with
        | None -> nothing
        | Some live ->
            let isCreated, isActive, isRenewing =
                match state, over with
                | _, ValueSome _ -> false, false, false
                | Created _, _ -> true, false, false
                | Active _, _ -> false, true, false
                | Regenerated _, _ -> false, false, true
                | (Absent | Destroyed _ | Expired _), _ -> false, false, false

            let renewal =
                match state with
                | Regenerated(_, Issued(_, at)) -> "since " + stamp at
                | Regenerated(_, Confirmed(_, until)) -> "until " + stamp until
                | Absent
                | Created _
                | Active _
                | Destroyed _
                | Expired _ -> ""

            let destroyed =
                match state with
                | Destroyed(_, _, at) -> stamp at
                | _ -> ""

            let expired =
                match state, over with
                | Expired(_, _, at, _), _ -> stamp at
                | _, ValueSome(struct (_, at)) -> stamp at
                | _ -> ""

            let seen =
                match state with
                | Created _ -> ""
                | _ -> "seen " + stamp live.LastSeen

            let name =
                match state, over with
                | _, ValueSome _
                | Expired _, _ -> "Expired"
                | Created _, _ -> "Created"
                | Active _, _ -> "Active"
                | Regenerated _, _ -> "Regenerated"
                | Destroyed _, _ -> "Destroyed"
                | Absent, _ -> "Absent"

            el
                "svg"
                [ "viewBox", "0 0 400 330"
                  "class", "life"
                  "role", "img"
                  "aria-label", "The life of the session: it is " + name + " now. The times stand below." ]
                [ box "Created" (stamp live.CreatedAt) 2 4 250 isCreated
                  arrow "M126 56V84" "M120 80h12l-6 10z"
                  box "Active" seen 2 92 250 isActive
                  arrow "M60 144V172" "M54 168h12l-6 10z"
                  arrow "M194 180V152" "M188 154h12l-6 -10z"
                  box "Regenerated" renewal 2 180 250 isRenewing
                  arrow "M252 118H330V258" "M324 256h12l-6 10z"
                  arrow "M100 232V258" "M94 256h12l-6 10z"
                  box "Destroyed" destroyed 2 268 192 (destroyed <> "")
                  box "Expired" expired 206 268 192 (expired <> "") ]
