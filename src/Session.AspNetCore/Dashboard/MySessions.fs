/// The page of a user's own devices: what is signed in, since when, and the end of each.
namespace Session.AspNetCore

open System
open System.Text
open System.Threading.Tasks
open Microsoft.AspNetCore.Builder
open Microsoft.AspNetCore.Http
open Microsoft.AspNetCore.Routing
open Session.Domain
open Session.Engine

/// What the page of a user's own sessions says.
[<RequireQualifiedAccess>]
type MySessionsSettings<'T> =
    {
        /// The heading. Default: Your devices.
        Title: string
        /// What the application says of a device, from what is known of its session and from its data; at most 64 bytes of
        /// UTF-8 are shown. The data is None where there is none, or where it is sealed to its bearer. Default: nothing.
        Describe: Session.Info -> 'T option -> string option
    }

[<RequireQualifiedAccess>]
module internal Device =
    let private most = 64

    /// At most 64 bytes of UTF-8, and no half of a character.
    let cut (description: string) =
        if Encoding.UTF8.GetByteCount description <= most then
            description
        else
            let kept = StringBuilder()
            let mutable bytes = Encoding.UTF8.GetByteCount "…"

            for rune in description.EnumerateRunes() do
                bytes <- bytes + rune.Utf8SequenceLength

                if bytes <= most then
                    kept.Append(rune.ToString()) |> ignore

            kept.Append('…').ToString()

