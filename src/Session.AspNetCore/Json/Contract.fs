/// The contract that the data of sessions is stored by: refused at start if something would be lost by it.
[<RequireQualifiedAccess>]
module internal Session.AspNetCore.SessionContract

open System
open System.Collections
open System.Collections.Generic
open System.Text.Json
open System.Text.Json.Serialization
open System.Text.Json.Serialization.Metadata
open Microsoft.Extensions.Options
open Session.AspNetCore.Shapes

let private refill (property: JsonPropertyInfo) (get: Func<obj, objnull>) =
    Action<obj, objnull>(fun owner read ->
        match get.Invoke owner, read with
        | (:? IDictionary as items), (:? IDictionary as read) ->
            items.Clear()
            let each = read.GetEnumerator()

            while each.MoveNext() do
                items.Add(each.Key, each.Value)
        | (:? IList as items), (:? IEnumerable as read) ->
            items.Clear()

            for item in read do
                items.Add item |> ignore
        | null, null -> ()
        | _ -> raise (JsonException(String.Concat("Nothing fills ", property.Name, "."))))

let private fill (fillings: IReadOnlyDictionary<struct (Type * string), Filling>) =
    Action<JsonTypeInfo>(fun info ->
        if info.Kind = JsonTypeInfoKind.Object then
            for property in info.Properties do
                match fillings.TryGetValue(struct (info.Type, property.Name)), property.Get with
                | (true, Refill), get when not (isNull get) -> property.Set <- refill property (Unchecked.nonNull get)
                | (true, Populate), _ ->
                    property.ObjectCreationHandling <- Nullable JsonObjectCreationHandling.Populate
                | _ -> ())

let private refuse<'T> (sentences: seq<string>) : unit =
    raise (OptionsValidationException(nameOf typeof<'T>, typeof<SessionSettings>, sentences))

/// The same contract, with what has to be filled. What cannot be kept stops the program here.
let check<'T> (info: JsonTypeInfo<'T>) : JsonTypeInfo<'T> =
    let walk = ContractWalk info
    let sentences = walk.Run()

    if sentences.Count > 0 then
        refuse<'T> sentences

    if walk.Fillings.Count = 0 then
        info
    else
        let options = JsonSerializerOptions info.Options

        options.TypeInfoResolver <-
            match info.Options.TypeInfoResolver with
            | null -> null
            | resolver -> resolver.WithAddedModifier(fill walk.Fillings)

        match options.GetTypeInfo typeof<'T> with
        | :? JsonTypeInfo<'T> as filled ->
            let again = ContractWalk(filled).Run()

            if again.Count > 0 then
                refuse<'T> again

            filled
        | _ -> invalidOp (String.Concat("There is no JSON contract for ", nameOf typeof<'T>, "."))
