/// Tokens as text: what is not exactly `id.secret` is none, and no secret shows itself.
module Properties.Tokens

open System
open System.Threading
open Expecto
open Session.Engine
open Session.Domain
open Properties.Engines

let private hasher = SecretHasher null
let private parse (text: string) = Token.tryParse hasher (text.AsSpan())
let private alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

let private secretText = "TLl4O0XI4kWFSy4ogCNspzJP4bsAmj9CCQ5pOKIPfk8"
let private good = "F8PBtq23XT5kGSuG0XXJ3g." + secretText

/// A token as a client gets it, and the hash that its session was created with.
let private issue () =
    task {
        let engine = engineWith (MemoryStore()) settings
        let! created = engine.Create(Token.newId, None, [||], CancellationToken.None)
        let created = ok created
        return created.Issued.Value, created.Live.Secret
    }

let private strangers =
    [ ""
      "."
      ".."
      "x"
      "x."
      "." + secretText
      secretText
      good + "A"
      good + "="
      good + "=="
      good + "."
      good + "\n"
      good + "\u0000"
      good + ";"
      " " + good
      good + " "
      "\t" + good
      "\"" + good + "\""
      good + ", " + good
      good.Substring(0, good.Length - 1)
      good.Substring(0, good.Length - 1) + "="
      good.Replace('.', ',')
      good.Replace(".", "%2E")
      good.Replace(".", "..")
      good.Replace(".", "")
      good.Replace("F8", "%46%38")
      good.Replace("F8P", "F/8")
      good.Replace("F8", "F\u0308")
      good.Replace("F8", "F.8")
      "\u0430" + good.Substring 1
      String('A', 65) + "." + secretText
      "A+B." + secretText
      "A/B." + secretText
      good.Substring(0, 30) + "+" + good.Substring 31
      good.Substring(0, 30) + "/" + good.Substring 31
      good.Substring(0, 30) + " " + good.Substring 31
      good.Substring(0, 30) + "." + good.Substring 31
      good.Substring(0, 30) + "\uFF21" + good.Substring 31
      good.Substring(0, 30) + "%41" + good.Substring 33
      good.Substring(0, 30) + "\n" + good.Substring 31 ]

