/// The transport without a server: exact bytes under our name, or no session.
module Properties.Transports

open System
open Expecto
open Microsoft.AspNetCore.Http
open Microsoft.Extensions.Primitives
open Session.AspNetCore
open Session.Engine

let private id = "F8PBtq23XT5kGSuG0XXJ3g"
let private hasher = SecretHasher(null)
let private settings = { SessionSettings.defaults with CookieName = Some "sid" }

let private token (c: char) = String.Concat(id, ".", String(c, 42), "A")
let private a, b = token 'a', token 'b'

let private readWith settings (headers: (string * string) list) =
    let context = DefaultHttpContext()

    for name, value in headers do
        // An empty one, too: Append leaves those out.
        context.Request.Headers[name] <- StringValues.Concat(context.Request.Headers[name], value)

    Transport(settings, hasher).Read context

let private hashOf (text: string) =
    match Token.tryParse hasher (text.AsSpan()) with
    | ValueSome token -> token.Hash
    | ValueNone -> failtest text

let private came headers (text: string) =
    match readWith settings headers with
    | TokenCame token -> Expect.isTrue (token.Id = id && token.Hash.Equals(hashOf text)) (string headers)
    | Garbage
    | NothingCame -> failtestf "no token in %A" headers

let private isGarbage headers =
    match readWith settings headers with
    | Garbage -> ()
    | TokenCame _
    | NothingCame -> failtestf "not refused: %A" headers

let private isNothing headers =
    match readWith settings headers with
    | NothingCame -> ()
    | TokenCame _
    | Garbage -> failtestf "something in %A" headers

