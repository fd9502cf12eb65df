/// What the programs of the tests have written down of their run.
module Audit.Json

open System.IO
open System.Text.Json

let read (file: string) =
    if File.Exists file then
        use document = JsonDocument.Parse(File.ReadAllText file)
        Some(document.RootElement.Clone())
    else
        None

let tryGet (name: string) (json: JsonElement) =
    match json.TryGetProperty name with
    | true, value -> Some value
    | _ -> None

let get (name: string) (json: JsonElement) = json.GetProperty name
let text name json = string ((get name json).GetString())
let number name json = (get name json).GetInt64()
let real name json = (get name json).GetDouble()
let isTrue name json = (get name json).GetBoolean()

let list name json =
    tryGet name json
    |> Option.map (fun all -> List.ofSeq (all.EnumerateArray()))
    |> Option.defaultValue []

let texts name json = list name json |> List.map (fun one -> string (one.GetString()))
let numbers name json = list name json |> List.map _.GetInt32()
let fields (json: JsonElement) = [ for one in json.EnumerateObject() -> one.Name, one.Value ]

/// A text that may be missing.
let tryText name json =
    tryGet name json |> Option.map (fun value -> string (value.GetString())) |> Option.defaultValue ""

/// A number that may be missing: 0 then.
let tryNumber name json = tryGet name json |> Option.map _.GetInt64() |> Option.defaultValue 0L
