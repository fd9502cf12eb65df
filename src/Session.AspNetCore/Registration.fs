/// How an F# application adds sessions. (C# applications have the same words in Session.CSharp.)
namespace Session.AspNetCore

open System
open System.Diagnostics.CodeAnalysis
open System.Runtime.CompilerServices
open System.Threading.Tasks
open Microsoft.AspNetCore.Builder
open Microsoft.AspNetCore.Hosting
open Microsoft.AspNetCore.Mvc.ApiExplorer
open Microsoft.AspNetCore.OutputCaching
open Microsoft.AspNetCore.Routing
open Microsoft.AspNetCore.SignalR
open Microsoft.Extensions.DependencyInjection
open Microsoft.Extensions.DependencyInjection.Extensions
open Microsoft.Extensions.Hosting
open Microsoft.Extensions.Logging
open Microsoft.Extensions.Options
open Session.Engine

[<RequireQualifiedAccess>]
module SessionRegistration =
    /// F# has no way to ask for the type argument of a member: one that was forgotten is Object.
    let internal named<'T> (call: string) =
        if typeof<'T> = typeof<obj> then
            invalidOp (String.Concat("Say which sessions: ", call, "<Cart>(…), with the type of their data."))

    /// Adds sessions of 'T with settings and serializer made when they are first needed.
    let add<'T>
        (settings: Func<IServiceProvider, SessionSettings>)
        (serializer: Func<IServiceProvider, ISessionSerializer<'T>>)
        (services: IServiceCollection)
        : SessionBuilder =
        services.AddLogging() |> ignore
        services.TryAddSingleton<SessionNames>()

        // Around what others have put around the pipeline: who answers for a failure there does so before it.
        if services |> Seq.forall (fun it -> it.ImplementationType <> typeof<TokenKeeper>) then
            services.Insert(0, ServiceDescriptor.Singleton<IStartupFilter, TokenKeeper>())

        services.TryAddEnumerable(ServiceDescriptor.Singleton<MatcherPolicy, SessionMatcherPolicy>())
        services.TryAddEnumerable(ServiceDescriptor.Singleton<IApiDescriptionProvider, SessionApiDescriptions>())

        services.TryAddSingleton<SessionService<'T>>(fun provider ->
            let store =
                match provider.GetKeyedService<ISessionStore> typeof<'T> with
                | null ->
                    let log = provider.GetRequiredService<ILoggerFactory>().CreateLogger "Session"

                    EdgeLog.memoryByDefault log null typeof<'T>.Name
                    MemoryStore() :> ISessionStore
                | store -> store

            SessionService<'T>(settings.Invoke provider, serializer.Invoke provider, store, provider))

        services.TryAddEnumerable(
            ServiceDescriptor.Singleton<IPostConfigureOptions<OutputCacheOptions>, SessionOutputCaching<'T>>()
        )

        Antiforgery.bind<'T> services
        services.AddHostedService<SessionHost<'T>>() |> ignore
        SessionBuilder(services, typeof<'T>)

    /// Adds the middleware.
    let using<'T> (app: IApplicationBuilder) : IApplicationBuilder =
        let service = SessionServiceOf.services<'T> app.ApplicationServices
        // Now, and not with the first request: wrong settings stop the program here, and endpoints find it mounted.
        service.IsMounted <- true
        app.UseMiddleware<SessionMiddleware<'T>> service

/// What the calls for one kind of data say of it, one after another: a module's, the application's, a test's.
[<Sealed>]
type internal SessionSetup<'T> private () =
    // Newest first.
    let mutable changes: (IServiceProvider -> SessionSettings -> SessionSettings) list = []
    // What they come to so far, where none has to wait for services.
    let mutable now = ValueSome SessionSettings.defaults
    let mutable made: SessionSettings voption = ValueNone
    let turn = obj ()

    member val Serializer: ISessionSerializer<'T> option = None with get, set

    /// Once services are there.
    member _.Change(change: IServiceProvider -> SessionSettings -> SessionSettings) =
        now <- ValueNone
        changes <- change :: changes

    /// Now, where that can be: what the function reads (a key) need not stay as it is.
    member setup.ChangeNow(change: SessionSettings -> SessionSettings) =
        match now with
        | ValueSome before ->
            let settings = change before
            now <- ValueSome settings
            changes <- [ fun _ _ -> settings ]
        | ValueNone -> setup.Change(fun _ -> change)

    /// Once, whoever asks first.
    member _.Settings(provider: IServiceProvider) : SessionSettings =
        lock turn (fun () ->
            match made with
            | ValueSome settings -> settings
            | ValueNone ->
                let settings =
                    List.foldBack (fun change before -> change provider before) changes SessionSettings.defaults

                made <- ValueSome settings
                settings)

    static member Of(services: IServiceCollection) : SessionSetup<'T> =
        let known =
            services
            |> Seq.tryPick (fun it ->
                match (if it.IsKeyedService then null else it.ImplementationInstance) with
                | :? SessionSetup<'T> as setup -> Some setup
                | _ -> None)

        match known with
        | Some setup -> setup
        | None ->
            let setup = SessionSetup<'T>()
            services.AddSingleton setup |> ignore
            setup

// F# extension members: invisible to C#, which has its own of the same names.
[<AutoOpen>]
module SessionExtensions =
    [<UnconditionalSuppressMessage("Trimming", "IL2026", Justification = "Said by AddSession, which alone calls it.")>]
    [<UnconditionalSuppressMessage("AOT", "IL3050", Justification = "Said by AddSession, which alone calls it.")>]
    [<MethodImpl(MethodImplOptions.NoInlining)>]
    let private byReflection<'T> (settings: SessionSettings) = SessionSerializer.json<'T> settings

    let private check (settings: SessionSettings) (serializer: ISessionSerializer<'T> option) =
        if serializer.IsSome && (settings.DataVersion <> 1 || not settings.Upcasters.IsEmpty) then
            let sentence =
                "DataVersion and Upcasters work on JSON: leave them alone, and let your serializer tell versions apart."

            raise (OptionsValidationException(typeof<'T>.Name, typeof<SessionSettings>, [| sentence |]))

    let private register<'T>
        (change: SessionSetup<'T> -> unit)
        (serializer: ISessionSerializer<'T> option)
        (onEvent: (SessionEvent<'T> -> IServiceProvider -> Task) option)
        (services: IServiceCollection)
        =
        let setup = SessionSetup<'T>.Of services
        change setup

        match onEvent with
        | Some handle -> setup.Change(fun _ settings -> SessionEvents.tell handle settings)
        | None -> ()

        if serializer.IsSome then
            setup.Serializer <- serializer

        let settings provider =
            let settings = setup.Settings provider
            check settings setup.Serializer
            settings

        services
        |> SessionRegistration.add<'T>
            (Func<_, _>(settings))
            (Func<_, _>(fun provider ->
                match setup.Serializer with
                | Some serializer -> serializer
                | None -> byReflection<'T>(settings provider)))

    type IServiceCollection with

        /// Sessions with data 'T (JSON, unions included): `services.AddSession<Cart>(fun s -> { s with … }).UseSqlite "sessions.db"`.
        /// `serializer`: something else than JSON. `onEvent`: what hears of each event, once it is stored, with a scope of services
        /// of its own; for ends by time say HearsExpiry as well. A second call for the same data changes what the first one has made,
        /// and its handler hears of the events, too.
        [<RequiresUnreferencedCode("Serializes by reflection: call SessionRegistration.add with a serializer when trimming.")>]
        [<RequiresDynamicCode("Serializes by reflection: call SessionRegistration.add with a serializer for native AOT.")>]
        member services.AddSession<'T>
            (
                configure: SessionSettings -> SessionSettings,
                ?serializer: ISessionSerializer<'T>,
                ?onEvent: SessionEvent<'T> -> IServiceProvider -> Task
            ) : SessionBuilder =
            SessionRegistration.named<'T> "services.AddSession"

            register
                (fun setup -> setup.ChangeNow(configure >> SessionSettings.withOwnKeys))
                serializer
                onEvent
                services

        /// The same with settings made from services, when they are first needed; from configuration with
        /// `SessionConfiguration.apply`.
        [<RequiresUnreferencedCode("Serializes by reflection: call SessionRegistration.add with a serializer when trimming.")>]
        [<RequiresDynamicCode("Serializes by reflection: call SessionRegistration.add with a serializer for native AOT.")>]
        member services.AddSessionWith<'T>
            (
                configure: IServiceProvider -> SessionSettings -> SessionSettings,
                ?serializer: ISessionSerializer<'T>,
                ?onEvent: SessionEvent<'T> -> IServiceProvider -> Task
            ) : SessionBuilder =
            SessionRegistration.named<'T> "services.AddSessionWith"
            register (fun setup -> setup.Change configure) serializer onEvent services

    type ISignalRServerBuilder with

        /// Connections of hubs end together with the session that they were opened under, and no other session takes them up:
        /// `services.AddSignalR().AddSessionLifetime<Cart>()`.
        member builder.AddSessionLifetime<'T>() : ISignalRServerBuilder =
            SessionRegistration.named<'T> "AddSignalR().AddSessionLifetime"
            SessionHubs.add<'T> builder

    type IServerSideBlazorBuilder with

        /// Blazor circuits end together with the session that they were opened under:
        /// `services.AddRazorComponents().AddInteractiveServerComponents().AddSessionLifetime<Cart>()`.
        member builder.AddSessionLifetime<'T>() : IServerSideBlazorBuilder =
            SessionRegistration.named<'T> "AddInteractiveServerComponents().AddSessionLifetime"
            SessionCircuits.add<'T> builder

    type IApplicationBuilder with

        /// The session middleware: after UseRouting, before the endpoints.
        member app.UseSession<'T>() : IApplicationBuilder =
            SessionRegistration.named<'T> "app.UseSession"
            SessionRegistration.using<'T> app
