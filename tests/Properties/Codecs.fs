/// Records and tokens as bytes and text: what is not exactly ours is nothing.
module Properties.Codecs

open System
open Expecto
open Session.Domain
open Session.Engine
open Properties.Histories

let private states seed =
    let random = Random(int seed)

    [ for _ in 1..400 do
          let moves = [ for _ in 1..20 -> { Wait = random.Next 12; Do = random.Next 16; With = random.Next 40 } ]

          for step in run policy moves do
              if step.After <> Absent then
                  step.After ]
    |> List.distinct

let private read id version (bytes: byte[]) = Codec.decode id version (ReadOnlyMemory<byte> bytes)

let all seed =
    let states = states seed
    let some = states |> List.indexed |> List.filter (fun (i, _) -> i % 40 = 0) |> List.map snd
    let hasher = SecretHasher null
    let parse (text: string) = Token.tryParse hasher (text.AsSpan())
    let good = "F8PBtq23XT5kGSuG0XXJ3g.TLl4O0XI4kWFSy4ogCNspzJP4bsAmj9CCQ5pOKIPfk8"

    testList
        "codec"
        [ testCase "every state comes back as it was" (fun () ->
              for state in states do
                  Expect.equal (read "id-1" 7L (Codec.encode "id-1" 7L state)) (Ok state) "round trip")

          testCase "16 one decoder: a record cut short anywhere is refused" (fun () ->
              for state in some do
                  let bytes = Codec.encode "id-1" 7L state

                  for length in 0 .. bytes.Length - 1 do
                      Expect.isError (read "id-1" 7L bytes[.. length - 1]) "cut")

          testCase "16 one decoder: a flipped bit anywhere is refused" (fun () ->
              for state in some do
                  let bytes = Codec.encode "id-1" 7L state

                  for i in 0 .. bytes.Length - 1 do
                      let flipped = Array.copy bytes
                      flipped[i] <- flipped[i] ^^^ (1uy <<< (i % 8))
                      Expect.isError (read "id-1" 7L flipped) "flipped")

          testCase "16 one decoder: another id, another version, another format, anything behind the end" (fun () ->
              for state in some do
                  let bytes = Codec.encode "id-1" 7L state
                  Expect.isError (read "id-2" 7L bytes) "another id"
                  Expect.isError (read "id-1" 8L bytes) "another version"
                  Expect.isError (read "id-1" 7L (Array.append bytes [| 0uy |])) "behind the end"
                  let other = Array.copy bytes
                  other[0] <- 2uy
                  Expect.equal (read "id-1" 7L other) (Error "unknown format") "another format")

          testCase "16 one decoder: garbage never throws" (fun () ->
              let random = Random(int seed)

              for _ in 1..20_000 do
                  let bytes = Array.zeroCreate<byte>(random.Next 400)
                  random.NextBytes bytes

                  if bytes.Length > 0 then
                      bytes[0] <- 1uy

                  Expect.isError (read "id-1" 7L bytes) "garbage")

          testCase "a token comes back" (fun () ->
              Expect.isTrue (parse good).IsSome "well-formed"
              Expect.equal (parse good).Value.Id "F8PBtq23XT5kGSuG0XXJ3g" "id"
              let secret = Secret.Mint()
              Expect.isFalse (string secret |> String.exists Char.IsDigit) "no text form"
              Expect.equal (string (parse good).Value) "F8PBtq23XT5kGSuG0XXJ3g.(hidden)" "no secret in text")

          testCase "11 nothing from strangers: each character of the secret counts" (fun () ->
              let hash = (parse good).Value.Hash

              for i in 23..65 do
                  let letter = if good[i] = 'A' then 'E' else 'A'
                  let other = good.Remove(i, 1).Insert(i, string letter)

                  match parse other with
                  | ValueSome token -> Expect.isFalse (token.Hash.Equals hash) "another hash"
                  | ValueNone -> ())

          testCase "11 nothing from strangers: what is not exactly a token is none" (fun () ->
              let bad =
                  [ ""
                    "."
                    "x"
                    good + "A"
                    good.Substring 1 |> fun text -> "." + text
                    good.Substring(0, 65)
                    " " + good
                    good + " "
                    good.Replace('.', ',')
                    good.Replace("F8", "F%38")
                    good.Substring(0, 65) + "="
                    good.Substring(0, 65) + "9"
                    good.Substring(0, 40) + " " + good.Substring 41
                    good.Substring(0, 40) + "+" + good.Substring 41
                    good.Substring(0, 40) + "\u0000" + good.Substring 41
                    String('A', 65) + "." + String('A', 43)
                    "F8PBtq23XT5kGSuG0XXJ3g..TLl4O0XI4kWFSy4ogCNspzJP4bsAmj9CCQ5pOKIPfk8" ]

              for text in bad do
                  Expect.isTrue (parse text).IsNone text)

          testCase "11 nothing from strangers: generated garbage never throws" (fun () ->
              let random = Random(int seed)
              let letters = "AZaz09-_.=%; \t\u00e9\u2003"

              for _ in 1..100_000 do
                  let text = String(Array.init (random.Next 120) (fun _ -> letters[random.Next letters.Length]))
                  parse text |> ignore)

          testCase "a server key gives other hashes" (fun () ->
              let keyed = SecretHasher(Array.create 32 7uy)
              let other = (Token.tryParse keyed (good.AsSpan())).Value
              Expect.isFalse (other.Hash.Equals (parse good).Value.Hash) "another hash") ]
