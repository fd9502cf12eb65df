/// The native F# API for sessions without their request.
namespace Session.AspNetCore

open System.Data.Common
open System.Threading
open System.Threading.Tasks
open Microsoft.AspNetCore.Http
open Microsoft.Extensions.DependencyInjection
open Session.Domain
open Session.Engine

[<RequireQualifiedAccess>]
module Sessions =
    /// Ends every session of a subject inside a transaction of the application's, begun as READ COMMITTED in the database
    /// that has the sessions (PostgreSQL): one that is rolled back ends nobody, and once it is committed nobody lives
    /// whose sign-in was acknowledged before. A sign-in of the subject waits meanwhile: commit soon. After an error roll
    /// back. After the commit call `Complete`: it tells of the ends.
    let destroyAllIn<'T>
        (transaction: DbTransaction)
        (subject: string)
        (context: HttpContext)
        : Task<Result<PendingEnds, SessionError>> =
        let service = context.RequestServices.GetRequiredService<SessionService<'T>>()

        if Subject.isValid subject then
            service.Engine.DestroyAllIn(transaction, subject, None, Revoked, CancellationToken.None)
        else
            Task.FromResult(Error SessionError.InvalidSubject)
