/// Data at rest: whole records under the application's keys, or session data under keys that only its client has.
///
/// Sealed to the bearer, the data of a living session is
///   u8 format = 1 | u8 count, (8 label, 12 nonce, 32 wrapped data key, 16 tag)* | 12 nonce, 16 tag, ciphertext
/// AES-256-GCM throughout. The data key is the session's own, another one after each elevation. It is wrapped once for
/// each token that opens the session, under HKDF-SHA-256 of the token's secret; the label is the start of the secret's
/// hash. Associated data: of a wrap the session id, of the data every other byte of the record, id and version among them.
namespace Session.Engine

open System
open System.Security.Cryptography
open System.Text
open Session.Domain

/// The keys of a request to its session. A data key leaves this file wrapped, and in no other way.
[<Sealed>]
type BearerKeys private (dataKey: byte[] | null, nextKey: byte[] | null, tokens: struct (SecretHash * byte[]) list) =
    // Found when the record is opened.
    let mutable dataKey = dataKey
    let mutable offered: struct (SecretHash * byte[]) list = []

    /// Of a request that came with this token.
    static member Of(secret: SecretHash, tokenKey: byte[], former: struct (SecretHash * (byte[] | null)) list) =
        let known =
            former
            |> List.choose (fun (struct (secret, key)) ->
                match key with
                | null -> None
                | key -> Some(struct (secret, key)))

        BearerKeys(null, null, struct (secret, tokenKey) :: known)

    /// Of a new session.
    static member Create(secret: SecretHash, tokenKey: byte[]) =
        BearerKeys(RandomNumberGenerator.GetBytes 32, null, [ struct (secret, tokenKey) ])

    /// Also the key of a token that is about to be issued, in the place of one offered before.
    member _.Offer(secret: SecretHash, tokenKey: byte[]) = offered <- [ struct (secret, tokenKey) ]

    /// Reads with the old data key and writes with a new one: what a superseded token could unwrap is worth nothing.
    member _.Elevate(secret: SecretHash, tokenKey: byte[]) =
        BearerKeys(dataKey, RandomNumberGenerator.GetBytes 32, [ struct (secret, tokenKey) ])

    /// After the elevation is stored.
    member keys.Settled = if isNull nextKey then keys else BearerKeys(nextKey, null, tokens)

    member internal _.DataKey
        with get () = dataKey
        and set value = dataKey <- value

    member internal _.WritingKey = if isNull nextKey then dataKey else nextKey
    member internal _.KeepsWraps = isNull nextKey
    member internal _.Tokens = offered @ tokens

