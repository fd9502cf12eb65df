/// What counts where the application has said nothing.
[<RequireQualifiedAccess>]
module internal Session.AspNetCore.Defaults

open System
open Microsoft.AspNetCore.Http

/// The confirm timeout that counts.
let confirmTimeout (settings: SessionSettings) =
    match settings.ConfirmTimeout with
    | Some timeout -> timeout
    | None -> min settings.AbsoluteTimeout (TimeSpan.FromMinutes 10L)

let plainName (settings: SessionSettings) =
    match settings.CookieName with
    | Some name -> name
    | None when settings.SecurePolicy <> CookieSecurePolicy.Always -> "sid"
    | None when settings.CookieDomain.IsSome || settings.CookiePath <> "/" -> "__Secure-sid"
    | None -> "__Host-sid"

let partitionedName settings = String.Concat(plainName settings, "-p")

let cookieName (settings: SessionSettings) =
    if settings.Partitioned then partitionedName settings else plainName settings