let all =
    testList
        "transport"
        [ testCase "a token comes, among others and with the spaces that are allowed around it" (fun () ->
              for cookies in
                  [ $"sid={a}"
                    $"x=1; sid={a}"
                    $"sid={a}; x=1"
                    $"x=1;sid={a};y=2"
                    $" \t sid={a} \t ;x"
                    $";;sid={a}"
                    $"sid={a}; sid={a}"
                    $"SID={b}; sid={a}"
                    $"xsid={b}; sidx={b}; sid={a}" ] do
                  came [ "Cookie", cookies ] a

              came [ "Cookie", "x=1"; "Cookie", $"sid={a}" ] a)

          testCase "11 nothing from strangers: a name that is not exactly ours brings nothing" (fun () ->
              for name in [ "SID"; "Sid"; "xsid"; "sidx"; "si"; "s%69d"; "\"sid\""; "sid " ] do
                  isNothing [ "Cookie", $"{name}={a}" ]

              for cookies in [ "sid"; ""; ";"; "="; a ] do
                  isNothing [ "Cookie", cookies ])

          testCase "11 nothing from strangers: nothing is decoded, trimmed or unquoted" (fun () ->
              for value in
                  [ ""
                    " " + a
                    "\"" + a + "\""
                    a.Replace(".", "%2E")
                    a + "x"
                    a + "="
                    "=" + a
                    a + "," + b
                    a.Substring 1 + " x" ] do
                  isGarbage [ "Cookie", "sid=" + value ])

          testCase "11 nothing from strangers: two values under our name are no session" (fun () ->
              for cookies in
                  [ $"sid={a}; sid={b}"
                    $"sid={b}; x=1; sid={a}"
                    $"sid={a}; sid="
                    $"sid=; sid={a}"
                    $"sid={a}; sid=garbage"
                    $"sid={a}; sid={a}; sid={b}" ] do
                  isGarbage [ "Cookie", cookies ]

              isGarbage [ "Cookie", $"sid={a}"; "Cookie", $"sid={b}" ])

          testCase "11 nothing from strangers: cookie and header are ambiguous, two headers are garbage" (fun () ->
              let settings = { settings with HeaderName = Some "X-Session" }

              let ambiguous (headers: (string * string) list) =
                  let context = DefaultHttpContext()

                  for name, value in headers do
                      context.Request.Headers.Append(name, StringValues value)

                  Transport(settings, hasher).IsAmbiguous context

              Expect.isTrue (ambiguous [ "Cookie", $"sid={a}"; "X-Session", a ]) "both"
              Expect.isTrue (ambiguous [ "Cookie", "sid="; "X-Session", a ]) "both, one of them empty"
              Expect.isFalse (ambiguous [ "Cookie", $"SID={a}"; "X-Session", a ]) "another cookie"
              Expect.isFalse (ambiguous [ "Cookie", $"sid={a}" ]) "one"
              Expect.isTrue (readWith settings [ "Cookie", $"sid={a}"; "X-Session", a ]).IsGarbage "both are no token"

              Expect.isTrue
                  (readWith settings [ "Cookie", $"sid={a}"; "X-Session", "" ]).IsGarbage
                  "nor with an empty one"

              Expect.isTrue (readWith settings [ "X-Session", a ]).IsTokenCame "the header"
              Expect.isTrue (readWith settings [ "X-Session", "" ]).IsNothingCame "an empty header"
              Expect.isTrue (readWith settings [ "X-Session", a; "X-Session", a ]).IsGarbage "two headers")

          testCase "a logout looks at sixteen values under our name, and says when there were more" (fun () ->
              for count, areAll in [ 1, true; 16, true; 17, false; 40, false ] do
                  for garbage in [ 0; 1; count - 1 ] do
                      let values =
                          [ for n in 1..count ->
                                if n <= garbage then $"garbage{n}" else Token.newId () + a.Substring(a.IndexOf '.') ]

                      let context = DefaultHttpContext()
                      let cookies = values |> List.map (fun value -> $"sid={value}")
                      context.Request.Headers.Append("Cookie", StringValues(String.Join("; ", cookies)))
                      let struct (tokens, isWhole) = Transport(settings, hasher).AllTokens context
                      Expect.equal isWhole areAll $"{count} values, {garbage} of them garbage"
                      Expect.equal tokens.Length (min count 16 - min garbage 16) "the tokens among the first sixteen")

          testCase "Set-Cookie, byte by byte" (fun () ->
              let issued =
                  let engine = Engines.engineWith (MemoryStore()) Engines.settings

                  engine.Create(Token.newId, None, [||], Threading.CancellationToken.None).GetAwaiter().GetResult()
                  |> Engines.ok
                  |> _.Issued.Value

              let said settings (hand: Transport -> HttpContext -> unit) =
                  let context = DefaultHttpContext()
                  hand (Transport(settings, hasher)) context
                  string context.Response.Headers.SetCookie

              let set settings = said settings (fun transport context -> transport.Hand(context, issued))
              let cleared settings = said settings (fun transport context -> transport.Clear context)
              let text = issued.Reveal()
              let plain = SessionSettings.defaults
              let shared = { plain with CookieDomain = Some "example.com" }

              let embedded = { plain with SameSite = SameSiteMode.None; Partitioned = true }

              let kept = { plain with CookieMaxAge = Some(TimeSpan.FromHours 1) }
              let gone = "=; expires=Thu, 01 Jan 1970 00:00:00 GMT; max-age=0; path=/; "

              for actual, expected in
                  [ set plain, $"__Host-sid={text}; path=/; secure; samesite=lax; httponly"
                    set shared, $"__Secure-sid={text}; path=/; domain=example.com; secure; samesite=lax; httponly"
                    set embedded, $"__Host-sid-p={text}; path=/; secure; samesite=none; httponly; partitioned"
                    set kept, $"__Host-sid={text}; path=/; secure; samesite=lax; httponly; max-age=3600"
                    cleared plain, $"__Host-sid{gone}secure; samesite=lax; httponly"
                    cleared kept, $"__Host-sid{gone}secure; samesite=lax; httponly"
                    cleared shared, $"__Secure-sid{gone}domain=example.com; secure; samesite=lax; httponly"
                    cleared embedded, $"__Host-sid-p{gone}secure; samesite=none; httponly; partitioned" ] do
                  Expect.equal actual expected "exactly")

          testCase "Secure is left out only where the settings say so, and the request came without TLS" (fun () ->
              let isSecure policy isHttps =
                  let context = DefaultHttpContext()
                  context.Request.IsHttps <- isHttps
                  Transport({ settings with SecurePolicy = policy }, hasher).Clear context
                  (string context.Response.Headers.SetCookie).Contains "; secure"

              for policy, isHttps, expected in
                  [ CookieSecurePolicy.Always, false, true
                    CookieSecurePolicy.Always, true, true
                    CookieSecurePolicy.SameAsRequest, false, false
                    CookieSecurePolicy.SameAsRequest, true, true
                    CookieSecurePolicy.None, false, false ] do
                  Expect.equal (isSecure policy isHttps) expected $"{policy}, TLS: {isHttps}")

          testCase "a response with the cookie is kept out of caches, and a stricter header stays" (fun () ->
              for before, after in
                  [ "", "no-store"
                    "public, max-age=60", "no-store"
                    "private, max-age=60", "no-store, private"
                    "No-Cache, must-revalidate", "no-store, No-Cache, must-revalidate"
                    "no-store, no-transform", "no-store, no-transform" ] do
                  let context = DefaultHttpContext()
                  context.Response.Headers.CacheControl <- before
                  Transport(settings, hasher).Clear context
                  Expect.equal (string context.Response.Headers.CacheControl) after before) ]
