/// How an F# application makes its sessions an authentication scheme. (C# applications have the same words in Session.CSharp.)
namespace Session.AspNetCore

open System
open Microsoft.AspNetCore.Authentication
open Microsoft.Extensions.DependencyInjection

[<RequireQualifiedAccess>]
module SessionAuthentication =
    let private schemesOf (services: IServiceCollection) =
        let known =
            services
            |> Seq.tryPick (fun it ->
                match it.IsKeyedService, it.ServiceType = typeof<SessionSchemes> with
                | false, true ->
                    match it.ImplementationInstance with
                    | :? SessionSchemes as schemes -> Some schemes
                    | _ -> None
                | _ -> None)

        match known with
        | Some schemes -> schemes
        | None ->
            let schemes = SessionSchemes()
            services.AddSingleton<SessionSchemes> schemes |> ignore
            Evaluating.add services
            schemes

    let internal addWith<'T>
        (name: string)
        (displayName: string | null)
        (toException: SessionError -> exn)
        (settings: Func<IServiceProvider, SessionScheme<'T>>)
        (builder: AuthenticationBuilder)
        : AuthenticationBuilder =
        (schemesOf builder.Services).Add(typeof<'T>, name)

        builder.Services
            .AddOptions<SessionSchemeOptions<'T>>(name)
            .Configure<IServiceProvider>(fun options provider ->
                options.ToException <- toException
                options.Scheme <- settings.Invoke provider
                options.Scheme.Configure(options :> AuthenticationSchemeOptions))
            // A wrong setting stops the program, and not each request.
            .ValidateOnStart()
        |> ignore

        builder.AddScheme<SessionSchemeOptions<'T>, SessionAuthenticationHandler<'T>>(name, displayName, null)

    /// Adds the sessions of 'T as the scheme of this name.
    let add<'T> (scheme: SessionScheme<'T>) (builder: AuthenticationBuilder) : AuthenticationBuilder =
        addWith<'T> scheme.Name null SessionFailure.toException (Func<_, _>(fun _ -> scheme)) builder

// F# extension members: invisible to C#, which has its own of the same name.
[<AutoOpen>]
module SessionAuthenticationExtensions =
    type AuthenticationBuilder with

        /// The sessions of 'T as an authentication scheme: `services.AddAuthentication().AddSession<Cart>(fun s -> { s with LoginPath = Some "/login" })`.
        member builder.AddSession<'T>(configure: SessionScheme<'T> -> SessionScheme<'T>) : AuthenticationBuilder =
            SessionRegistration.named<'T> "AddAuthentication().AddSession"
            SessionAuthentication.add<'T> (configure SessionScheme.defaults<'T>) builder
