/// What a request has of a session: one union, and what follows from it, each a table that can be ticked line by line.
namespace Session.AspNetCore

open System
open Session.Domain
open Session.Engine

/// What the request came with.
type internal Origin =
    /// No token came.
    | New = 0
    /// A live session.
    | Resumed = 1
    /// A session that time has ended.
    | Expired = 2
    /// Anything else: no token of ours, a guess, a superseded one, a session ended on purpose or long gone.
    | Invalid = 3

/// Where in its life the session of a request is.
type internal Phase =
    | None = 0
    | Created = 1
    | Active = 2
    | Regenerated = 3
    | Destroyed = 4
    | Expired = 5

/// A session that is over, and that this request had a token of.
[<NoComparison; NoEquality>]
type internal Past =
    {
        /// None where a sign-out has ended the sessions of several tokens at once.
        Id: string voption
        Ending: Ending
        /// Requests in flight at a logout are normal: they must not replace what the browser got since.
        IsRecent: bool
        At: DateTimeOffset
    }

[<NoComparison; NoEquality>]
type internal Presence<'T> =
    /// Nothing of the request was looked at yet.
    | NotRead
    | Nothing
    /// A token of no session that is known, or of one that is over and forgotten.
    | Stranger
    /// What came under the token's name is no token, or more than one came.
    | Garbage
    | Open of Opened * data: 'T option
    /// It lives, and its data cannot be read here.
    | Locked of Opened
    /// Its record cannot be read here: another node may read it, and nobody here can tell whose token this is.
    | CannotRead of SessionError
    | Gone of Past
    /// A session may live, but not for this request: the token was refused or lost its rights meanwhile, or the store is
    /// down and the settings say to go on.
    | Shut of SessionError

/// What a sign-out has to do.
[<NoComparison; NoEquality>]
type internal SignOut =
    | NothingToEnd
    | EndThis of Opened
    /// The user wants to be signed out, and one of several tokens is theirs.
    | EndEachToken
    | CannotEnd of SessionError

[<RequireQualifiedAccess>]
module internal Presence =
    /// What the request came with, of what was found when its token was read.
    let origin presence =
        match presence with
        | NotRead
        | Nothing -> Origin.New
        | Open _ -> Origin.Resumed
        | Gone { Ending = ByTime _ } -> Origin.Expired
        | Gone { Ending = OnPurpose _ }
        | Stranger
        | Garbage
        | Locked _
        | CannotRead _
        | Shut _ -> Origin.Invalid

    let phase policy now presence =
        match presence with
        | Open(opened, _) ->
            match Lifecycle.settle policy now opened.Snapshot.State with
            | Absent -> Phase.None
            | Created _ -> Phase.Created
            | Active _ -> Phase.Active
            | Regenerated _ -> Phase.Regenerated
            | Destroyed _ -> Phase.Destroyed
            | Expired _ -> Phase.Expired
        | Gone { Ending = OnPurpose _ } -> Phase.Destroyed
        | Gone { Ending = ByTime _ } -> Phase.Expired
        | NotRead
        | Nothing
        | Stranger
        | Garbage
        | Locked _
        | CannotRead _
        | Shut _ -> Phase.None

    let opened presence =
        match presence with
        | Open(opened, _) -> ValueSome opened
        | NotRead
        | Nothing
        | Stranger
        | Garbage
        | Locked _
        | CannotRead _
        | Gone _
        | Shut _ -> ValueNone

    let data presence =
        match presence with
        | Open(_, data) -> data
        | NotRead
        | Nothing
        | Stranger
        | Garbage
        | Locked _
        | CannotRead _
        | Gone _
        | Shut _ -> Option.None

    /// Why a write begins no new session here; None when it does.
    let refusesToBegin presence =
        match presence with
        | Gone { IsRecent = true; Ending = OnPurpose _ as ending; At = at } -> Some(SessionError.Ended(ending, at))
        | Shut error -> Some error
        | NotRead
        | Nothing
        | Stranger
        | Garbage
        | Open _
        | Locked _
        | CannotRead _
        | Gone _ -> Option.None

    /// The same of a sign-in or an explicit create, which a refused token does not stop.
    let refusesToBeginAnew presence =
        match presence with
        | Shut(SessionError.Unavailable _ | SessionError.Unsure _ as error) -> Some error
        | NotRead
        | Nothing
        | Stranger
        | Garbage
        | Open _
        | Locked _
        | CannotRead _
        | Gone _
        | Shut _ -> Option.None

    let signOut presence =
        match presence with
        | Open(opened, _)
        | Locked opened -> EndThis opened
        | Garbage -> EndEachToken
        | CannotRead error
        | Shut(SessionError.Refused _ | SessionError.Unavailable _ | SessionError.Unsure _ as error) -> CannotEnd error
        | NotRead
        | Nothing
        | Stranger
        | Gone _
        | Shut _ -> NothingToEnd
