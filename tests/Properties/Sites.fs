/// The shipped pipeline on one store, without a server.
module Properties.Sites

open System
open System.Collections.Generic
open System.Text.Json.Nodes
open System.Threading
open System.Threading.Tasks
open Expecto
open Microsoft.AspNetCore.Http
open Microsoft.Extensions.DependencyInjection
open Microsoft.Extensions.Hosting
open Microsoft.Extensions.Time.Testing
open Microsoft.FSharp.Reflection
open Session.Domain
open Session.Engine
open Session.AspNetCore
open Properties.Histories

let private none = CancellationToken.None

[<CLIMutable>]
type Basket = { Items: string list }

let basket = { Items = [ "a" ] }

/// The shipped pipeline on one store, with these settings.
type Site(change: SessionSettings -> SessionSettings, store: ISessionStore, ?isVirtual: bool) =
    let clock = FakeTimeProvider t0
    let services = ServiceCollection()

    // Waits are by the same clock then.
    do
        if defaultArg isVirtual false then
            services.AddSingleton(Surroundings(clock, Random 1)) |> ignore

    do services.AddSingleton<TimeProvider> clock |> ignore
    do services.AddSession<Basket>(change).UseStore(fun _ -> store) |> ignore
    let provider = services.BuildServiceProvider()
    let service = provider.GetRequiredService<SessionService<Basket>>()
    do service.IsMounted <- true

    new(change) = Site(change, MemoryStore())
    member _.Clock = clock
    member _.Engine = service.Engine
    member _.Provider = provider

    /// The response to a request with this cookie, or with none.
    member _.Send
        (cookie: string option, headers: (string * string) list, work: HttpContext -> Task)
        : Task<Simulation.Http.Response> =
        task {
            let context, response = Simulation.Http.contextOf provider (Option.toList cookie) none

            for name, value in headers do
                context.Request.Headers[name] <- Microsoft.Extensions.Primitives.StringValues value

            do! SessionMiddleware<Basket>(RequestDelegate work, service).Invoke context

            if not response.HasStarted then
                do! response.Start()

            return response
        }

    member site.Send(cookie, work) = site.Send(cookie, [], work)

    /// The Set-Cookie header of a session that begins with a sign-in, and the cookie to come back with.
    member site.SignIn(?subject: string) : Task<string * string> =
        task {
            let! response =
                site.Send(
                    None,
                    fun context ->
                        task {
                            let! answer = Session.signIn (defaultArg subject "ada") basket context
                            Engines.ok answer |> ignore
                        }
                )

            let header = string response.Headers.SetCookie
            return header, header.Split(';')[0]
        }

    /// Whether the session of this cookie is live for a request, and what the response hands out.
    member site.Look(cookie: string) : Task<bool * string> =
        task {
            let mutable found = false

            let! response =
                site.Send(
                    Some cookie,
                    fun context ->
                        task {
                            let! data = Session.tryGet<Basket> context
                            found <- data.IsSome
                        }
                )

            return found, string response.Headers.SetCookie
        }
