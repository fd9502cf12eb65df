/// The serializer as it is used: no bytes at all are told apart from no data, and in Development what is written is read
/// back and compared.
namespace Session.AspNetCore

open System
open Microsoft.Extensions.Logging

[<Sealed>]
type internal CheckedSerializer<'T>(inner: ISessionSerializer<'T>, comparesWrites: bool, log: ILogger) =
    // Stored in place of nothing. Data that begins so is written with it in front, too.
    static let nothing = "\000nothing\000"B

    let isMarked (bytes: ReadOnlySpan<byte>) = bytes.StartsWith(ReadOnlySpan<byte> nothing)

    let deserialize (bytes: ReadOnlyMemory<byte>) =
        inner.Deserialize(if isMarked bytes.Span then bytes.Slice nothing.Length else bytes)

    let refuse (sentence: string) = raise (UnwritableSessionDataException(sentence, null))

    let compare (value: 'T) (bytes: byte[]) =
        let back =
            try
                deserialize (ReadOnlyMemory<byte> bytes)
            with error ->
                raise (
                    UnwritableSessionDataException(
                        String.Concat(
                            "The data of a session could not be read back as ",
                            Shapes.nameOf typeof<'T>,
                            ", so it is not stored: " + error.Message
                        ),
                        error
                    )
                )

        match ReadBack.compare value back with
        | None -> ()
        | Some what -> EdgeLog.dataChanged log null what

    interface ISessionSerializer<'T> with
        member _.Serialize value =
            // An application's own serializer may write it, as the JSON would: nobody would get a session out of it again.
            if isNull (box value) && not (Shapes.isNullAValue typeof<'T>) then
                refuse (String.Concat("The data is null, which is no ", Shapes.nameOf typeof<'T>, "."))

            let bytes = inner.Serialize value

            // It may be of C#, or of F# that looks at no nulls.
            if isNull (box bytes) then
                refuse (String.Concat("The serializer of ", Shapes.nameOf typeof<'T>, " gave null in place of bytes."))

            let stored =
                if bytes.Length = 0 || isMarked (ReadOnlySpan<byte> bytes) then Array.append nothing bytes else bytes

            if comparesWrites then
                compare value stored

            stored

        member _.Deserialize bytes = deserialize bytes
