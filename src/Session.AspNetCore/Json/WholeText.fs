/// Half of a surrogate pair is no text: JSON has U+FFFD in its place, and there is no way back from that.
namespace Session.AspNetCore

#nowarn "9" // What an encoder is given is a pointer.

open System
open System.Text
open System.Text.Encodings.Web
open System.Text.Json
open System.Text.Json.Serialization.Metadata
open Microsoft.FSharp.NativeInterop

/// Each text that is written comes by here, whatever type it stands in.
[<Sealed>]
type private PairCounter() =
    inherit JavaScriptEncoder()

    let inner = JavaScriptEncoder.UnsafeRelaxedJsonEscaping
    let strict = UTF8Encoding(false, true)

    override _.MaxOutputCharactersPerInputCharacter = inner.MaxOutputCharactersPerInputCharacter
    override _.WillEncode scalar = inner.WillEncode scalar

    override _.FindFirstCharacterToEncode(text, length) =
        strict.GetByteCount(ReadOnlySpan<char>(NativePtr.toVoidPtr text, length)) |> ignore
        inner.FindFirstCharacterToEncode(text, length)

    override _.TryEncodeUnicodeScalar(scalar, buffer, length, written: byref<int>) =
        inner.TryEncodeUnicodeScalar(scalar, buffer, length, &written)

/// Looks for halves in what was written. Data without U+FFFD, which is nearly all, costs a search in its bytes.
[<Sealed>]
type internal WholeText<'T>(info: JsonTypeInfo<'T>) =
    static let escaped = "\\uFFFD"B
    static let plain = [| 0xEFuy; 0xBFuy; 0xBDuy |]

    // Not `lazy`: what F# makes of it is no code for trimming.
    let counting =
        Lazy<JsonTypeInfo>(fun () ->
            JsonSerializerOptions(info.Options, Encoder = PairCounter()).GetTypeInfo typeof<'T>)

    /// Whether there is half of a pair in a text of this value. U+FFFD itself is a character like any other.
    member _.IsBroken(value: 'T, json: byte[]) =
        let json = ReadOnlySpan<byte> json

        (json.IndexOf(ReadOnlySpan<byte> escaped) >= 0 || json.IndexOf(ReadOnlySpan<byte> plain) >= 0)
        && (try
                JsonSerializer.SerializeToUtf8Bytes(box value, counting.Value) |> ignore
                false
            with error when (error.GetBaseException() :? EncoderFallbackException) ->
                true)
