/// What the library awaits goes on on any thread, whatever context it is called in (Blazor's renderer has one). Else those who can
/// only wait for it, such as the framework's antiforgery and HttpContext.Session, would block the very context that it is to go on
/// in, for ever.
namespace Session.AspNetCore

open System.Threading

/// A context that is never blocked, for it carries out all there is: that of a simulation.
[<Interface>]
type internal ICarriesOutAll = interface end

[<RequireQualifiedAccess>]
module internal OffContext =
    /// The context of the caller, which is no longer current; null: there was none, as nearly always in ASP.NET Core.
    let leave () : SynchronizationContext | null =
        match SynchronizationContext.Current with
        | null -> null
        | around when (box around :? ICarriesOutAll) -> null
        | around ->
            SynchronizationContext.SetSynchronizationContext null
            around

    let enter (around: SynchronizationContext | null) =
        match around with
        | null -> ()
        | around -> SynchronizationContext.SetSynchronizationContext around

    /// No closure: each request comes here.
    let inline start ([<InlineIfLambda>] work: unit -> 'answer) : 'answer =
        let around = leave ()

        try
            work ()
        finally
            enter around
