namespace Session.Engine

open System
open System.Buffers
open System.Buffers.Binary
open System.Buffers.Text
open System.Runtime.InteropServices
open System.Security.Cryptography
open System.Text
open Session.Domain

/// 32 bytes in the frame of a call: a secret or a digest on its way, and nothing for the heap to keep.
[<Struct; NoEquality; NoComparison>]
type private Block =
    val mutable private W0: int64
    val mutable private W1: int64
    val mutable private W2: int64
    val mutable private W3: int64

/// SHA-256 with one hash object a thread: OpenSSL takes twice as long where it has to make one for each hash.
[<AbstractClass; Sealed>]
type private Sha256 =
    [<ThreadStatic; DefaultValue>]
    static val mutable private kept: IncrementalHash | null

    static member Hash(secret: ReadOnlySpan<byte>, digest: Span<byte>) =
        let hash =
            match Sha256.kept with
            | null -> IncrementalHash.CreateHash HashAlgorithmName.SHA256
            | hash -> hash

        // Kept again only once it is done: one that threw could hold half of a secret.
        Sha256.kept <- null
        hash.AppendData secret
        hash.GetHashAndReset digest |> ignore
        Sha256.kept <- hash

/// Hashes secrets: SHA-256, or HMAC-SHA-256 of session id and secret under the application's server key, so that whoever
/// can write to the store, but does not have the key, can neither mint a session nor open one with another's hash
/// (ASVS 6.5.2, 11.4).
[<Sealed>]
type SecretHasher(serverKeys: ServerKeys | null, derivesKeys: bool) =
    // No other use of the key hashes what begins so: HKDF hashes a bare secret, and what it makes of it is a key.
    static let domain = "session secret 1 "B

    let current: byte[] | null =
        match serverKeys with
        | null -> null
        | keys -> keys.Current

    new(serverKeys: ServerKeys | null) = SecretHasher(serverKeys, false)

    static member private HashUnder(key: byte[] | null, id: string, secret: ReadOnlySpan<byte>) : SecretHash =
        let mutable block = Unchecked.defaultof<Block>
        let digest = MemoryMarshal.AsBytes(MemoryMarshal.CreateSpan(&block, 1))

        match key with
        | null -> Sha256.Hash(secret, digest)
        | key ->
            // The secret has one length only, so no two pairs of id and secret make the same message.
            let message = Array.zeroCreate<byte>(domain.Length + id.Length + secret.Length)
            domain.CopyTo(message, 0)
            Encoding.ASCII.GetBytes(id, 0, id.Length, message, domain.Length) |> ignore
            secret.CopyTo(Span<byte>(message, domain.Length + id.Length, secret.Length))
            HMACSHA256.HashData(ReadOnlySpan<byte> key, ReadOnlySpan<byte> message, digest) |> ignore

        { W0 = BinaryPrimitives.ReadInt64BigEndian(digest.Slice 0)
          W1 = BinaryPrimitives.ReadInt64BigEndian(digest.Slice 8)
          W2 = BinaryPrimitives.ReadInt64BigEndian(digest.Slice 16)
          W3 = BinaryPrimitives.ReadInt64BigEndian(digest.Slice 24) }

    static member private KeyUnder(serverKey: byte[] | null, id: string, secret: ReadOnlySpan<byte>) : byte[] =
        let info = Encoding.ASCII.GetBytes(String.Concat("session sealed to bearer 1 ", id))
        let key = Array.zeroCreate<byte> 32

        let salt =
            match serverKey with
            | null -> ReadOnlySpan<byte>.Empty
            | serverKey -> ReadOnlySpan<byte> serverKey

        HKDF.DeriveKey(HashAlgorithmName.SHA256, secret, Span<byte> key, salt, ReadOnlySpan<byte> info)
        key

    /// The key of a token that sessions sealed to their bearer wrap their data key under; null when none are sealed.
    member internal _.TokenKey(id: string, secret: ReadOnlySpan<byte>) : byte[] | null =
        if derivesKeys then SecretHasher.KeyUnder(current, id, secret) else null

    /// The hash under which this secret opens the session of this id.
    member _.Hash(id: string, secret: ReadOnlySpan<byte>) : SecretHash = SecretHasher.HashUnder(current, id, secret)

    /// The same under each former key; empty, and no work, without any.
    member internal _.Former(id: string, secret: ReadOnlySpan<byte>) : struct (SecretHash * (byte[] | null)) list =
        match serverKeys with
        | null -> []
        | keys ->
            let mutable found: struct (SecretHash * (byte[] | null)) list = []

            for former in keys.Former do
                let key: byte[] | null = if derivesKeys then SecretHasher.KeyUnder(former, id, secret) else null

                found <- struct (SecretHasher.HashUnder(former, id, secret), key) :: found

            found

