/// The last hour as a picture, and the same as a table for whoever does not see it.
namespace Session.AspNetCore

open System.Globalization

[<RequireQualifiedAccess>]
module internal Chart =
    let private number (value: float) = value.ToString("0.##", CultureInfo.InvariantCulture)
    let count (value: int64) = value.ToString("#,0", CultureInfo.InvariantCulture)
    let private width, height = 600.0, 150.0
    let private middle = height * 0.5

    let private bar kind (x: float) (y: float) (tall: float) =
        el
            "rect"
            [ "class", kind
              "x", number x
              "y", number y
              "width", "8"
              "height", number tall ]
            []

    /// Those that began upward, those that ended downward; a minute with any has a bar that can be seen.
    let private bars (hour: Minute list) =
        let most = hour |> List.map (fun it -> max it.Began it.Over) |> List.max |> max 1L |> float
        let tall value = if value = 0L then 0.0 else max 2.0 (float value / most * (middle - 6.0))

        [ for place, minute in List.indexed hour do
              let x = float place * 10.0 + 1.0

              if minute.Began > 0L then
                  bar "began" x (middle - tall minute.Began) (tall minute.Began)

              if minute.Over > 0L then
                  bar "over" x middle (tall minute.Over) ]

    let private line (hour: Minute list) =
        let known = hour |> List.indexed |> List.filter (fun (_, it) -> it.Live >= 0L)

        match known with
        | [] -> []
        | known ->
            let most = known |> List.map (fun (_, it) -> it.Live) |> List.max |> max 1L |> float

            let points =
                [ for place, it in known do
                      number (float place * 10.0 + 5.0)
                      + ","
                      + number (height - 4.0 - float it.Live / most * (height - 12.0)) ]

            let points = if points.Length = 1 then points @ points else points
            [ el "polyline" [ "class", "live"; "points", String.concat " " points ] [] ]

    let private swatch kind said =
        el "li" [] [ el "span" [ "class", "swatch " + kind; "aria-hidden", "true" ] []; text said ]

    let draw (hour: Minute list) =
        let began = hour |> List.sumBy _.Began
        let over = hour |> List.sumBy _.Over
        let lives = hour |> List.filter (fun it -> it.Live >= 0L) |> List.map _.Live

        let said =
            "The last 60 minutes: "
            + count began
            + " sessions began, "
            + count over
            + " ended"
            + (if lives.IsEmpty then
                   "."
               else
                   "; between " + count (List.min lives) + " and " + count (List.max lives) + " were live.")

        Html.Many
            [ el
                  "svg"
                  [ "viewBox", "0 0 600 150"; "role", "img"; "aria-label", said ]
                  (el "path" [ "class", "way"; "d", "M0 75H600" ] [] :: bars hour @ line hour)
              el
                  "ul"
                  [ "class", "legend quiet" ]
                  [ swatch "began" "began"
                    swatch "over" "ended"
                    if not lives.IsEmpty then
                        swatch "live" ("live, at most " + count (List.max lives)) ]
              el "p" [ "class", "quiet" ] [ text said ] ]
