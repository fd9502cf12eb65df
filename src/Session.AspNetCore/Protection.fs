/// Records under the application's Data Protection keys.
namespace Microsoft.Extensions.DependencyInjection

open System
open System.Runtime.CompilerServices
open System.Security.Cryptography
open Microsoft.AspNetCore.DataProtection
open Session.Engine

/// Whole records, ids and hashes included: who can write to the store can make none. The id and the version of a record
/// are inside, and compared with those it is found under.
[<Sealed>]
type private DataProtectionRecords(protector: IDataProtector) =
    interface IRecordProtector with
        member _.Protect record = protector.Protect record

        member _.Unprotect(stored: byte[]) : byte[] | null =
            try
                protector.Unprotect stored
            with :? CryptographicException ->
                null

/// Data at rest.
[<Extension; AbstractClass; Sealed>]
type SessionProtectionExtensions =

    /// Encrypts and authenticates every record with ASP.NET Core Data Protection: a stolen store reads nothing, and a
    /// changed, moved or foreign record opens nothing. All nodes need the same key ring (PersistKeysTo…) and the same
    /// application name. Records stored without it open nothing: sessions begin anew once.
    [<Extension>]
    static member ProtectWithDataProtection(builder: SessionBuilder) : SessionBuilder =
        builder.Services.AddDataProtection() |> ignore

        builder.ProtectWith(fun provider ->
            let keys = provider.GetRequiredService<IDataProtectionProvider>()
            // Of one type of data, so that no record passes for one of another type.
            let name = String.Concat("Session.Record.", builder.DataType.FullName)
            DataProtectionRecords(keys.CreateProtector [| name; "1" |]))
