/// Looks through the JSON contract of a type, once, at start: for what would be lost, and for what could not be read back.
namespace Session.AspNetCore

open System
open System.Collections.Generic
open System.Reflection
open System.Text.Json
open System.Text.Json.Serialization
open System.Text.Json.Serialization.Metadata
open Session.AspNetCore.Shapes
open Session.AspNetCore.ContractMember

[<Sealed>]
type internal ContractWalk(root: JsonTypeInfo) =
    let options = root.Options
    let visited = HashSet<Type>()
    let asked = HashSet<Type>()
    let sentences = List<string>()
    let fillings = Dictionary<struct (Type * string), Filling>()

    let say (where: string) (what: string) =
        let sentence = String.Concat(where, ": ", what)

        if not (sentences.Contains sentence) then
            sentences.Add sentence

    let ours = typeof<IHasParts>.Assembly
    let builtIn = typeof<JsonSerializer>.Assembly

    let isTrusted (converter: JsonConverter) =
        let by = converter.GetType().Assembly
        by <> builtIn && by <> ours

    /// Begins to read, which shows whether that can be done at all. None: it can.
    let attempt (info: JsonTypeInfo) (json: string) : exn option =
        try
            JsonSerializer.Deserialize(json, info) |> ignore
            None
        with
        | :? JsonException -> None
        | error -> Some error

    /// What the constructor without parameters makes, if there is one.
    let fresh (info: JsonTypeInfo) : objnull =
        match info.CreateObject with
        | null -> null
        | create ->
            try
                create.Invoke()
            with _ ->
                // Said by the attempt to read.
                null

    let unreadable (t: Type) =
        String.Concat(
            nameOf t,
            " cannot be read back: keep what it is made of instead, or mark the member with a [JsonConverter]. [JsonIgnore]: it need not come back."
        )

    member private this.Members(where: string, info: JsonTypeInfo) =
        let t = info.Type
        let empty = fresh info
        let kept = List<FieldInfo>()
        let visit (property: JsonPropertyInfo) : unit = this.Visit(Losses.placeOf t property, property.PropertyType)

        let fill (property: JsonPropertyInfo) (filling: Filling) : unit =
            fillings[struct (t, property.Name)] <- filling
            visit property

        for property in info.Properties do
            if isLeftOut property then
                ()
            elif isBarred t property then
                kept.AddRange(show t property)
                Losses.ofBarred say t property
            elif isWritten property && isRead property then
                kept.AddRange(show t property)
                Losses.ofKept say info empty property

                if isNull property.CustomConverter then
                    visit property
            elif not TypeState.isVisible && isWritten property then
                filling property empty |> Option.iter (fill property)

        kept.AddRange(TypeState.leftOut t)

        for field in TypeState.fields t do
            let isIn (fields: List<FieldInfo>) = fields.Exists(fun other -> TypeState.isSame field other)

            if not (isIn kept) && not (TypeState.isNoData field) then
                if TypeState.isOfFramework t then
                    say where (unreadable t)
                else
                    let shown =
                        info.Properties
                        |> Seq.tryFind (fun property ->
                            isNull property.Set && isWritten property && isIn (show t property))

                    match shown with
                    | Some property ->
                        match filling property empty with
                        | Some filling -> fill property filling
                        | None -> Losses.ofUnset say t property
                    | None -> Losses.ofField say t field

    member private this.Object(where: string, info: JsonTypeInfo) =
        let t = info.Type
        let isOpen = t.IsAbstract || t.IsInterface

        if isOpen && isNull info.PolymorphismOptions then
            say
                where
                (String.Concat(
                    nameOf t,
                    " is abstract: nobody knows what to make of it when it is read back. Name the types that it may be with [JsonDerivedType(typeof(…), \"a name\")] on it, or use one type."
                ))
        else
            let attempted = if isOpen then None else attempt info "{"

            match attempted with
            | Some _ when TypeState.isOfFramework t -> say where (unreadable t)
            | Some(:? NotSupportedException | :? InvalidOperationException) ->
                say
                    where
                    (String.Concat(
                        nameOf t,
                        " cannot be made when it is read back: it needs one public constructor, without parameters, or with a parameter for each of its properties, of the same name and type. Mark the one to take with [JsonConstructor]."
                    ))
            | Some error ->
                say
                    where
                    (String.Concat(
                        nameOf t,
                        " cannot be made when it is read back: its constructor threw ",
                        error.GetType().Name,
                        ": " + error.Message
                    ))
            | None -> this.Members(where, info)

            match info.PolymorphismOptions with
            | null -> ()
            | polymorphism ->
                for it in polymorphism.DerivedTypes do
                    this.Look(nameOf it.DerivedType, it.DerivedType)

    member private this.Collection(where: string, info: JsonTypeInfo, trial: string) =
        let t = info.Type

        if info.Converter.GetType().Name.StartsWith("IAsyncEnumerable", StringComparison.Ordinal) then
            say
                where
                (String.Concat(nameOf t, " cannot be stored: its elements come one after another, later. Use a List."))
        elif Losses.isStack t then
            say where (String.Concat(nameOf t, " comes back in reverse order. Use a List, or a Queue."))
        elif info.KeyType = typeof<string> && not (isNull options.DictionaryKeyPolicy) then
            say where "DictionaryKeyPolicy changes the keys, and they come back changed. Remove it."
        else
            match attempt info trial with
            | Some(:? NotSupportedException) when not (isNull info.KeyType) && (attempt info "{}").IsNone ->
                say
                    where
                    (String.Concat(
                        nameOf (Unchecked.nonNull info.KeyType),
                        " cannot be a key in JSON. Keys are text, numbers, Guid, dates, enums, or (F#) unions."
                    ))
            | Some error ->
                say
                    where
                    (String.Concat(
                        nameOf t,
                        " cannot be read back (" + error.Message,
                        ") Use List, Dictionary, HashSet, an array, or their interfaces."
                    ))
            | None ->
                if not (TypeState.isOfFramework t) && not t.IsArray then
                    Losses.ofCollection say info

                match info.KeyType with
                | null -> ()
                | key -> this.Visit(where + " (its keys)", key)

                match info.ElementType with
                | null -> ()
                | element -> this.Visit(where + " (its elements)", element)

    /// A type that something is declared as: what is there may be of another one.
    member private this.Visit(where: string, declared: Type) =
        this.Look(where, declared)

        if asked.Add declared && not (TypeState.isOfFramework declared) then
            let info =
                try
                    Some(options.GetTypeInfo declared)
                with
                | :? NotSupportedException
                | :? InvalidOperationException -> None // said by the look

            match info with
            | Some info when
                info.Kind = JsonTypeInfoKind.Object
                && not (isTrusted info.Converter)
                && not ((declared.IsAbstract || declared.IsInterface) && isNull info.PolymorphismOptions)
                ->
                DerivedTypes.check root.Type say info
            | _ -> ()

    member private this.Look(where: string, declared: Type) =
        let t =
            match Nullable.GetUnderlyingType declared with
            | null -> declared
            | value -> value

        let info =
            try
                Ok(options.GetTypeInfo t)
            with
            | :? NotSupportedException as error -> Error(error: exn)
            | :? InvalidOperationException as error -> Error error

        match info with
        | Error error -> say where (String.Concat(nameOf t, " cannot be stored as JSON: ", error.Message))
        | Ok _ when t = typeof<obj> ->
            say
                where
                "an object comes back as a JsonElement, whatever it was. Say which type it is, or use JsonElement."
        // By a contract of the application's own, which has not our converter.
        | Ok info when t = typeof<JsonDocument> && info.Converter.GetType().Assembly = builtIn ->
            say
                where
                "a JsonDocument that is null comes back as a document that says null. Use JsonElement, or JsonNode."
        | Ok _ when
            declared = typeof<Nullable<JsonElement>>
            && (options.GetTypeInfo declared).Converter.GetType().Assembly = builtIn
            ->
            say where "a JsonElement? that says null comes back as none. Use JsonElement, or JsonNode."
        | Ok info when isTrusted info.Converter -> ()
        | Ok info ->
            match box info.Converter with
            | :? IHasParts as parts ->
                if visited.Add t then
                    for struct (name, part) in parts.Parts do
                        this.Visit(name, part)
            | converter when converter.GetType().Name.StartsWith("FSharp", StringComparison.Ordinal) && isOption t ->
                this.Visit(where, t.GetGenericArguments()[0])
            | _ ->
                match info.Kind with
                | JsonTypeInfoKind.Object ->
                    if visited.Add t then
                        this.Object(where, info)
                | JsonTypeInfoKind.Enumerable ->
                    if visited.Add t then
                        this.Collection(where, info, "[]")
                | JsonTypeInfoKind.Dictionary ->
                    if visited.Add t then
                        this.Collection(where, info, "{\"x\":")
                | _ ->
                    match attempt info "0" with
                    | Some(:? NotSupportedException) ->
                        say
                            where
                            (String.Concat(
                                nameOf t,
                                " cannot be stored as JSON. Keep what it is made of, or mark it [JsonIgnore]."
                            ))
                    | _ -> ()

    /// A sentence for each member that would be lost, and each type that could not be read back. Empty: all comes back.
    member this.Run() : List<string> =
        if mayBeWrittenAsNull root.Type then
            say
                (nameOf root.Type)
                "sessions hold a value: one that may be null cannot be told from none. Put it into a record."

        if not (isNull options.ReferenceHandler) && options.ReferenceHandler = ReferenceHandler.IgnoreCycles then
            say (nameOf root.Type) "ReferenceHandler.IgnoreCycles writes null for what refers back. Use Preserve."

        this.Visit(nameOf root.Type, root.Type)
        sentences

    /// Members that come back only if they are filled so.
    member _.Fillings: IReadOnlyDictionary<struct (Type * string), Filling> = fillings
