/// The session as an authentication scheme: its settings, and the user that a session stands for.
namespace Session.AspNetCore

open System
open System.Globalization
open System.Security.Claims
open Microsoft.AspNetCore.Authentication
open Microsoft.AspNetCore.Http

/// How sessions of one kind of data are an authentication scheme.
[<NoEquality; NoComparison>]
type SessionScheme<'T> =
    {
        /// Default `Session`.
        Name: string
        /// What is claimed of a subject with this data: its roles, say. Pure: it is called for each request that asks for its
        /// user. Default none. The subject is the name identifier and the name, unless the function gives claims of these types.
        Claims: string -> 'T -> Claim seq
        /// The data of a session to which a principal signs in through the scheme (`HttpContext.SignInAsync`), from the data that
        /// is there: None of a new session, and of one that was another subject's. Default: the data that is there. Without
        /// any, None fails the sign-in: a session begins with data.
        Data: ClaimsPrincipal -> 'T option -> 'T option
        /// Where somebody who has to sign in is sent to. Default none: 401. Requests of programs get a 401 in any case.
        LoginPath: string option
        /// Where somebody is sent to who is signed in and may not. Default none: 403. Requests of programs get a 403 in any case.
        AccessDeniedPath: string option
        /// Default `ReturnUrl`: the query parameter that says where to go after the sign-in.
        ReturnUrlParameter: string
        /// What every scheme has, such as forwarding to other schemes. Default: as it is.
        Configure: AuthenticationSchemeOptions -> unit
    }

[<RequireQualifiedAccess>]
module SessionScheme =
    [<Literal>]
    let Name = "Session"

    /// What stands at each field.
    let defaults<'T> : SessionScheme<'T> =
        { Name = Name
          Claims = fun _ _ -> Seq.empty
          Data = fun _ current -> current
          LoginPath = None
          AccessDeniedPath = None
          ReturnUrlParameter = "ReturnUrl"
          Configure = ignore }

/// What the framework keeps of a scheme.
type internal SessionSchemeOptions<'T>() =
    inherit AuthenticationSchemeOptions()
    member val Scheme: SessionScheme<'T> = SessionScheme.defaults with get, set
    /// Each face has exceptions of its own.
    member val ToException: SessionError -> exn = SessionFailure.toException with get, set

    override options.Validate() =
        base.Validate()

        for path in [ options.Scheme.LoginPath; options.Scheme.AccessDeniedPath ] do
            match path with
            | Some path when not (path.StartsWith '/') ->
                invalidArg "path" (String.Concat("LoginPath and AccessDeniedPath begin with '/': ", path, " does not."))
            | _ -> ()

        if not (isNull options.Events && isNull options.EventsType) then
            invalidArg
                "Events"
                "The scheme of a session has no events: those of sessions are SessionOptions.Events, in F# onEvent of AddSession."

        if String.IsNullOrEmpty options.Scheme.ReturnUrlParameter then
            invalidArg "ReturnUrlParameter" "ReturnUrlParameter needs a name."

/// Nobody, in an application that goes on without the store: whoever asks whether somebody may go in has to hear that nobody knows.
[<Sealed>]
type internal UnknownUser(failure: exn) as this =
    inherit AuthenticateResult()
    do this.None <- true
    member _.Outage = failure

[<RequireQualifiedAccess>]
module internal SessionUser =
    /// The type of the claim that says which session it is. Its property of the other name says whose.
    [<Literal>]
    let IdClaim = "session/id"

    [<Literal>]
    let SubjectProperty = "subject"

    /// When the session ends if nothing more happens, as of then (ticks, UTC).
    [<Literal>]
    let private EndProperty = "ends"

    let make
        (scheme: string)
        (options: SessionSchemeOptions<'T>)
        (id: string)
        (subject: string)
        (endsAt: DateTimeOffset option)
        (data: 'T option)
        : ClaimsPrincipal =
        let identity = ClaimsIdentity scheme
        let claim name value = Claim(name, value, ClaimValueTypes.String, options.ClaimsIssuer)

        match data with
        | Some data -> identity.AddClaims(options.Scheme.Claims subject data)
        | None -> ()

        for claimed in [ ClaimTypes.NameIdentifier; ClaimTypes.Name ] do
            if not (identity.HasClaim(fun claim -> claim.Type = claimed)) then
                identity.AddClaim(claim claimed subject)

        let session = claim IdClaim id
        session.Properties[SubjectProperty] <- subject

        match endsAt with
        | Some at -> session.Properties[EndProperty] <- at.UtcTicks.ToString CultureInfo.InvariantCulture
        | None -> ()

        identity.AddClaim session
        ClaimsPrincipal identity

    /// When the session of this claim ends, as far as whoever made the claim knew.
    let endOf (session: Claim) : DateTimeOffset option =
        match session.Properties.TryGetValue EndProperty with
        | true, ticks -> Some(DateTimeOffset(Int64.Parse(ticks, CultureInfo.InvariantCulture), TimeSpan.Zero))
        | _ -> None

    /// Whom a principal that signs in is: the name identifier, also under the name that identity providers give it, else the name.
    let subject (user: ClaimsPrincipal) : string option =
        [ ClaimTypes.NameIdentifier; "sub" ]
        |> List.tryPick (fun claimed -> user.FindFirst claimed |> Option.ofObj |> Option.map _.Value)
        |> Option.orElseWith (fun () -> user.Identities |> Seq.tryPick (fun identity -> Option.ofObj identity.Name))

    /// The same user with the same claims.
    let isSame (one: ClaimsPrincipal) (other: ClaimsPrincipal) =
        let all (user: ClaimsPrincipal) = [ for claim in user.Claims -> struct (claim.Type, claim.Value) ] |> List.sort
        all one = all other

    /// Reads the session, and says who its user is. What the store fails with is a failure, and not nobody; where the settings
    /// say to go on, nobody known.
    let authenticate (scheme: string) (options: SessionSchemeOptions<'T>) (context: HttpContext) =
        task {
            let request = RequestSession.find<'T> context

            match! request.Load context.RequestAborted with
            | Error error -> return AuthenticateResult.Fail(options.ToException error)
            | Ok() ->
                match request.Id, request.Live with
                | Some id, Some { Subject = Some subject; AuthenticatedAt = at } ->
                    let user = make scheme options id subject request.ExpiresAt request.Data

                    let properties =
                        AuthenticationProperties(
                            IssuedUtc = Option.toNullable at,
                            ExpiresUtc = Option.toNullable request.ExpiresAt
                        )

                    return AuthenticateResult.Success(AuthenticationTicket(user, properties, scheme))
                | _ ->
                    match Nobody.isSure request with
                    | Ok() -> return AuthenticateResult.NoResult()
                    | Error error -> return UnknownUser(options.ToException error)
        }
