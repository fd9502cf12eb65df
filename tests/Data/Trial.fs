/// What becomes of a type and its values: they come back, or the type is refused at start. Nothing else is right.
module Data.Trial

open System
open System.IO
open System.Reflection
open System.Text.Json.Serialization.Metadata
open Microsoft.Extensions.Options
open Session.AspNetCore
open Data.Shapes

type Outcome =
    | CameBack
    | Refused of string list
    /// What nobody may see: changed, unreadable, or refused by a write.
    | Wrong of string

let rec private root (error: exn) =
    match error with
    | :? TargetInvocationException as outer ->
        match outer.InnerException with
        | null -> error
        | inner -> root inner
    | error -> error

/// Values that version 0.1 gave back, read from its JSON.
let mutable readFromEarlier = 0

let private tryEarlier<'T> (serializer: ISessionSerializer<'T>) (value: obj) isSame show : string option =
    match Earlier.write typeof<'T> value with
    | None -> None
    | Some bytes ->
        match Earlier.read typeof<'T> bytes with
        | Some before when isSame value before ->
            readFromEarlier <- readFromEarlier + 1
            let back = box (serializer.Deserialize(ReadOnlyMemory<byte> bytes))

            if not (isNull back) && isSame value (nonNull back) then
                None
            else
                Some
                    $"{show value}\nas version 0.1 stored it, {Text.Encoding.UTF8.GetString bytes}\ncame back as {back}"
        | _ -> None

let private tryTyped<'T>
    (readsEarlier: bool)
    (contract: unit -> JsonTypeInfo<'T>)
    (values: obj array)
    (isSame: obj -> obj -> bool)
    (show: obj -> string)
    : Outcome =
    match
        (try
            Ok(JsonSessionSerializer<'T>(contract ()) :> ISessionSerializer<'T>)
         with :? OptionsValidationException as refused ->
             Error(List.ofSeq refused.Failures))
    with
    | Error sentences -> Refused sentences
    | Ok serializer ->
        let wrong =
            values
            |> Seq.tryPick (fun value ->
                try
                    let bytes = serializer.Serialize(unbox<'T> value)
                    let back = box (serializer.Deserialize(ReadOnlyMemory<byte> bytes))

                    if not (isNull back) && isSame value (nonNull back) then
                        if readsEarlier then tryEarlier serializer value isSame show else None
                    else
                        Some
                            $"{show value}\nas {Text.Encoding.UTF8.GetString bytes}\ncame back as {show (nonNull back)}"
                with error ->
                    Some $"{show value}\nthrew {error.GetType().Name}: {error.Message}")

        match wrong with
        | Some text -> Wrong text
        | None -> CameBack

type private Typed =
    static member ByReflection<'T>(readsEarlier, values, isSame, show) =
        tryTyped<'T> readsEarlier SessionSerializer.contract<'T> values isSame show

    static member ByContract<'T>(info: JsonTypeInfo, values, isSame, show) =
        tryTyped<'T> false (fun () -> info :?> JsonTypeInfo<'T>) values isSame show

let private invoke (name: string) (data: Type) (arguments: objnull array) : Outcome =
    let it =
        nonNull (typeof<Typed>.GetMethod(name, BindingFlags.Static ||| BindingFlags.NonPublic ||| BindingFlags.Public))

    try
        nonNull (it.MakeGenericMethod(data).Invoke(null, arguments)) :?> Outcome
    with error ->
        let error = root error
        Wrong $"{error.GetType().Name} at start: {error.Message}\n{error.StackTrace}"

/// Of struct tuples and private records version 0.1 stored nothing: where it gave them back, they were zeros by chance.
let mayBeEarlier (shape: Shape) = not ([ "struct ("; " B)"; "private {" ] |> List.exists shape.Source.Contains)

let byReflection (readsEarlier: bool) (data: Type) (values: obj array) isSame show =
    invoke "ByReflection" data [| readsEarlier; values; (isSame: obj -> obj -> bool); (show: obj -> string) |]

let byContract (info: JsonTypeInfo) (values: obj array) isSame show =
    invoke "ByContract" info.Type [| info; values; (isSame: obj -> obj -> bool); (show: obj -> string) |]

/// An outcome that is not the right one for this shape, as a text.
let judge (shape: Shape) (outcome: Outcome) : string option =
    match outcome, shape.Lossy with
    | CameBack, [] -> None
    | Refused _, _ :: _ -> None
    | CameBack, losses -> Some $"""{shape.Name} came back, with {String.Join(", ", losses)} in it"""
    | Refused sentences, [] ->
        Some $"""{shape.Name} was refused, and nothing is lost of it: {String.Join(" | ", sentences)}"""
    | Wrong what, losses -> Some $"""{shape.Name} ({String.Join(", ", losses)}): {what}"""

let folder = lazy (Directory.CreateTempSubdirectory("session-data-").FullName)

let clear () =
    if folder.IsValueCreated then
        try
            Directory.Delete(folder.Value, true)
        with :? IOException ->
            ()
