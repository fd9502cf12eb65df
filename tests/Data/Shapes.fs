/// What is made up: types as source text, with values of them.
module Data.Shapes

/// A type that may stand in a member: its name, values of it, and whether anything in it cannot come back.
type Kind = { Name: string; Value: unit -> string; Lost: bool }

type Shape =
    {
        /// Of the class that has its values.
        Name: string
        Type: string
        Source: string
        /// What stands in it that cannot come back. Empty: it has to.
        Lossy: string list
    }
