/// The native F# API for sessions by their id or their subject: `Sessions` in a request, `SessionServices` without one.
namespace Session.AspNetCore

open System
open System.Data.Common
open System.Threading
open System.Threading.Tasks
open Microsoft.AspNetCore.Http
open Microsoft.Extensions.DependencyInjection
open Session.Domain
open Session.Engine

/// What both have in common. What ends or changes a session is not given up half way.
[<RequireQualifiedAccess>]
module internal Desk =
    let private engineOf<'T> services = (SessionServiceOf.services<'T> services).Engine

    let infoOf (engine: SessionEngine) (snapshot: Snapshot) : Session.Info option =
        match Lifecycle.living snapshot.State, engine.Deadline snapshot.State with
        | ValueSome live, ValueSome(struct (_, expiresAt)) ->
            Some
                { Session.Info.Id = snapshot.Id
                  Session.Info.Subject = live.Subject
                  Session.Info.State =
                    (match snapshot.State with
                     | Created _ -> Session.State.Created
                     | Active _ -> Session.State.Active
                     | Regenerated _ -> Session.State.Regenerated
                     | Destroyed _ -> Session.State.Destroyed
                     | Expired _ -> Session.State.Expired
                     | Absent -> Session.State.None)
                  Session.Info.CreatedAt = live.CreatedAt
                  Session.Info.AuthenticatedAt = live.AuthenticatedAt
                  Session.Info.LastSeen = live.LastSeen
                  Session.Info.ExpiresAt = expiresAt }
        | _ -> None

    /// Of a subject that can have sessions.
    let private about subject (operation: unit -> Task<Result<'a, SessionError>>) =
        if Subject.isValid subject then operation () else Task.FromResult(Error SessionError.InvalidSubject)

    let list<'T> subject cancel services =
        let engine = engineOf<'T> services

        about subject (fun () ->
            task {
                let! found = engine.List(subject, cancel)
                return found |> Result.map (List.choose (infoOf engine))
            })

    let find<'T> id cancel services =
        let engine = engineOf<'T> services

        task {
            if not (Token.isValidId id) then
                return Ok None
            else
                let! found = engine.Find(id, cancel)
                return found |> Result.map (Option.bind (infoOf engine))
        }

    let update<'T> id (change: 'T option -> 'T) services : Task<Result<'T option, SessionError>> =
        let service = SessionServiceOf.services<'T> services

        if Token.isValidId id then
            service.UpdateById(id, change, CancellationToken.None)
        else
            Task.FromResult(Ok None)

    let destroy<'T> id services : Task<Result<bool, SessionError>> =
        let engine = engineOf<'T> services

        if Token.isValidId id then engine.Destroy(id, Revoked, CancellationToken.None) else Task.FromResult(Ok false)

    let destroyAll<'T> subject except services : Task<Result<int, SessionError>> =
        let engine = engineOf<'T> services
        about subject (fun () -> engine.DestroyAll(subject, except, Revoked, CancellationToken.None))

    let destroyAllIn<'T> transaction subject except services : Task<Result<PendingEnds, SessionError>> =
        let engine = engineOf<'T> services
        about subject (fun () -> engine.DestroyAllIn(transaction, subject, except, Revoked, CancellationToken.None))

    let destroyEvery<'T> services : Task<Result<int, SessionError>> =
        (engineOf<'T> services).DestroyEvery(Revoked, CancellationToken.None)

/// Sessions by their id or their subject, in a request: pages of devices and of operators. Check who asks before
/// (ASVS 7.5.2, 8.2.2): `findOwn` tells a session of the caller's from anybody else's.
[<RequireQualifiedAccess>]
module Sessions =
    /// The live sessions of a subject. One that no session can be of is `SessionError.InvalidSubject`.
    [<RequiresExplicitTypeArguments>]
    let list<'T> (subject: string) (context: HttpContext) : Task<Result<Session.Info list, SessionError>> =
        Desk.list<'T> subject context.RequestAborted context.RequestServices

    /// The live session under this id, whoever holds it.
    [<RequiresExplicitTypeArguments>]
    let find<'T> (id: string) (context: HttpContext) : Task<Result<Session.Info option, SessionError>> =
        Desk.find<'T> id context.RequestAborted context.RequestServices

    /// The live session under this id, if it is of the subject that has signed in to this request's session. None for
    /// anybody else's, as if there were none; and None where nobody has signed in.
    [<RequiresExplicitTypeArguments>]
    let findOwn<'T> (id: string) (context: HttpContext) : Task<Result<Session.Info option, SessionError>> =
        task {
            match! Session.read<'T> context with
            | Error error -> return Error error
            | Ok _ ->
                match! Session.subject<'T> context with
                | None -> return Nobody.isSure (RequestSession.find<'T> context) |> Result.map (fun () -> None)
                | Some subject ->
                    let! found = find<'T> id context
                    return found |> Result.map (Option.filter (fun info -> info.Subject = Some subject))
        }

    /// Stores what the function makes of a session's data, whoever holds it, and returns it; None when no session lives
    /// under this id. The session stays, its token and its deadlines too: a role is taken away without a sign-out. Called
    /// again for each conflict. Not for data that is sealed to its bearer.
    let update<'T>
        (id: string)
        (change: 'T option -> 'T)
        (context: HttpContext)
        : Task<Result<'T option, SessionError>> =
        Desk.update<'T> id change context.RequestServices

    /// Ends a session, whoever holds it. False when there was none that lived.
    [<RequiresExplicitTypeArguments>]
    let destroy<'T> (id: string) (context: HttpContext) : Task<Result<bool, SessionError>> =
        Desk.destroy<'T> id context.RequestServices

    /// Ends every session of a subject, and says how many (ASVS 7.4.2). Once acknowledged, none begun before lives.
    /// `SessionError.Incomplete`: some may still live, call it again.
    [<RequiresExplicitTypeArguments>]
    let destroyAll<'T> (subject: string) (context: HttpContext) : Task<Result<int, SessionError>> =
        Desk.destroyAll<'T> subject None context.RequestServices

    /// Ends every session of a subject but this one.
    [<RequiresExplicitTypeArguments>]
    let destroyAllBut<'T> (except: string) (subject: string) (context: HttpContext) : Task<Result<int, SessionError>> =
        Desk.destroyAll<'T> subject (Some except) context.RequestServices

    /// Ends every session of a subject inside a transaction of the application's, begun as READ COMMITTED in the database
    /// that has the sessions (PostgreSQL): one that is rolled back ends nobody, and once it is committed nobody lives
    /// whose sign-in was acknowledged before. A sign-in of the subject waits meanwhile: commit soon. After an error roll
    /// back. After the commit call `Complete`: it tells of the ends.
    [<RequiresExplicitTypeArguments>]
    let destroyAllIn<'T>
        (transaction: DbTransaction)
        (subject: string)
        (context: HttpContext)
        : Task<Result<PendingEnds, SessionError>> =
        Desk.destroyAllIn<'T> transaction subject None context.RequestServices

    /// The same but for one session: that of whoever changes the password, say.
    [<RequiresExplicitTypeArguments>]
    let destroyAllButIn<'T>
        (transaction: DbTransaction)
        (except: string)
        (subject: string)
        (context: HttpContext)
        : Task<Result<PendingEnds, SessionError>> =
        Desk.destroyAllIn<'T> transaction subject (Some except) context.RequestServices

    /// Ends every session of every subject, and the anonymous ones, and says how many: after an incident, or a restored
    /// backup (ASVS 7.4.5). Those that begin meanwhile may live. Guard the page that calls it.
    [<RequiresExplicitTypeArguments>]
    let destroyEvery<'T> (context: HttpContext) : Task<Result<int, SessionError>> =
        Desk.destroyEvery<'T> context.RequestServices

/// The same without a request, for jobs, consoles and tests: services in place of the HttpContext.
[<RequireQualifiedAccess>]
module SessionServices =
    /// The live sessions of a subject. One that no session can be of is `SessionError.InvalidSubject`.
    [<RequiresExplicitTypeArguments>]
    let list<'T> (subject: string) (services: IServiceProvider) : Task<Result<Session.Info list, SessionError>> =
        Desk.list<'T> subject CancellationToken.None services

    /// The live session under this id, whoever holds it.
    [<RequiresExplicitTypeArguments>]
    let find<'T> (id: string) (services: IServiceProvider) : Task<Result<Session.Info option, SessionError>> =
        Desk.find<'T> id CancellationToken.None services

    /// Stores what the function makes of a session's data, as `Sessions.update`.
    let update<'T>
        (id: string)
        (change: 'T option -> 'T)
        (services: IServiceProvider)
        : Task<Result<'T option, SessionError>> =
        Desk.update<'T> id change services

    /// Ends a session, whoever holds it. False when there was none that lived.
    [<RequiresExplicitTypeArguments>]
    let destroy<'T> (id: string) (services: IServiceProvider) : Task<Result<bool, SessionError>> =
        Desk.destroy<'T> id services

    /// Ends every session of a subject, and says how many.
    [<RequiresExplicitTypeArguments>]
    let destroyAll<'T> (subject: string) (services: IServiceProvider) : Task<Result<int, SessionError>> =
        Desk.destroyAll<'T> subject None services

    /// Ends every session of a subject but this one.
    [<RequiresExplicitTypeArguments>]
    let destroyAllBut<'T>
        (except: string)
        (subject: string)
        (services: IServiceProvider)
        : Task<Result<int, SessionError>> =
        Desk.destroyAll<'T> subject (Some except) services

    /// Ends every session of a subject inside a transaction, as `Sessions.destroyAllIn`.
    [<RequiresExplicitTypeArguments>]
    let destroyAllIn<'T>
        (transaction: DbTransaction)
        (subject: string)
        (services: IServiceProvider)
        : Task<Result<PendingEnds, SessionError>> =
        Desk.destroyAllIn<'T> transaction subject None services

    /// The same but for one session.
    [<RequiresExplicitTypeArguments>]
    let destroyAllButIn<'T>
        (transaction: DbTransaction)
        (except: string)
        (subject: string)
        (services: IServiceProvider)
        : Task<Result<PendingEnds, SessionError>> =
        Desk.destroyAllIn<'T> transaction subject (Some except) services

    /// Ends every session of everybody, and says how many.
    [<RequiresExplicitTypeArguments>]
    let destroyEvery<'T> (services: IServiceProvider) : Task<Result<int, SessionError>> = Desk.destroyEvery<'T> services
