/// Whether it is known that there is nobody. Where the settings let requests go on without the store, a request of somebody who
/// has signed in looks like a stranger's: whoever answers strangers in a way of their own (a 401, a login page, "signed out")
/// asks here first.
[<RequireQualifiedAccess>]
module internal Session.AspNetCore.Nobody

open Session.Engine

/// Of a session that has been read, and was not found. Error: nobody can tell.
let isSure (request: RequestSession<'T>) : Result<unit, SessionError> =
    match request.Outage with
    | Some error -> Error error
    | None -> Ok()
