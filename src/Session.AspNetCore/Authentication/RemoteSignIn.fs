/// Sign-ins of a handler that leaves the site for them: OpenID Connect, say.
namespace Session.AspNetCore

open System.Security.Claims
open Microsoft.AspNetCore.Authentication
open Session.Engine

[<RequireQualifiedAccess>]
module internal RemoteSignIn =
    /// What `RemoteAuthenticationHandler` puts into the properties of a sign-in.
    [<Literal>]
    let private Mark = ".AuthScheme"

    let is (properties: AuthenticationProperties | null) =
        match properties with
        | null -> false
        | properties -> properties.Items.ContainsKey Mark

    let private first (user: ClaimsPrincipal) (types: string list) =
        types |> List.tryPick (user.FindFirst >> Option.ofObj)

    /// The provider's session behind such a sign-in, where logouts of providers are heard: without it none would find what begins
    /// now. The handler removes the claim `iss`, and leaves it as the issuer of all others. Null: there is none to name.
    let from
        (service: SessionService<'T>)
        (user: ClaimsPrincipal)
        (properties: AuthenticationProperties | null)
        : ExternalSession | null =
        if not service.HearsLogouts || not (is properties) then
            null
        else
            match first user [ "sub"; ClaimTypes.NameIdentifier ] with
            | Some name when name.Issuer <> ClaimsIdentity.DefaultIssuer ->
                let session =
                    first user [ "sid"; ClaimTypes.Sid ]
                    |> Option.filter (fun claim -> claim.Issuer = name.Issuer)
                    |> Option.map _.Value

                ExternalSession(name.Issuer, Option.toObj session, name.Value)
            | _ -> null
