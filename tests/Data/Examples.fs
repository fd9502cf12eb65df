/// The rest of what docs/DATA.md promises: data as it was stored before, no bytes at all, and what is read back in Development.
module Data.Examples

open System
open System.Collections.Generic
open System.Text
open Microsoft.Extensions.DependencyInjection
open Microsoft.Extensions.FileProviders
open Microsoft.Extensions.Hosting
open Microsoft.Extensions.Logging
open Session.AspNetCore
open Session.Engine

/// What docs/DATA.md shows, word by word.
module Shown =
    type Sku = private Sku of string

    type Payment =
        | Cash
        | Card of number: string * year: int

    type Basket =
        { Lines: Map<Sku, int>
          Payment: Payment option
          Size: struct (float * float)
          Total: bigint }

    let baskets =
        [ { Lines = Map.ofList [ Sku "a", 1 ]
            Payment = Some(Card("4711", 2030))
            Size = struct (1.5, -infinity)
            Total = bigint.Pow(7I, 99) }
          { Lines = Map.empty
            Payment = Some Cash
            Size = struct (0.0, 0.1)
            Total = 0I } ]

type Visit =
    { Items: string list
      Note: string option
      Deep: int option option
      Counts: Map<string, int> }

let private serializer<'T> () = JsonSessionSerializer<'T>(SessionSerializer.contract<'T>()) :> ISessionSerializer<'T>

let private read<'T> (json: string) = serializer<'T>().Deserialize(ReadOnlyMemory<byte>(Encoding.UTF8.GetBytes json))

let private same (what: string) (expected: 'a) (actual: 'a) =
    if expected <> actual then
        failwith $"%s{what}: %A{actual} and not %A{expected}"

/// As records of today hold it: nulls were left out, and a value stood for an option of an option.
let private before () =
    let visit = { Items = [ "a" ]; Note = None; Deep = None; Counts = Map.empty }
    same "without its nulls" visit (read """{"items":["a"],"counts":{}}""")

    same
        "a bare value"
        { visit with Deep = Some(Some 3); Note = Some "n" }
        (read """{"items":["a"],"note":"n","deep":3,"counts":{}}""")

type Total = { Sum: bigint }

type Spot = { At: struct (int * int) }

/// What version 0.1 lost is an error, and no zero.
let private lostBefore () =
    let stored (value: obj) =
        match Earlier.write (value.GetType()) value with
        | Some bytes -> Encoding.UTF8.GetString bytes
        | None -> failwith "version 0.1 did not store it"

    let names (word: string) (work: unit -> unit) =
        match
            (try
                work ()
                None
             with :? Text.Json.JsonException as error ->
                 Some error.Message)
        with
        | Some said when said.Contains word -> ()
        | other -> failwith $"no error that names {word}: %A{other}"

    for sum in [ 0I; 1I ] do
        same "what is left of a number" { Sum = sum } (read (stored { Sum = sum }))

    for sum in [ -1I; 2I; bigint.Pow(7I, 99) ] do
        names "$.sum" (fun () -> read<Total>(stored { Sum = sum }) |> ignore)

    names "item1" (fun () -> read<Spot>(stored { At = struct (0, 7) }) |> ignore)

let private shown () =
    let serializer = serializer<Shown.Basket>()

    for basket in Shown.baskets do
        same
            "what the document shows"
            basket
            (serializer.Deserialize(ReadOnlyMemory<byte>(serializer.Serialize basket)))

type Line = { Sku: string }

type Way =
    | Sent of address: Line
    | Fetched

type Order =
    { Name: string
      Lines: Line list
      Array: string array
      Way: Way
      Named: Map<string, Line>
      Pair: string * int
      Meant: string | null }

let private order =
    { Name = "ann"
      Lines = [ { Sku = "a" } ]
      Array = [| "x" |]
      Way = Fetched
      Named = Map.empty
      Pair = "a", 1
      Meant = null }

let private refused (serializer: ISessionSerializer<'T>) (value: 'T) (words: string list) =
    match
        (try
            Some(serializer.Serialize value)
         with :? UnwritableSessionDataException as error ->
             for word in words do
                 if not (error.Message.Contains(word, StringComparison.OrdinalIgnoreCase)) then
                     failwith $"the error does not name {word}: {error.Message}"

             None)
    with
    | None -> ()
    | Some bytes -> failwith $"stored as {Encoding.UTF8.GetString bytes}"

/// C# calls F#: what the type has no null for may be null all the same.
let private nulls () =
    let serializer = serializer<Order>()
    same "null that is meant" order (serializer.Deserialize(ReadOnlyMemory<byte>(serializer.Serialize order)))
    refused serializer { order with Name = Unchecked.defaultof<_> } [ "name" ]
    refused serializer { order with Lines = Unchecked.defaultof<_> } [ "lines" ]
    refused serializer { order with Lines = [ Unchecked.defaultof<_> ] } [ "FSharpList<Examples.Line>" ]
    refused serializer { order with Array = [| Unchecked.defaultof<_> |] } [ "String[]" ]
    refused serializer { order with Way = Unchecked.defaultof<_> } [ "way" ]
    refused serializer { order with Way = Sent Unchecked.defaultof<_> } [ "Way.Sent.address" ]

    refused
        serializer
        { order with Named = Map.ofList [ "a", Unchecked.defaultof<_> ] }
        [ "FSharpMap<String, Examples.Line>" ]

    refused serializer { order with Pair = Unchecked.defaultof<_>, 1 } [ "item1" ]

    // The same for what is read.
    let stored = Encoding.UTF8.GetString(serializer.Serialize order)

    for whole, withNull in
        [ "[{\"sku\":\"a\"}]", "[null]"
          "[\"x\"]", "[null]"
          "\"named\":{}", "\"named\":{\"a\":null}"
          "\"Fetched\"", "{\"Sent\":[null]}"
          "\"item1\":\"a\"", "\"item1\":null" ] do
        let changed = stored.Replace(whole, withNull)

        match
            (try
                Some(read<Order> changed)
             with :? Text.Json.JsonException ->
                 None)
        with
        | None when changed <> stored -> ()
        | read -> failwith $"%s{changed} was read as %A{read}"

/// A type that nobody knew of at start: of a plug-in, for one.
let private derived () =
    let compile (name: string) (source: string) references =
        let file = IO.Path.Combine(Trial.folder.Force(), name + ".cs")
        IO.File.WriteAllText(file, "#nullable enable\n" + source)
        let target = IO.Path.Combine(Trial.folder.Force(), name + ".dll")

        match Mutants.Compilers.compileCSharp [ file ] references target with
        | true, _ -> target
        | false, said -> failwith said

    let shop = compile "Shop" "public class Item { public int N { get; set; } } public record Basket(Item One);" []

    let gifts = compile "Gifts" "public class Gift : Item { public string To { get; set; } = \"\"; }" [ shop ]
    let basket = nonNull ((Reflection.Assembly.LoadFrom shop).GetType "Basket")
    let item = nonNull (Activator.CreateInstance(nonNull (basket.Assembly.GetType "Item")))
    let gift = nonNull (Activator.CreateInstance(nonNull ((Reflection.Assembly.LoadFrom gifts).GetType "Gift")))
    let holding (it: obj) = nonNull (Activator.CreateInstance(basket, it))

    let outcome value = Trial.byReflection false basket [| holding value |] (fun _ _ -> true) string

    match outcome item, outcome gift with
    | Trial.CameBack, Trial.Wrong said when said.Contains "Gift would be stored as Item" -> ()
    | other -> failwith $"%A{other}"

/// Each begins with something: what is stored takes its place, and does not come on top.
type Filled() =
    member val Items = List<string>([ "a gift" ])
    member val Counts = Dictionary<string, int>(dict [ "a gift", 1 ])

let private filled () =
    let serializer = serializer<Filled>()

    let back (change: Filled -> unit) =
        let value = Filled()
        change value
        serializer.Deserialize(ReadOnlyMemory<byte>(serializer.Serialize value))

    let more =
        back (fun it ->
            it.Items.Add "x"
            it.Counts["x"] <- 2)

    same "a list with more" [ "a gift"; "x" ] (List.ofSeq more.Items)
    same "a dictionary with more" [ "a gift", 1; "x", 2 ] [ for it in more.Counts -> it.Key, it.Value ]

    let none =
        back (fun it ->
            it.Items.Clear()
            it.Counts.Clear())

    same "an empty list" [] (List.ofSeq none.Items)
    same "an empty dictionary" 0 none.Counts.Count

type private Bare() =
    interface ISessionSerializer<Visit> with
        member _.Serialize visit =
            if visit.Items.IsEmpty then [||] else Encoding.UTF8.GetBytes(String.Join(",", visit.Items))

        member _.Deserialize bytes =
            { Items =
                List.ofArray (Encoding.UTF8.GetString(bytes.Span).Split(',', StringSplitOptions.RemoveEmptyEntries))
              Note = None
              Deep = None
              Counts = Map.empty }

type private Said() =
    let lines = List<string>()
    /// Those about data that changed.
    member _.Lines = lines |> Seq.filter _.Contains("come back") |> List.ofSeq

    interface ILoggerProvider with
        member this.CreateLogger _ =
            { new ILogger with
                member _.BeginScope _ = null
                member _.IsEnabled _ = true

                member _.Log(level, _, state, error, format) =
                    lines.Add(string level + " " + format.Invoke(state, error)) }

        member _.Dispose() = ()

type private Place(name: string) =
    interface IHostEnvironment with
        member val ApplicationName = "" with get, set
        member val ContentRootPath = "" with get, set
        member val ContentRootFileProvider: IFileProvider = new NullFileProvider() with get, set
        member val EnvironmentName = name with get, set

let private service (serializer: ISessionSerializer<Visit>) isDevelopment =
    let said = new Said()
    let services = ServiceCollection()
    services.AddLogging(fun logging -> logging.AddProvider said |> ignore) |> ignore

    services.AddSingleton<IHostEnvironment>(Place(if isDevelopment then "Development" else "Production"))
    |> ignore

    SessionRegistration.add<Visit>
        (Func<_, _>(fun _ -> SessionSettings.defaults))
        (Func<_, _>(fun _ -> serializer))
        services
    |> ignore

    services.BuildServiceProvider().GetRequiredService<SessionService<Visit>>(), said

let private visit =
    { Items = [ "a"; "b" ]
      Note = Some "lost"
      Deep = None
      Counts = Map.empty }

let private nothing () =
    let service, _ = service (Bare()) false
    let stored = service.Serializer.Serialize { visit with Items = [] }

    if stored.Length = 0 then
        failwith "no bytes are stored as no data"

    same "what the serializer says" [] (service.Serializer.Deserialize(ReadOnlyMemory<byte> stored)).Items
    let marked = service.Serializer.Serialize { visit with Items = [ Encoding.UTF8.GetString stored ] }

    same
        "data that looks like it"
        [ Encoding.UTF8.GetString stored ]
        (service.Serializer.Deserialize(ReadOnlyMemory<byte> marked)).Items

let private development () =
    let ofDevelopment, said = service (Bare()) true
    ofDevelopment.Serializer.Serialize visit |> ignore

    match said.Lines with
    | [ line ] when line.Contains "Visit.Note" -> ()
    | lines -> failwith $"one line that names the member: %A{lines}"

    let ofProduction, said = service (Bare()) false
    ofProduction.Serializer.Serialize visit |> ignore
    same "nothing in Production" 0 said.Lines.Length
    let json, said = service (serializer<Visit>()) true
    json.Serializer.Serialize visit |> ignore
    same "nothing where all comes back" 0 said.Lines.Length

type Ledger =
    { ByNumber: Map<bigint, string>
      ByAmount: Map<decimal, float>
      ByShift: Map<TimeSpan, DateTimeOffset>
      ByDay: Map<DateOnly, TimeOnly> }

/// Keys are texts: those of the invariant culture, whatever the culture of the request (Data.Main sets one with another minus).
let private keyed () =
    let ledger =
        { ByNumber = Map.ofList [ bigint.Pow(-7I, 91), "a"; -1I, "b"; 5I, "c" ]
          ByAmount = Map.ofList [ -1.25m, -0.5; 3m, 1e21 ]
          ByShift = Map.ofList [ TimeSpan.FromHours -1.5, DateTimeOffset(2026, 1, 2, 3, 4, 5, TimeSpan.FromHours -3.0) ]
          ByDay = Map.ofList [ DateOnly(2026, 1, 2), TimeOnly(3, 4, 5) ] }

    same
        "its keys"
        ledger
        (serializer<Ledger>().Deserialize(ReadOnlyMemory<byte>(serializer<Ledger>().Serialize ledger)))

type Floats =
    { Double: float option
      Single: float32 option
      Half: Half option
      ValueDouble: float voption
      ValueSingle: float32 voption
      ValueHalf: Half voption }

/// In an option System.Text.Json forgets that NaN and the infinities may be written.
let private floats () =
    let serializer = serializer<Floats>()

    for d, s, h in
        [ Double.NaN, Single.NaN, Half.NaN
          Double.PositiveInfinity, Single.PositiveInfinity, Half.PositiveInfinity
          Double.NegativeInfinity, Single.NegativeInfinity, Half.NegativeInfinity
          Double.MaxValue, Single.MaxValue, Half.MaxValue ] do
        let floats =
            { Double = Some d
              Single = Some s
              Half = Some h
              ValueDouble = ValueSome d
              ValueSingle = ValueSome s
              ValueHalf = ValueSome h }

        let stored = serializer.Serialize floats
        let back = serializer.Deserialize(ReadOnlyMemory<byte> stored)
        // NaN is not equal to itself.
        same "floats in options" $"%A{floats}" $"%A{back}"
        same "their JSON" (Encoding.UTF8.GetString stored) (Encoding.UTF8.GetString(serializer.Serialize back))

/// What is written is looked at, whatever version is written before it.
let private versioned () =
    for version in [ 1; 2; 7 ] do
        let serializer =
            JsonSessionSerializer<Order>(SessionSerializer.contract<Order>(), version, Map.empty)
            :> ISessionSerializer<Order>

        same $"version {version}" order (serializer.Deserialize(ReadOnlyMemory<byte>(serializer.Serialize order)))
        refused serializer Unchecked.defaultof<_> [ "Examples.Order" ]
        refused serializer { order with Name = Unchecked.defaultof<_> } [ "name" ]
        refused serializer { order with Name = String('\ud83d', 1) } [ "Order.Name" ]

let all =
    [ "keys are the same under any culture", keyed
      "nulls that a type has not are refused by name at the write", nulls
      "data of any version is looked at when it is written", versioned
      "floats of each size come back in options, NaN among them", floats
      "collections without a setter are filled once", filled
      "a derived type that nobody knew of is refused at the write", derived
      "what docs/DATA.md shows comes back", shown
      "data as it was stored before is read", before
      "what version 0.1 lost is an error that names it", lostBefore
      "no bytes at all are what the serializer says", nothing
      "in Development a loss is named in the log", development ]
