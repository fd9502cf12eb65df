/// Sessions that another session middleware began, and that go on here: what has to be known of it.
namespace Session.AspNetCore

open System.Threading
open System.Threading.Tasks
open Microsoft.AspNetCore.Http

/// The one that a request came with.
[<AbstractClass>]
type internal FormerSession<'T>(token: string) =
    /// `id.secret`, which follow from what the client holds: the same for each of its requests, and for nobody else's.
    member _.Token = token

    /// Its data, as the other middleware has stored it; none where there is nothing, or nothing any more.
    abstract Read: cancel: CancellationToken -> Task<'T voption>

    /// Removes it from where the other middleware has stored it.
    abstract Forget: cancel: CancellationToken -> Task

    /// The response carries a token of ours: the client need not keep what it came with.
    abstract LetGo: context: HttpContext -> unit

type internal IFormerSessions<'T> =
    /// What this request came with; null: nothing.
    abstract Find: context: HttpContext -> FormerSession<'T> | null
