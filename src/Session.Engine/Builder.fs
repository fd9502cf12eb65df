/// How an application chooses its store: the same words for C# and F#.
namespace Session.Engine

open System
open System.Threading.Tasks
open Microsoft.Extensions.DependencyInjection
open Microsoft.Extensions.DependencyInjection.Extensions

/// Registered for sessions whose data is sealed to their bearer.
[<Sealed>]
type BearerSealing() = class end

/// What `AddSession` returns: the sessions whose data is `DataType`, waiting for their store.
[<Sealed>]
type SessionBuilder(services: IServiceCollection, dataType: Type) =
    member _.Services = services
    /// The type of the session data: the key of everything that is registered for these sessions.
    member _.DataType = dataType

    /// Keeps these sessions in the store that the factory makes, once. A later call replaces an earlier one.
    member builder.UseStore(create: Func<IServiceProvider, ISessionStore>) =
        services.RemoveAllKeyed<ISessionStore> dataType |> ignore

        services.AddKeyedSingleton<ISessionStore>(dataType, fun provider _ -> create.Invoke provider)
        |> ignore

        builder

    /// Encrypts and authenticates whole records with what the factory makes, once.
    member builder.ProtectWith(create: Func<IServiceProvider, IRecordProtector>) =
        services.RemoveAllKeyed<IRecordProtector> dataType |> ignore

        services.AddKeyedSingleton<IRecordProtector>(dataType, fun provider _ -> create.Invoke provider)
        |> ignore

        builder

    /// Encrypts the session data under keys that only the session's client has: AES-256-GCM under a data key of the
    /// session, which is wrapped under a key derived from the secret of each token that opens it, and another one after
    /// each elevation. Nobody else reads the data: no stolen database, no administrator, no expiry event.
    /// Subject, times and ids stay readable: lists and limits need them.
    member builder.SealToBearer() =
        services.RemoveAllKeyed<BearerSealing> dataType |> ignore
        services.AddKeyedSingleton<BearerSealing>(dataType, BearerSealing()) |> ignore
        builder

    /// Keeps these sessions in a store of the application's own, made by dependency injection.
    member builder.UseStore<'Store when 'Store: not struct and 'Store :> ISessionStore>() =
        builder.UseStore(fun provider ->
            ActivatorUtilities.GetServiceOrCreateInstance<'Store> provider :> ISessionStore)

    /// Keeps these sessions in the memory of this process.
    member builder.UseMemory() = builder.UseMemory(ignore)

    /// Keeps these sessions in the memory of this process.
    member builder.UseMemory(configure: Action<MemoryStoreOptions>) =
        builder.UseStore(fun _ ->
            let options = MemoryStoreOptions()
            configure.Invoke options
            MemoryStore options)
