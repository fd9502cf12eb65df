module Board.Program

// Placeholder, to be replaced.
[<EntryPoint>]
let main _ = 0
