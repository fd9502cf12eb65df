/// What an answer in place of the endpoint's own must not lose.
namespace Session.AspNetCore

open Microsoft.AspNetCore.Http

/// That the headers of this response have something to say of a token once they are written, whatever is cleared before.
[<Sealed>]
type internal TokenOwed private () =
    static let owed = TokenOwed()

    static member Note(context: HttpContext) = context.Features[typeof<TokenOwed>] <- owed

    static member IsNoted(context: HttpContext) = not (isNull context.Features[typeof<TokenOwed>])