let all (seed: int) =
    testList
        "tokens"
        [ testTask "an issued token comes back with its id and its hash" {
              for _ in 1..200 do
                  let! (issued: IssuedToken, hash: SecretHash) = issue ()
                  let token = parse (issued.Reveal())
                  Expect.isTrue token.IsSome "a token"
                  Expect.equal token.Value.Id issued.Id "its id"
                  Expect.isTrue (token.Value.Hash.Equals hash) "its hash"
          }

          testCase "ids are valid and new each time" (fun () ->
              let ids = [ for _ in 1..1000 -> Token.newId () ]
              Expect.equal (List.distinct ids).Length 1000 "new"
              Expect.all ids (fun id -> id.Length = 22 && Token.isValidId id) "valid"

              for id in [ ""; " "; "a b"; "a.b"; "a/b"; "\u00e9"; String('x', 65); "a\n" ] do
                  Expect.isFalse (Token.isValidId id) id

              for id in [ "x"; "-"; "_"; String('x', 64) ] do
                  Expect.isTrue (Token.isValidId id) id
                  Expect.isTrue (parse (id + "." + secretText)).IsSome id)

          testCase
              "11 nothing from strangers: any other character anywhere in the secret gives another hash, or no token"
              (fun () ->
                  let hash = (parse good).Value.Hash
                  let first = good.Length - 43

                  for i in first .. good.Length - 1 do
                      for letter in alphabet do
                          if letter <> good[i] then
                              match parse (good.Remove(i, 1).Insert(i, string letter)) with
                              | ValueSome token -> Expect.isFalse (token.Hash.Equals hash) $"character {i}, {letter}"
                              | ValueNone -> Expect.equal i (good.Length - 1) "only the last character can be wrong")

          testCase "11 nothing from strangers: one spelling only of the last character" (fun () ->
              let spelt =
                  [ for letter in alphabet do
                        if (parse (good.Substring(0, good.Length - 1) + string letter)).IsSome then
                            letter ]

              Expect.equal (String(Array.ofList spelt)) "AEIMQUYcgkosw048" "the sixteen with no unused bits")

          testCase "11 nothing from strangers: the secret has 43 characters, neither more nor less" (fun () ->
              for length in 0..100 do
                  let text = "id." + String('A', length)
                  Expect.equal (parse text).IsSome (length = 43) (string length))

          testCase "11 nothing from strangers: what is not exactly a token is none" (fun () ->
              for text in strangers do
                  Expect.isTrue (parse text).IsNone $"'{text}'")

          testCase "11 nothing from strangers: no character outside the alphabet, anywhere" (fun () ->
              for code in 0..0xFFFF do
                  let letter = char code

                  if not (alphabet.Contains letter) then
                      for i in [ 0; 10; 22; 23; 40; good.Length - 1 ] do
                          // A dot in place of the dot is the token itself.
                          if not (i = 22 && letter = '.') then
                              let text =
                                  String.Concat(good.AsSpan(0, i), ReadOnlySpan<char>(&letter), good.AsSpan(i + 1))

                              if (parse text).IsSome then
                                  failtestf "U+%04X at %d" code i)

          testCase "11 nothing from strangers: 100,000 pieces of garbage never throw, and are no tokens" (fun () ->
              let random = Random seed
              let letters = alphabet + alphabet + "..=%;+/ \t\u00e9\u2003\u0000\uD800"

              for _ in 1..100_000 do
                  let text =
                      if random.Next 2 = 0 then
                          String(Array.init (random.Next 120) (fun _ -> letters[random.Next letters.Length]))
                      else
                          // Nearly right: one or two places of a token changed.
                          let text = good.ToCharArray()

                          for _ in 0 .. random.Next 2 do
                              text[random.Next text.Length] <- letters[random.Next letters.Length]

                          String text

                  let isShaped =
                      Text.RegularExpressions.Regex.IsMatch(
                          text,
                          @"\A[A-Za-z0-9_-]{1,64}\.[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]\z"
                      )

                  if (parse text).IsSome <> isShaped then
                      failtestf "'%s'" text)

          testTask "no text form shows the secret" {
              let! (issued: IssuedToken, _: SecretHash) = issue ()
              let text = issued.Reveal()
              let secret = text.Substring(text.LastIndexOf '.' + 1)
              let token = (parse text).Value

              let shown =
                  [ string issued
                    string token
                    string (Secret.Mint())
                    $"{issued} {token}"
                    string (box token) ]

              for shown in shown do
                  Expect.stringContains shown "(hidden)" "says so"
                  Expect.isFalse (shown.Contains secret || shown.Contains(secret.Substring(0, 8))) "no secret"
                  Expect.isFalse (shown.Contains(string token.Hash.W0)) "no hash"
          }

          testCase "a server key gives other hashes, another key others again" (fun () ->
              let hashUnder (keys: ServerKeys | null) = (Token.tryParse (SecretHasher keys) (good.AsSpan())).Value.Hash
              let under (key: byte[]) = hashUnder (ServerKeys key)
              let hashes = [ hashUnder null; under (Array.create 32 7uy); under (Array.create 32 8uy) ]
              Expect.equal (List.distinct (hashes |> List.map (fun hash -> hash.W0, hash.W1))).Length 3 "all differ"
              Expect.isTrue ((under (Array.create 32 7uy)).Equals hashes[1]) "the same key, the same hash")

          testCase "under a server key a hash belongs to one session id" (fun () ->
              let hashes (hasher: SecretHasher) =
                  [ for id in [ "a"; "b"; "aa"; String('a', 64) ] do
                        let token = (Token.tryParse hasher ((id + "." + secretText).AsSpan())).Value
                        token.Hash.W0, token.Hash.W1, token.Hash.W2, token.Hash.W3 ]

              let keyed = SecretHasher(ServerKeys(Array.create 32 7uy))
              Expect.equal (List.distinct (hashes keyed)).Length 4 "of four ids"
              Expect.equal (hashes keyed) (hashes keyed) "the same each time"
              Expect.equal (List.distinct (hashes hasher)).Length 1 "without a key it is of the secret alone")

          testCase "hashes are equal in all of their 256 bits, or not at all" (fun () ->
              let hash = (parse good).Value.Hash

              for bit in 0..63 do
                  let flip = 1L <<< bit
                  Expect.isFalse (hash.Equals { hash with W0 = hash.W0 ^^^ flip }) "first word"
                  Expect.isFalse (hash.Equals { hash with W1 = hash.W1 ^^^ flip }) "second word"
                  Expect.isFalse (hash.Equals { hash with W2 = hash.W2 ^^^ flip }) "third word"
                  Expect.isFalse (hash.Equals { hash with W3 = hash.W3 ^^^ flip }) "fourth word") ]
