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
    /// Nearly always, in ASP.NET Core.
    let isOff () = isNull SynchronizationContext.Current

    let start (work: unit -> 'answer) : 'answer =
        match SynchronizationContext.Current with
        | null -> work ()
        | around when (box around :? ICarriesOutAll) -> work ()
        | around ->
            SynchronizationContext.SetSynchronizationContext null

            try
                work ()
            finally
                SynchronizationContext.SetSynchronizationContext around
