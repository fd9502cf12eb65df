/// Certificates of the tests' own authority, and a server that asks for them.
module Integration.RedisTls

open System
open System.IO
open System.Net
open System.Net.Security
open System.Security.Cryptography
open System.Security.Cryptography.X509Certificates
open StackExchange.Redis
open Integration.RedisServer

let private certificate (name: string) (issuer: X509Certificate2 | null) =
    use key = ECDsa.Create ECCurve.NamedCurves.nistP256
    let request = CertificateRequest("CN=" + name, key, HashAlgorithmName.SHA256)
    request.CertificateExtensions.Add(X509BasicConstraintsExtension(isNull issuer, false, 0, true))
    let names = SubjectAlternativeNameBuilder()
    names.AddIpAddress IPAddress.Loopback
    request.CertificateExtensions.Add(names.Build())
    // Its issuer's is the longer time: the clock has moved on meanwhile.
    let days = if isNull issuer then 31.0 else 30.0
    let from, until = DateTimeOffset.UtcNow.AddDays -1.0, DateTimeOffset.UtcNow.AddDays days

    match issuer with
    | null -> request.CreateSelfSigned(from, until)
    | issuer ->
        use signed = request.Create(issuer, from, until, Guid.NewGuid().ToByteArray())
        signed.CopyWithPrivateKey key

/// A server with TLS beside its ordinary port, for clients with a certificate of the same authority.
[<Sealed>]
type TlsServer(settings: (string * string) list) =
    let folder = Directory.CreateTempSubdirectory("session-tls-").FullName
    let authority = certificate "tests" null
    let own = certificate "redis" authority
    let client = certificate "client" authority
    let port = freePort ()
    let file name = Path.Combine(folder, name)

    do
        File.WriteAllText(file "ca.pem", authority.ExportCertificatePem())
        File.WriteAllText(file "server.pem", own.ExportCertificatePem())
        use key = nonNull (own.GetECDsaPrivateKey())
        File.WriteAllText(file "server.key", key.ExportPkcs8PrivateKeyPem())

    let server =
        startOne (
            [ "tls-port", string port
              "tls-cert-file", file "server.pem"
              "tls-key-file", file "server.key"
              "tls-ca-cert-file", file "ca.pem"
              "tls-auth-clients", "yes" ]
            @ settings
        )

    member _.Plain = server
    member _.Address = $"127.0.0.1:{port}"

    /// Mutual TLS: by callbacks, which no connection string can hold.
    member _.Settings() =
        let settings = ConfigurationOptions.Parse $"127.0.0.1:{port},ssl=true,connectTimeout=2000"

        settings.add_CertificateValidation (
            RemoteCertificateValidationCallback(fun _ shown _ _ ->
                use chain = new X509Chain()
                chain.ChainPolicy.TrustMode <- X509ChainTrustMode.CustomRootTrust
                chain.ChainPolicy.CustomTrustStore.Add authority |> ignore
                chain.ChainPolicy.RevocationMode <- X509RevocationMode.NoCheck

                match shown with
                | null -> false
                | shown -> chain.Build(X509CertificateLoader.LoadCertificate(shown.GetRawCertData())))
        )

        settings.add_CertificateSelection (LocalCertificateSelectionCallback(fun _ _ _ _ _ -> client))
        settings

    interface IDisposable with
        member _.Dispose() =
            (server :> IDisposable).Dispose()
            Directory.Delete(folder, true)
