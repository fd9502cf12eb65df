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
type private DataProtectionRecords(current: IDataProtector, former: IDataProtector list) =
    let tryWith (stored: byte[]) (protector: IDataProtector) : byte[] option =
        try
            Some(protector.Unprotect stored)
        with :? CryptographicException ->
            None

    interface IRecordProtector with
        member _.Protect record = current.Protect record

        member _.Unprotect(stored: byte[]) : byte[] | null =
            List.tryPick (tryWith stored) (current :: former) |> Option.toObj

/// Data at rest.
[<Extension; AbstractClass; Sealed>]
type SessionProtectionExtensions =

    static member private Protect(builder: SessionBuilder, name: string) : SessionBuilder =
        builder.Services.AddDataProtection() |> ignore

        builder.ProtectWith(fun provider ->
            let keys = provider.GetRequiredService<IDataProtectionProvider>()

            let under (name: string) = keys.CreateProtector [| String.Concat("Session.Record.", name); "1" |]

            let former =
                [ builder.DataType.ToString()
                  // Of a generic type it has the versions of assemblies in it, which change with the runtime.
                  match builder.DataType.FullName with
                  | null -> ()
                  | fullName -> fullName ]
                |> List.distinct
                |> List.filter (fun former -> former <> name)

            DataProtectionRecords(under name, List.map under former))

    /// Encrypts and authenticates every record with ASP.NET Core Data Protection: a stolen store reads nothing, and a
    /// changed, moved or foreign record opens nothing. All nodes need the same key ring (PersistKeysTo…) and the same
    /// application name. Records stored without it open nothing: sessions begin anew once. So they do when the type of
    /// the data is given another name or namespace: name the sessions where that may happen.
    [<Extension>]
    static member ProtectWithDataProtection(builder: SessionBuilder) : SessionBuilder =
        // Of one type of data, so that no record passes for one of another type.
        SessionProtectionExtensions.Protect(builder, builder.DataType.ToString())

    /// As without a name, and the type of the data may be renamed: its records are known by this name, which no other
    /// sessions of the application may have. Records that were protected without a name can still be read.
    [<Extension>]
    static member ProtectWithDataProtection(builder: SessionBuilder, name: string) : SessionBuilder =
        ArgumentException.ThrowIfNullOrEmpty name
        SessionProtectionExtensions.Protect(builder, name)