[<RequireQualifiedAccess>]
module internal Bearer =
    let private format, nonceBytes, tagBytes, keyBytes = 1uy, 12, 16, 32
    let private wrapBytes = nonceBytes + keyBytes + tagBytes

    let private encrypt (key: byte[]) (plain: byte[]) (bound: byte[]) : byte[] =
        let bytes = Array.zeroCreate<byte>(nonceBytes + tagBytes + plain.Length)
        let nonce = Span<byte>(bytes, 0, nonceBytes)
        RandomNumberGenerator.Fill nonce
        use aes = new AesGcm(key, tagBytes)

        aes.Encrypt(
            Span<byte>.op_Implicit nonce,
            ReadOnlySpan<byte> plain,
            Span<byte>(bytes).Slice(nonceBytes + tagBytes),
            Span<byte>(bytes, nonceBytes, tagBytes),
            ReadOnlySpan<byte> bound
        )

        bytes

    let private decrypt (key: byte[]) (bytes: ReadOnlySpan<byte>) (bound: byte[]) : byte[] | null =
        if bytes.Length < nonceBytes + tagBytes then
            null
        else
            let plain = Array.zeroCreate<byte>(bytes.Length - nonceBytes - tagBytes)
            use aes = new AesGcm(key, tagBytes)

            try
                aes.Decrypt(
                    bytes.Slice(0, nonceBytes),
                    bytes.Slice(nonceBytes + tagBytes),
                    bytes.Slice(nonceBytes, tagBytes),
                    Span<byte> plain,
                    ReadOnlySpan<byte> bound
                )

                plain
            with :? AuthenticationTagMismatchException ->
                null

    /// The secrets that open this state: the data key is wrapped for these, and for no other.
    let private opening state =
        match state with
        | Created live
        | Active live -> [ live.Secret ]
        | Regenerated(live, Issued(secrets, _)) -> live.Secret :: secrets
        | Regenerated(live, Confirmed(predecessor, _)) -> [ live.Secret; predecessor ]
        | Absent
        | Destroyed _
        | Expired _ -> []

    let withData data state =
        match state with
        | Absent -> Absent
        | Created live -> Created { live with Data = data }
        | Active live -> Active { live with Data = data }
        | Regenerated(live, renewal) -> Regenerated({ live with Data = data }, renewal)
        | Destroyed(live, reason, at) -> Destroyed({ live with Data = data }, reason, at)
        | Expired(live, kind, at, told) -> Expired({ live with Data = data }, kind, at, told)

    let private head (wraps: KeyWrap list) =
        [| yield format
           yield byte wraps.Length
           for wrap in wraps do
               yield! BitConverter.GetBytes wrap.Label
               yield! wrap.Bytes |]

    let private bound encode id version state head : byte[] = encode id version (withData head state)

    /// The wraps in the data of a living session, and the sealed rest. None: this is not sealed data.
    let private split (data: byte[]) =
        if data.Length < 2 || data[0] <> format || data.Length < 2 + int data[1] * (8 + wrapBytes) then
            None
        else
            let wraps =
                [ for i in 0 .. int data[1] - 1 do
                      let start = 2 + i * (8 + wrapBytes)

                      { Label = BitConverter.ToInt64(data, start)
                        Bytes = data[start + 8 .. start + 7 + wrapBytes] } ]

            Some(wraps, 2 + wraps.Length * (8 + wrapBytes))

    let private unwrap (id: string) (keys: BearerKeys) (wraps: KeyWrap list) =
        let bound = Encoding.ASCII.GetBytes id

        [ for struct (secret, tokenKey) in keys.Tokens do
              for wrap in wraps do
                  if wrap.Label = secret.W0 then
                      match decrypt tokenKey (ReadOnlySpan<byte> wrap.Bytes) bound with
                      | null -> ()
                      | key -> key ]
        |> List.tryHead
        |> Option.toObj

    /// The living state with its data in the clear, as far as the keys open it, and its wraps.
    let openState (id: string) (version: int64) (keys: BearerKeys | null) (data: byte[]) (state: State) =
        match split data with
        | None -> struct (withData [||] state, [], false)
        | Some(wraps, start) ->
            let key: byte[] | null =
                match keys with
                | null -> null
                | keys ->
                    if isNull keys.DataKey then
                        keys.DataKey <- unwrap id keys wraps

                    keys.DataKey

            let plain: byte[] | null =
                match key with
                | null -> null
                | key ->
                    let opened encode =
                        decrypt
                            key
                            (ReadOnlySpan<byte>(data, start, data.Length - start))
                            (bound encode id version state data[.. start - 1])

                    match opened Codec.encode with
                    | null -> opened Codec.encodeFormer
                    | plain -> plain

            match plain with
            | null -> struct (withData [||] state, wraps, false)
            | plain -> struct (withData plain state, wraps, true)

    /// The living state with its data sealed, and the wraps: those that are still needed, and new ones.
    let sealState (id: string) (version: int64) (keys: BearerKeys) (wraps: KeyWrap list) (data: byte[]) (state: State) =
        let key =
            match keys.WritingKey with
            | null -> invalidOp "A sealed session is written only by who has opened it."
            | key -> key

        let wrapFor (secret: SecretHash) =
            let made =
                keys.Tokens
                |> List.tryPick (fun (struct (known, tokenKey)) -> if known.Equals secret then Some tokenKey else None)

            match List.tryFind (fun wrap -> wrap.Label = secret.W0) wraps, made with
            | Some wrap, _ when keys.KeepsWraps -> wrap
            | _, Some tokenKey ->
                { Label = secret.W0
                  Bytes = encrypt tokenKey key (Encoding.ASCII.GetBytes id) }
            | _, None -> invalidOp "A token of a sealed session has no wrapped key."

        let wraps = opening state |> List.map wrapFor
        let head = head wraps
        let sealedData = encrypt key data (bound Codec.encode id version state head)
        struct (withData (Array.append head sealedData) state, wraps)
