/// What the exploration and the seeded bugs say of an invariant, read from their own files.
module Docs.Evidence

let exploration (_: int) : string list = []
let mutants (_: int) : string list = []
