/// Records as bytes: what is not exactly what was written under this id and version is nothing.
module Properties.Codecs

open System
open Expecto
open FsCheck.FSharp
open Session.Engine
open Session.Domain
open Properties.Histories

let private id, version = "F8PBtq23XT5kGSuG0XXJ3g", 7L
let private read (bytes: byte[]) = Codec.decode id version (ReadOnlyMemory bytes)

/// The states that histories lead to, one of each shape of bytes (kind, number of secrets, subject, ending), and some
/// that are as large or strange as a state can be.
let private states seed =
    let sample = Gen.sampleWithSeed (FsCheck.Rnd(uint64 seed, 1UL)) 25 1000 (Generators.Histories().Generator)

    let found =
        sample
        |> Seq.collect stepsOf
        |> Seq.map (fun step -> step.After)
        |> Seq.filter ((<>) Absent)
        |> Seq.distinct

    /// As many as a record remembers of one kind; the last of them have always been superseded.
    let old byRenewal =
        [ for n in 1 .. Lifecycle.remembered do
              { Secret = secret (if byRenewal then n else 100 + n)
                ByRenewal = byRenewal
                Reported = byRenewal && n % 2 = 0
                Until = if n < 7 then at n else DateTimeOffset.MinValue } ]

    let strange (live: Live) =
        [ { live with Data = Array.init 5000 byte }
          { live with Subject = Some "" }
          { live with Subject = Some(String('\u00e9', 512)) }
          { live with Subject = Some "a.b\u0000c\U0001F36F" }
          { live with Superseded = old true @ old false }
          { live with Superseded = old false }
          { live with
              CreatedAt = DateTimeOffset.MinValue
              LastSeen = DateTimeOffset.MaxValue
              Revision = Int64.MaxValue
              Elevations = Int32.MaxValue } ]

    let found = List.ofSeq found

    found
    @ (found |> List.choose Lifecycle.liveOf |> List.truncate 3 |> List.collect strange |> List.map Active)

/// CRC-32C, bit by bit.
let private checksum (bytes: byte[]) =
    let mutable sum = 0xFFFFFFFFu

    for b in bytes do
        sum <- sum ^^^ uint32 b

        for _ in 1..8 do
            sum <- if sum &&& 1u = 1u then (sum >>> 1) ^^^ 0x82F63B78u else sum >>> 1

    ~~~sum

let private shape state = (Codec.encode id version state).Length, stateName state

