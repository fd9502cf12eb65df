/// How an F# application adds sessions. (C# applications have the same words in Session.CSharp.)
namespace Session.AspNetCore

open System
open System.Diagnostics.CodeAnalysis
open System.Runtime.CompilerServices
open Microsoft.AspNetCore.Builder
open Microsoft.AspNetCore.Mvc.ApiExplorer
open Microsoft.AspNetCore.OutputCaching
open Microsoft.AspNetCore.Routing
open Microsoft.Extensions.DependencyInjection
open Microsoft.Extensions.DependencyInjection.Extensions
open Microsoft.Extensions.Hosting
open Microsoft.Extensions.Logging
open Microsoft.Extensions.Options
open Session.Engine

[<RequireQualifiedAccess>]
module SessionRegistration =
    /// Adds sessions of 'T with settings and serializer made when they are first needed.
    let add<'T>
        (settings: Func<IServiceProvider, SessionSettings>)
        (serializer: Func<IServiceProvider, ISessionSerializer<'T>>)
        (services: IServiceCollection)
        : SessionBuilder =
        services.AddLogging() |> ignore
        services.TryAddSingleton<SessionNames>()
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

        services.AddHostedService<SessionHost<'T>>() |> ignore
        SessionBuilder(services, typeof<'T>)

    /// Adds the middleware.
    let using<'T> (app: IApplicationBuilder) : IApplicationBuilder =
        match app.ApplicationServices.GetService<SessionService<'T>>() with
        | null ->
            invalidOp (
                String.Concat(
                    "No sessions of ",
                    typeof<'T>.Name,
                    " are registered: call services.AddSession<" + typeof<'T>.Name,
                    ">() first."
                )
            )
        | service ->
            // Now, and not with the first request: wrong settings stop the program here, and endpoints find it mounted.
            service.IsMounted <- true
            app.UseMiddleware<SessionMiddleware<'T>> service

// F# extension members: invisible to C#, which has its own of the same names.
[<AutoOpen>]
module SessionExtensions =
    [<UnconditionalSuppressMessage("Trimming", "IL2026", Justification = "Said by AddSession, which alone calls it.")>]
    [<UnconditionalSuppressMessage("AOT", "IL3050", Justification = "Said by AddSession, which alone calls it.")>]
    [<MethodImpl(MethodImplOptions.NoInlining)>]
    let private byReflection<'T> (settings: SessionSettings) = SessionSerializer.json<'T> settings

    type IServiceCollection with

        /// Sessions with data 'T (JSON, unions included): `services.AddSession<Cart>(fun s -> { s with … }).UseSqlite "sessions.db"`.
        [<RequiresUnreferencedCode("Serializes by reflection: call SessionRegistration.add with a serializer when trimming.")>]
        [<RequiresDynamicCode("Serializes by reflection: call SessionRegistration.add with a serializer for native AOT.")>]
        member services.AddSession<'T>(configure: SessionSettings -> SessionSettings) : SessionBuilder =
            let settings = configure SessionSettings.defaults

            services
            |> SessionRegistration.add<'T>
                (Func<_, _>(fun _ -> settings))
                (Func<_, _>(fun _ -> byReflection<'T> settings))

    type IApplicationBuilder with

        /// The session middleware: after UseRouting, before the endpoints.
        member app.UseSession<'T>() : IApplicationBuilder = SessionRegistration.using<'T> app