/// A token as a request brought it: well-formed, and nothing is known of it yet. The secret is hashed on arrival.
[<Struct; CustomEquality; NoComparison>]
type PresentedToken =
    {
        Id: string
        Hash: SecretHash
        /// What opens data that is sealed to the bearer, or null.
        Key: byte[] | null
        /// Hash and key under each former server key.
        Former: struct (SecretHash * (byte[] | null)) list
    }

    override _.Equals(_: obj) = false
    override _.GetHashCode() = 0
    override token.ToString() = String.Concat(token.Id, ".(hidden)")

/// A new secret on its way to the client. It has no text form but the one for the transport.
[<Sealed>]
type Secret internal (bytes: byte[]) =
    /// 256 random bits. A failing generator throws: there is no weaker source to fall back to.
    static member Mint() = Secret(RandomNumberGenerator.GetBytes 32)

    member _.HashWith(hasher: SecretHasher, id: string) = hasher.Hash(id, ReadOnlySpan<byte> bytes)
    member internal _.KeyWith(hasher: SecretHasher, id: string) = hasher.TokenKey(id, ReadOnlySpan<byte> bytes)

    /// The token `id.secret` for Set-Cookie or the token header, and for nothing else.
    member internal _.Reveal(id: string) = String.Concat(id, ".", Base64Url.EncodeToString(ReadOnlySpan<byte> bytes))

    override _.ToString() = "Secret(hidden)"

/// A secret together with the session that it opens, for the transport to hand over.
[<Sealed>]
type IssuedToken internal (id: string, secret: Secret) =
    member _.Id = id
    /// What the record knows of it.
    member _.HashWith(hasher: SecretHasher) = secret.HashWith(hasher, id)

    /// The text for the client. Never log or store it.
    member _.Reveal() = secret.Reveal id
    override _.ToString() = String.Concat(id, ".(hidden)")

[<RequireQualifiedAccess>]
module Token =
    let private alphabet =
        SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".AsSpan())

    // A last character with any of its two unused bits set is another spelling of the same secret: only one is valid.
    let private lastCharacters = SearchValues.Create("AEIMQUYcgkosw048".AsSpan())

    let private secretLength, maxIdLength = 43, 64

    let private isId (text: ReadOnlySpan<char>) =
        text.Length >= 1 && text.Length <= maxIdLength && not (text.ContainsAnyExcept alphabet)

    /// 128 random bits, 22 characters.
    let newId () = Base64Url.EncodeToString(ReadOnlySpan<byte>(RandomNumberGenerator.GetBytes 16))

    /// Whether an id of the application's own generator may become a session id: 1 to 64 of A-Z a-z 0-9 _ -
    let isValidId (id: string) = isId (id.AsSpan())

    /// `id.secret` with the exact alphabet and lengths. Anything else is no token: no decoding, no trimming, no
    /// second try, and no cost.
    let tryParse (hasher: SecretHasher) (text: ReadOnlySpan<char>) : PresentedToken voption =
        let dot = text.Length - secretLength - 1

        if dot < 1 || text[dot] <> '.' || not (isId (text.Slice(0, dot))) then
            ValueNone
        else
            let secret = text.Slice(dot + 1)

            if secret.ContainsAnyExcept alphabet || not (lastCharacters.Contains secret[secretLength - 1]) then
                ValueNone
            else
                let mutable block = Unchecked.defaultof<Block>
                let bytes = MemoryMarshal.AsBytes(MemoryMarshal.CreateSpan(&block, 1))
                let mutable written = 0

                if Base64Url.TryDecodeFromChars(secret, bytes, &written) && written = 32 then
                    let id = String(text.Slice(0, dot))

                    ValueSome
                        { Id = id
                          Hash = hasher.Hash(id, Span<byte>.op_Implicit bytes)
                          Key = hasher.TokenKey(id, Span<byte>.op_Implicit bytes)
                          Former = hasher.Former(id, Span<byte>.op_Implicit bytes) }
                else
                    ValueNone