let all (seed: int) =
    let states = lazy states seed
    let shapes = lazy (states.Value |> List.distinctBy shape |> List.filter (fun state -> fst (shape state) < 2000))

    testList
        "codec"
        [ testCase "every state comes back as it was" (fun () ->
              for state in states.Value do
                  Expect.equal (read (Codec.encode id version state)) (Ok state) "round trip")

          testCase "an id of 1 and of 64 characters comes back" (fun () ->
              for id in [ "x"; String('-', 64) ] do
                  let bytes = Codec.encode id Int64.MaxValue states.Value.Head

                  Expect.equal
                      (Codec.decode id Int64.MaxValue (ReadOnlyMemory bytes))
                      (Ok states.Value.Head)
                      "round trip")

          testCase "16 one decoder: a record cut short anywhere is refused" (fun () ->
              for state in shapes.Value do
                  let bytes = Codec.encode id version state

                  for length in 0 .. bytes.Length - 1 do
                      Expect.isError (read bytes[.. length - 1]) $"the first {length} of {bytes.Length} bytes")

          testCase "16 one decoder: any single changed byte is refused" (fun () ->
              let random = Random seed

              for state in shapes.Value do
                  let bytes = Codec.encode id version state

                  for i in 0 .. bytes.Length - 1 do
                      for change in [ 1uy; 0x80uy; byte (random.Next(1, 256)) ] do
                          let changed = Array.copy bytes
                          changed[i] <- changed[i] ^^^ change
                          Expect.isError (read changed) $"byte {i} of {bytes.Length} changed by {change}")

          testCase "16 one decoder: the record of another session is refused" (fun () ->
              for state in shapes.Value do
                  let bytes = Codec.encode id version state

                  for other in [ "F8PBtq23XT5kGSuG0XXJ3G"; id + "x"; id.Substring 1; "x"; "" ] do
                      Expect.isError (Codec.decode other version (ReadOnlyMemory bytes)) other)

          testCase "16 one decoder: another version than the store says is refused" (fun () ->
              for state in shapes.Value do
                  let bytes = Codec.encode id version state

                  for other in [ version - 1L; version + 1L; 0L; -version; Int64.MaxValue ] do
                      Expect.isError (Codec.decode id other (ReadOnlyMemory bytes)) (string other))

          testCase "16 one decoder: an unknown format is refused, whatever follows" (fun () ->
              for state in shapes.Value do
                  let bytes = Codec.encode id version state

                  for format in [ 0uy .. 255uy ] do
                      // Format 1 is known, and its bytes are others: see Former.fs.
                      if format <> Codec.format && format <> 1uy then
                          bytes[0] <- format
                          Expect.equal (read bytes) (Error "unknown format") (string format))

          testCase "16 one decoder: anything behind the end is refused" (fun () ->
              for state in shapes.Value do
                  let bytes = Codec.encode id version state

                  for extra in [ [| 0uy |]; [| 1uy |]; Array.zeroCreate 4; bytes ] do
                      Expect.isError (read (Array.append bytes extra)) "trailing bytes"
                      // And under a checksum that says that they belong there.
                      let longer = Array.concat [ bytes[.. bytes.Length - 5]; extra; Array.zeroCreate 4 ]
                      let sum = checksum longer[.. longer.Length - 5]
                      Buffers.Binary.BinaryPrimitives.WriteUInt32LittleEndian(longer.AsSpan(longer.Length - 4), sum)
                      Expect.equal (read longer) (Error "malformed") "trailing bytes, and the checksum of all")

          testCase "16 one decoder: a state that no session can be in is refused" (fun () ->
              let live = shapes.Value |> List.pick Lifecycle.liveOf
              let old n = { Secret = secret n; ByRenewal = true; Reported = false; Until = t0 }

              for state in
                  [ Regenerated(live, Renewal.Issued([], t0))
                    Regenerated(live, Renewal.Issued(List.map secret [ 1 .. Lifecycle.waiting + 1 ], t0))
                    Active
                        { live with
                            Superseded = List.map old [ 1 .. 2 * Lifecycle.remembered + 1 ] } ] do
                  Expect.equal (read (Codec.encode id version state)) (Error "malformed") (stateName state))

          testCase "16 one decoder: of all bytes with a right checksum, only those that are written are read" (fun () ->
              for state in shapes.Value do
                  let bytes = Codec.encode id version state

                  let isOneEncoding (changed: byte[]) =
                      match read changed with
                      | Error _ -> true
                      | Ok found when changed[0] = Codec.format -> Codec.encode id version found = changed
                      | Ok found -> Codec.encodeFormer id version found = changed

                  let checked' (changed: byte[]) =
                      let sum = checksum changed[.. changed.Length - 5]
                      Buffers.Binary.BinaryPrimitives.WriteUInt32LittleEndian(changed.AsSpan(changed.Length - 4), sum)
                      changed

                  for i in 1 .. bytes.Length - 5 do
                      for value in [ 0uy; 1uy; 2uy; 4uy; 5uy; 9uy; 10uy; 64uy; 127uy; 128uy; 192uy; 255uy ] do
                          let changed = Array.copy bytes
                          changed[i] <- value
                          Expect.isTrue (isOneEncoding (checked' changed)) $"byte {i} of {stateName state} as {value}")

          testCase "16 one decoder: 20,000 pieces of garbage are refused, and none throws" (fun () ->
              let random = Random seed

              for i in 1..20_000 do
                  let bytes =
                      if i % 2 = 0 then
                          Array.zeroCreate<byte>(random.Next 400)
                      else
                          Codec.encode id version shapes.Value[random.Next shapes.Value.Length]

                  let start = if i % 2 = 0 then 0 else random.Next bytes.Length
                  let before = Array.copy bytes
                  random.NextBytes(Span<byte>(bytes, start, bytes.Length - start))

                  if bytes.Length > 0 then
                      bytes[0] <- Codec.format

                  if bytes <> before || i % 2 = 0 then
                      Expect.isError (read bytes) "garbage") ]