[<Sealed>]
type internal MySessionsPage<'T>(service: SessionService<'T>, settings: MySessionsSettings<'T>) =
    let engine = service.Engine

    let dataOf (session: Snapshot) (live: Live) =
        if not session.IsOpen then
            None
        else
            match service.Deserialize live.Data with
            | Ok data -> data
            | Error _ -> None // it is logged, and the session can be ended all the same

    let describe (session: Snapshot) (live: Live) =
        match Desk.infoOf engine session with
        | None -> "Unnamed device"
        | Some info ->
            match settings.Describe info (dataOf session live) with
            | None
            | Some "" -> "Unnamed device"
            | Some description -> Device.cut description

    let device (context: HttpContext) place (now: DateTimeOffset) own (session: Snapshot) (live: Live) =
        let isOwn = session.Id = own
        let name = describe session live

        let signedIn =
            match live.AuthenticatedAt with
            | Some at -> [ text "Signed in "; Page.time now at; text ". " ]
            | None -> []

        let seen =
            if isOwn then [ text "In use now." ] else [ text "Last seen "; Page.time now live.LastSeen; text "." ]

        let verb = if isOwn then "Sign out" else "End"

        el
            "li"
            []
            [ el
                  "div"
                  []
                  [ el
                        "p"
                        []
                        [ el "strong" [] [ foreign name ]
                          if isOwn then
                              text " "
                              el "span" [ "class", "tag" ] [ text "This device" ] ]
                    el "p" [ "class", "quiet" ] (signedIn @ seen) ]
              Forms.button
                  context
                  (place + "/end")
                  [ "id", session.Id ]
                  (el "button" [ "aria-label", String.Concat(verb, ": ", name) ] [ text verb ]) ]

    let said (context: HttpContext) =
        match string context.Request.Query["said"] with
        | "ended" -> "That device is signed out."
        | "gone" -> "That device was signed out already."
        | "others" -> "All other devices are signed out."
        | _ -> ""

    let orRaise (result: Result<'a, SessionError>) : 'a =
        match result with
        | Ok value -> value
        | Error error -> raise (SessionFailure.toException error)

    /// The subject of this request, and its session. The endpoint requires a sign-in.
    let caller (context: HttpContext) =
        task {
            let request = RequestSession.find<'T> context
            let! loaded = request.Load context.RequestAborted
            orRaise loaded

            match request.Id, request.Live |> Option.bind _.Subject with
            | Some id, Some subject -> return struct (request, id, subject)
            | _ ->
                orRaise (Nobody.isSure request)
                return raise (SessionFailure.toException SessionError.NoSession)
        }

    let signedOut (context: HttpContext) =
        let home = context.Request.PathBase.Add(PathString "/").ToUriComponent()

        Page.write
            context
            200
            "You are signed out"
            nothing
            [ el "p" [] [ text "This device is signed out." ]
              el "p" [] [ el "a" [ "href", home ] [ text "Go on" ] ] ]

    member _.Show(context: HttpContext) : Task =
        task {
            let! struct (_, own, subject) = caller context
            let now = service.Clock.GetUtcNow()
            let place = Page.placeOf context ""

            let after: string | null =
                match string context.Request.Query["after"] with
                | after when Token.isValidId after -> after
                | _ -> null

            let! shelf = Shelf.ofSubject engine now subject after context.RequestAborted
            let shelf = orRaise shelf

            // The store's list may be a moment behind: this one is shown whatever it says.
            let! mine = engine.Find(own, context.RequestAborted)

            let others =
                shelf.Sessions
                |> List.filter (fun it -> it.Id <> own && Shelf.isLive engine now it)
                |> List.sortByDescending (fun it -> (Shelf.known it |> Option.map _.LastSeen))

            let shown = [ yield! Option.toList (orRaise mine); yield! others ]

            let more =
                match shelf.Next with
                | null -> nothing
                | next ->
                    el
                        "p"
                        []
                        [ el "a" [ "href", String.Concat(Page.self place, "?after=", next) ] [ text "More devices" ] ]

            let endOthers =
                if others.IsEmpty && isNull shelf.Next && shelf.Unreadable = 0 then
                    nothing
                else
                    Forms.button
                        context
                        (place + "/end-others")
                        []
                        (el "button" [ "class", "danger" ] [ text "Sign out all other devices" ])

            let unlisted =
                if shelf.Lists then
                    nothing
                else
                    el "p" [ "class", "quiet" ] [ text "Other devices cannot be listed here." ]

            do!
                Page.write
                    context
                    200
                    settings.Title
                    nothing
                    [ Page.note (said context)
                      Page.card
                          "devices"
                          "Where you are signed in"
                          [ el
                                "ul"
                                [ "class", "list" ]
                                [ for session in shown do
                                      match Shelf.known session with
                                      | Some live -> device context place now own session live
                                      | None -> () ]
                            more
                            unlisted
                            endOthers ] ]
        }

    /// One: of the caller's subject, or none. Whether there is such a session of somebody else's is not said.
    member _.End(context: HttpContext) : Task =
        task {
            let! struct (request, own, subject) = caller context

            match! Forms.accept<'T> context with
            | None -> ()
            | Some form ->
                let id = string form["id"]

                if id = own then
                    let! ended = request.Destroy Threading.CancellationToken.None
                    orRaise ended
                    do! signedOut context
                else
                    let! ended =
                        if Token.isValidId id then
                            engine.DestroyOf(subject, id, Revoked, Threading.CancellationToken.None)
                        else
                            Task.FromResult(Ok false)

                    let said = if orRaise ended then "?said=ended" else "?said=gone"
                    do! Page.seeOther context (Page.self (Page.placeOf context "/end") + said)
        }

    member _.EndOthers(context: HttpContext) : Task =
        task {
            let! struct (_, own, subject) = caller context

            match! Forms.accept<'T> context with
            | None -> ()
            | Some _ ->
                let! ended = engine.DestroyAll(subject, Some own, Revoked, Threading.CancellationToken.None)
                orRaise ended |> ignore<int>
                do! Page.seeOther context (Page.self (Page.placeOf context "/end-others") + "?said=others")
        }

/// A page of a user's own devices, made on the server: it works without script, and takes nothing from elsewhere.
[<RequireQualifiedAccess>]
module MySessions =
    let private defaults<'T> : MySessionsSettings<'T> =
        { MySessionsSettings.Title = "Your devices"
          MySessionsSettings.Describe = fun _ _ -> None }

    /// A page at `pattern` on which whoever has signed in sees where that is so, and ends one of these sessions or all others:
    /// `app |> MySessions.map<Cart> "/account/sessions" id`. Nobody else's session can be seen or ended there. It needs
    /// `services.AddAntiforgery()`; where nobody is signed in it answers 401, or with the challenge of the endpoint's
    /// authentication scheme. Two commands to the store for each 50 sessions.
    let map<'T>
        (pattern: string)
        (configure: MySessionsSettings<'T> -> MySessionsSettings<'T>)
        (endpoints: IEndpointRouteBuilder)
        : IEndpointConventionBuilder =
        SessionRegistration.named<'T> "MySessions.map"
        Forms.require "MapMySessions" endpoints
        let service = SessionServiceOf.services<'T> endpoints.ServiceProvider
        let page = MySessionsPage<'T>(service, configure defaults<'T>)
        let group = endpoints.MapGroup pattern
        group.MapGet("", RequestDelegate page.Show).WithDisplayName("My sessions") |> ignore
        group.MapPost("/end", RequestDelegate page.End).WithDisplayName("My sessions: end one") |> ignore

        group.MapPost("/end-others", RequestDelegate page.EndOthers).WithDisplayName("My sessions: end the others")
        |> ignore

        let group = group :> IEndpointConventionBuilder
        group.Add(fun endpoint -> SessionGuard.require typeof<'T> true endpoint)
        group
