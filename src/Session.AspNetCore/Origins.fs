/// Origins as browsers write them (RFC 6454 6.2): scheme, host, and the port where it is not the scheme's own.
[<RequireQualifiedAccess>]
module internal Session.AspNetCore.Origins

open System
open Microsoft.AspNetCore.Http

/// As a browser writes it; None: it is none.
let tryNormal (text: string) : string option =
    let isPlain scheme =
        text.StartsWith(String.Concat(scheme, "://"), StringComparison.OrdinalIgnoreCase)
        && Seq.forall Char.IsAscii text
        && text.AsSpan(scheme.Length + 3).IndexOfAny("/?#@\\* ".AsSpan()) < 0

    match Uri.TryCreate(text, UriKind.Absolute) with
    | true, (NonNull uri) when isPlain "https" || isPlain "http" -> Some(uri.GetLeftPart UriPartial.Authority)
    | _ -> None

let private isAt (request: HttpRequest) scheme port (origin: string) =
    let host = request.Host

    let authority: string | null = if host.Port = Nullable port then host.Host else host.Value

    match authority with
    | null
    | "" -> false
    | authority -> origin.Equals(String.Concat(scheme, "://", authority), StringComparison.OrdinalIgnoreCase)

/// Whether a page of this origin is one of the server that the request came to. A proxy may have ended TLS without a word of
/// it: a secure page of the same host is ours then, too. One that is less secure than the request is not: anybody on the way
/// can write it.
let isOwn (request: HttpRequest) (origin: string) =
    isAt request "https" 443 origin || not request.IsHttps && isAt request "http" 80 origin
