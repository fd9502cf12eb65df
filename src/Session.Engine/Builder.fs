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
type SessionBuilder private (services: IServiceCollection, dataType: Type, key: obj, place: string) =
    new(services: IServiceCollection, dataType: Type) = SessionBuilder(services, dataType, dataType, "session")

    /// Sessions that an application keeps beside those of `AddSession`, whose place is `session`.
    new(services: IServiceCollection, dataType: Type, place: string) =
        SessionBuilder(services, dataType, dataType, place)

    member _.Services = services
    /// The type of the session data: the key of everything that is registered for these sessions.
    member _.DataType = dataType
    /// The word that their place in a store is named after, where the application says nothing else: the table `sessions`, the
    /// prefix `session:`. It is `session` for `AddSession`, `ticket` for `AddServerSideTickets` and `httpsession` for
    /// `AddSessionCompatibility`, so that each of them can be in the same database.
    member _.Place = place

    /// Keeps these sessions in the store that the factory makes, once. A later call replaces an earlier one.
    member builder.UseStore(create: Func<IServiceProvider, ISessionStore>) =
        services.RemoveAllKeyed<ISessionStore> key |> ignore
        services.RemoveAllKeyed<Moving> key |> ignore

        services.AddKeyedSingleton<ISessionStore>(key, fun provider _ -> create.Invoke provider) |> ignore

        builder

    /// Moves the sessions of another store, the one that was used before, to the store that was just named:
    /// `.UseRedis("…").MigrateFrom(fun b -> b.UseSqlite "sessions.db")`. Each moves when it is written to; nobody is
    /// signed out. To be removed once AbsoluteTimeout has passed.
    member builder.MigrateFrom(source: Func<SessionBuilder, SessionBuilder>) =
        let storeOf (key: obj) =
            services
            |> Seq.tryFindBack (fun service ->
                service.IsKeyedService
                && service.ServiceType = typeof<ISessionStore>
                && key.Equals service.ServiceKey)
            |> Option.bind (fun service -> Option.ofObj service.KeyedImplementationFactory)

        let targetKey, sourceKey = obj (), obj ()

        match storeOf key with
        | None -> invalidOp "MigrateFrom comes after the store that the sessions move to: .UseRedis(…).MigrateFrom(…)."
        | Some _ when
            services
            |> Seq.exists (fun service ->
                service.IsKeyedService && service.ServiceType = typeof<Moving> && key.Equals service.ServiceKey)
            ->
            invalidOp "Sessions move from one store at a time: say MigrateFrom once."
        | Some create ->
            // Both as services of their own: the container disposes of them.
            services.AddKeyedSingleton<ISessionStore>(
                targetKey,
                fun provider key -> create.Invoke(provider, key) :?> ISessionStore
            )
            |> ignore

            source.Invoke(SessionBuilder(services, dataType, sourceKey, place)) |> ignore

            if (storeOf sourceKey).IsNone then
                invalidOp "MigrateFrom needs the store that the sessions were in: MigrateFrom(b => b.UseSqlite(…))."

            builder.UseStore(fun provider ->
                MigratingStore(
                    provider.GetRequiredKeyedService<ISessionStore> targetKey,
                    provider.GetRequiredKeyedService<ISessionStore> sourceKey
                ))
            |> ignore

            services.AddKeyedSingleton<Moving>(key, Moving()) |> ignore
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
