/// Texts of any characters, in every place that a text may have: they come back, or the write is refused. Half of a
/// surrogate pair has no place in JSON, and would come back as U+FFFD.
module Data.Texts

open System
open System.Text
open System.Text.Json.Nodes
open Session.AspNetCore

type Sku = private Sku of string

type Word =
    | Said of string
    | Unsaid

type Places =
    { Field: string
      Optional: string option
      Listed: string list
      Keyed: Map<string, int>
      Valued: Map<int, string>
      Private: Sku
      Skus: Map<Sku, int>
      Words: Map<Word, Word>
      Pair: string * int
      Struct: struct (int * string)
      Node: JsonNode
      First: char }

let private none =
    { Field = ""
      Optional = None
      Listed = []
      Keyed = Map.empty
      Valued = Map.empty
      Private = Sku "a"
      Skus = Map.empty
      Words = Map.empty
      Pair = "", 0
      Struct = struct (0, "")
      Node = JsonArray()
      First = 'a' }

let private places: (string * (string -> Places)) list =
    [ "Field", (fun text -> { none with Field = text })
      "Optional", (fun text -> { none with Optional = Some text })
      "Listed", (fun text -> { none with Listed = [ "a"; text ] })
      "Keyed", (fun text -> { none with Keyed = Map.ofList [ text, 1 ] })
      "Valued", (fun text -> { none with Valued = Map.ofList [ 1, text ] })
      "Private", (fun text -> { none with Private = Sku text })
      "Skus", (fun text -> { none with Skus = Map.ofList [ Sku text, 1 ] })
      "Words", (fun text -> { none with Words = Map.ofList [ Said text, Unsaid ] })
      "Words", (fun text -> { none with Words = Map.ofList [ Unsaid, Said text ] })
      "Pair", (fun text -> { none with Pair = text, 1 })
      "Struct", (fun text -> { none with Struct = struct (1, text) })
      "Node", (fun text -> { none with Node = JsonArray(JsonValue.Create text) })
      "First", (fun text -> { none with First = if text = "" then 'a' else text[0] }) ]

// Halves as characters: the compiler mends literals.
let private pieces =
    [ "a"
      "ü"
      "\u4e2d"
      "\U0001F600"
      "\uFFFD"
      "\\uFFFD"
      "\""
      "\u0000"
      "{"
      String('\ud83d', 1)
      String('\ude00', 1) ]

let private isWhole (text: string) =
    try
        UTF8Encoding(false, true).GetByteCount text >= 0
    with :? EncoderFallbackException ->
        false

let private isSame (a: Places) (b: Places) = JsonNode.DeepEquals(a.Node, b.Node) && { a with Node = b.Node } = b

let test (seed: int) () =
    let random = Random seed
    let serializer = JsonSessionSerializer<Places>(SessionSerializer.contract<Places>()) :> ISessionSerializer<Places>
    let mutable whole, refused = 0, 0

    for _ in 1..400 do
        let text = String.Concat [ for _ in 1 .. random.Next 5 -> pieces[random.Next pieces.Length] ]

        for name, place in places do
            let value = place text
            let expected = isWhole (if name = "First" then string value.First else text)
            let shown = $"%A{[ for c in text -> int c ]} in {name}"

            match
                (try
                    Ok(serializer.Serialize value)
                 with :? UnwritableSessionDataException as refused ->
                     Error refused.Message)
            with
            | Ok _ when not expected -> failwith $"half of a pair was stored: {shown}"
            | Ok bytes ->
                whole <- whole + 1

                if not (isSame value (serializer.Deserialize(ReadOnlyMemory<byte> bytes))) then
                    failwith $"came back as another text: {shown}"
            | Error why when expected -> failwith $"refused, and nothing is wrong with it: {shown}: {why}"
            | Error why when not (why.Contains $"Places.{name}") -> failwith $"{name} is not named: {why}"
            | Error _ -> refused <- refused + 1

    printfn "%d texts came back, %d were refused" whole refused

    if whole < 400 || refused < 400 then
        failwith "one of both hardly ever happened"
