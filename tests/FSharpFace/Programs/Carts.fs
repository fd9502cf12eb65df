/// What the programs of docs/FSHARP.md keep in a session.
[<AutoOpen>]
module FSharpFace.Programs.Carts

type Cart = { Items: string list }

let add sku cart =
    match cart with
    | Some cart -> { cart with Items = sku :: cart.Items }
    | None -> { Items = [ sku ] }
