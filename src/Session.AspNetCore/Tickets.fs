/// The engine as the tickets of the framework's cookie schemes use it: their token travels in the scheme's own cookie.
namespace Session.AspNetCore

open System
open System.Threading
open System.Threading.Tasks
open Microsoft.AspNetCore.Http
open Session.Domain
open Session.Engine

/// What became of a sign-in. Both: it is stored, its token is to be handed over, and something that belongs to it failed.
[<NoComparison; NoEquality>]
type internal TicketReply = { Opened: Opened voption; Error: SessionError voption }

[<RequireQualifiedAccess>]
module internal Tickets =
    let private told (service: SessionService<'T>) (operation: Errand -> Task<'answer>) : Task<'answer> =
        service.Engine.Told(service.Engine.NewErrand(), operation)

    let private toReply reply =
        match reply with
        | Reply.Done opened -> { Opened = ValueSome opened; Error = ValueNone }
        | Reply.Failed error -> { Opened = ValueNone; Error = ValueSome error }
        | Reply.Partly(opened, error) -> { Opened = ValueSome opened; Error = ValueSome error }

    let private signingIn service operation : Task<TicketReply> =
        told service (fun errand ->
            task {
                let! reply = operation errand
                return toReply reply
            })

    /// `external`: the provider's session that the user comes from, if there is one.
    let private tied
        (service: SessionService<'T>)
        (external: ExternalSession | null)
        (subject: string | null)
        (signIn: Errand -> Task<Reply<Opened>>)
        =
        signingIn service (fun errand ->
            match subject with
            | null -> signIn errand
            | subject ->
                let externals = service.Engine.Externals

                let signIn tie =
                    task {
                        let! reply = externals.Confirmed(tie, signIn errand, errand)
                        return Ok reply
                    }

                task {
                    match! externals.Tied(external, subject, errand, signIn) with
                    | Ok reply -> return reply
                    | Error error -> return Reply.Failed error
                })

    /// A new session; null: of nobody.
    let create
        (service: SessionService<'T>)
        (context: HttpContext | null)
        (external: ExternalSession | null)
        (subject: string | null)
        (data: byte[])
        (cancel: CancellationToken)
        =
        let nextId () =
            match service.Settings.GenerateId, context with
            | None, _
            | _, null -> Token.newId ()
            | Some generate, context -> generate context

        tied service external subject (fun errand ->
            service.Engine.Requests.Create(nextId, Option.ofObj subject, data, errand, cancel))

    /// An elevation of the session that the request was let in by: a new token, the old one is dead at once.
    let signIn
        (service: SessionService<'T>)
        (from: Opened)
        (external: ExternalSession | null)
        (subject: string)
        (data: byte[])
        (cancel: CancellationToken)
        =
        tied service external subject (fun errand ->
            service.Engine.Requests.SignIn(from, subject, data, errand, cancel))

    /// New data from the data as it is stored. None: the function has nothing to change, and gave null.
    let update
        (service: SessionService<'T>)
        (from: Opened)
        (change: Func<byte[], byte[] | null>)
        (cancel: CancellationToken)
        : Task<Result<Opened option, SessionError>> =
        let isDeclined = ref false

        let compute bytes =
            match change.Invoke bytes with
            | null ->
                isDeclined.Value <- true
                Error SessionError.Conflict
            | data ->
                isDeclined.Value <- false
                Ok(struct (data, ()))

        told service (fun errand ->
            task {
                match! service.Engine.Requests.Update(from, compute, errand, cancel) with
                | Reply.Done(struct (opened, ())) -> return Ok(Some opened)
                | Reply.Failed SessionError.Conflict when isDeclined.Value -> return Ok None
                | Reply.Failed error
                | Reply.Partly(_, error) -> return Error error
            })

    /// The session of a token, of a request that is no activity of its user: it moves no deadline.
    let look (service: SessionService<'T>) (token: PresentedToken) (cancel: CancellationToken) =
        told service (fun errand ->
            service.Engine.Presenting.Look(token, service.Clock.GetUtcNow(), errand, cancel).AsTask())

    let noteNotExtended (service: SessionService<'T>) (scheme: string) (error: exn | null) =
        EdgeLog.ticketNotExtended service.Log error scheme
