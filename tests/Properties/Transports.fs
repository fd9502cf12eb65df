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
        context.Request.Headers.Append(name, StringValues value)

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
              Expect.isTrue (readWith settings [ "X-Session", a ]).IsTokenCame "the header"
              Expect.isTrue (readWith settings [ "X-Session", "" ]).IsNothingCame "an empty header"
              Expect.isTrue (readWith settings [ "X-Session", a; "X-Session", a ]).IsGarbage "two headers") ]
