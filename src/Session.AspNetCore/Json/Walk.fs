/// Looks through the JSON contract of a type, once, at start: for what would be lost, and for what could not be read back.
namespace Session.AspNetCore

open System
open System.Collections
open System.Collections.Concurrent
open System.Collections.Generic
open System.Collections.Immutable
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

    let reverses =
        [ typedefof<Stack<_>>
          typedefof<ConcurrentStack<_>>
          typedefof<ImmutableStack<_>>
          typedefof<IImmutableStack<_>> ]

    let isStack (t: Type) =
        TypeState.lineage t
        |> Seq.append [ t ]
        |> Seq.exists (fun t -> t.IsGenericType && List.contains (t.GetGenericTypeDefinition()) reverses)

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

    // ----------------------------------------------------------------------------- what is left out when it is null

    let checkCondition (info: JsonTypeInfo) empty (property: JsonPropertyInfo) =
        let canBeNull = not property.PropertyType.IsValueType || isNullable property.PropertyType
        let condition = condition property

        if
            (condition = JsonIgnoreCondition.WhenWritingDefault
             || condition = JsonIgnoreCondition.WhenWritingNull && canBeNull)
            && not (comesBackEmpty info empty property)
        then
            say
                (String.Concat(nameOf info.Type, ".", memberOf property))
                (String.Concat(
                    "it is left out of the JSON when it is ",
                    (if canBeNull then "null" else "its type's default"),
                    ", and does not come back so: it has another value then, or is required. Remove the JsonIgnoreCondition for it, or its own default."
                ))

    // ----------------------------------------------------------------------------------------------- types it may be

    let derivedFrom (declared: Type) : List<Type> =
        let found = List<Type>()

        if not declared.IsSealed && not (TypeState.isOfFramework declared) then
            let assemblies = HashSet<Assembly>([ declared.Assembly; root.Type.Assembly ])

            match Assembly.GetEntryAssembly() with
            | null -> ()
            | entry -> assemblies.Add entry |> ignore

            for assembly in assemblies do
                for candidate in TypeSearch.typesOf assembly do
                    if
                        candidate <> declared
                        && not candidate.IsAbstract
                        && not candidate.IsInterface
                        && not candidate.ContainsGenericParameters
                        && declared.IsAssignableFrom candidate
                    then
                        found.Add candidate

        found

    let checkDerived (info: JsonTypeInfo) =
        let declared = info.Type

        let known: JsonDerivedType seq =
            match info.PolymorphismOptions with
            | null -> Seq.empty
            | polymorphism -> polymorphism.DerivedTypes

        for it in known do
            if isNull it.TypeDiscriminator && it.DerivedType <> declared then
                say
                    (nameOf declared)
                    (String.Concat(
                        nameOf it.DerivedType,
                        " is written without a name, and would come back as another type: give it one, [JsonDerivedType(typeof(",
                        nameOf it.DerivedType,
                        "), \"a name\")]."
                    ))

        for candidate in derivedFrom declared do
            if not (known |> Seq.exists (fun it -> it.DerivedType = candidate)) then
                say
                    (nameOf declared)
                    (String.Concat(
                        "it may be a ",
                        nameOf candidate,
                        ", whose own members would not be stored: declare it, [JsonDerivedType(typeof("
                        + nameOf candidate,
                        "), \"a name\")], or seal the type."
                    ))

    // ------------------------------------------------------------------------------------------------- what is walked

    member private this.Members(where: string, info: JsonTypeInfo) =
        let t = info.Type
        let empty = fresh info
        let kept = List<FieldInfo>()

        for property in info.Properties do
            if isLeftOut property then
                ()
            elif isBarred t property then
                kept.AddRange(show t property)

                say
                    (String.Concat(nameOf t, ".", memberOf property))
                    "the source generator's code cannot come by what is private of it. Make it public (init is enough for a setter), or a parameter of the constructor, or leave the type to reflection."
            elif isWritten property && isRead property then
                kept.AddRange(show t property)
                checkCondition info empty property

                if losesInitializer t property then
                    say
                        (String.Concat(nameOf t, ".", memberOf property))
                        "data that does not have it would be read without its initializer: the source generator's code always sets an init property. Give it set in place of init, or make it required, or remove the initializer."

                if
                    property.ObjectCreationHandling = Nullable JsonObjectCreationHandling.Populate
                    && isNull property.Set
                    && (match empty, property.Get with
                        | null, _
                        | _, null -> false
                        | empty, get ->
                            match get.Invoke empty with
                            | :? IEnumerable as items -> items.GetEnumerator().MoveNext()
                            | _ -> false)
                then
                    say
                        (String.Concat(nameOf t, ".", memberOf property))
                        "what its constructor puts there would be there twice after each reading. Begin empty, or give it a setter (init is enough) and remove Populate."

                if isNull property.CustomConverter then
                    this.Visit(String.Concat(nameOf t, ".", memberOf property), property.PropertyType)
            elif not TypeState.isVisible && isWritten property && (filling property empty).IsSome then
                fillings[struct (t, property.Name)] <- (filling property empty).Value
                this.Visit(String.Concat(nameOf t, ".", memberOf property), property.PropertyType)

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
                        | Some filling ->
                            fillings[struct (t, property.Name)] <- filling
                            this.Visit(String.Concat(nameOf t, ".", memberOf property), property.PropertyType)
                        | None ->
                            say
                                (String.Concat(nameOf t, ".", memberOf property))
                                "it is stored, and nothing sets it when it is read back. Give it a setter (init is enough; a private one needs [JsonInclude]), or a constructor parameter of its name and type. [JsonIgnore]: it need not come back."
                    | None -> this.Lost(t, field)

    member private _.Lost(t: Type, field: FieldInfo) =
        let backed =
            if field.Name.StartsWith '<' && field.Name.Contains '>' then
                field.Name.Substring(1, field.Name.IndexOf '>' - 1)
            else
                field.Name.TrimEnd '@'

        let where = String.Concat(nameOf t, ".", backed)

        if field.IsPublic then
            say
                where
                "fields are not stored. Make it a property, or mark it [JsonInclude]. [JsonIgnore]: it need not come back."
        else
            say
                where
                "it is private, or has no public getter, and is not stored. Make it a public property, or mark it [JsonInclude], or store what it is made of. [JsonIgnore] (on the field): it need not come back."

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

    /// A collection has its elements, and nothing else. A class of the application that is one may hold more.
    member private _.Own(info: JsonTypeInfo) =
        let t = info.Type
        let mutable isBelow = true

        // Those of a class that is built on one of the framework's are in the framework's own fields.
        let holders =
            if
                TypeState.lineage t
                |> Seq.exists (fun it -> TypeState.isOfFramework it && typeof<IEnumerable>.IsAssignableFrom it)
            then
                []
            else
                [ for field in TypeState.fields t do
                      if TypeState.mayHold info.KeyType info.ElementType field.FieldType then
                          field ]

        let isItems (field: FieldInfo) =
            match holders with
            | [ one ] -> TypeState.isSame one field
            | _ -> false

        for it in TypeState.lineage t do
            isBelow <- isBelow && not (TypeState.isOfFramework it)

            if isBelow then
                for field in TypeState.declaredFields it do
                    if not (isItems field) && not (TypeState.isNoData field) then
                        let name =
                            if field.Name.StartsWith '<' then
                                field.Name.Substring(1, field.Name.IndexOf '>' - 1)
                            else
                                field.Name

                        say
                            (String.Concat(nameOf t, ".", name))
                            "the type is stored as its elements, and this with nobody saying so is not. Hold the collection in a property of its own, or write a [JsonConverter]. [JsonIgnore] (on the field): it need not come back."

    member private this.Collection(where: string, info: JsonTypeInfo, trial: string) =
        let t = info.Type

        if info.Converter.GetType().Name.StartsWith("IAsyncEnumerable", StringComparison.Ordinal) then
            say
                where
                (String.Concat(nameOf t, " cannot be stored: its elements come one after another, later. Use a List."))
        elif isStack t then
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
                    this.Own info

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
                checkDerived info
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
