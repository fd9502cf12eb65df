namespace SessionWeb1

/// What is kept for a visitor.
type Cart = { Items: string list; Device: string option }

[<RequireQualifiedAccess>]
module Cart =
    let empty = { Items = []; Device = None }

    let add item (cart: Cart option) =
        let cart = defaultArg cart empty
        { cart with Items = cart.Items @ [ item ] }
