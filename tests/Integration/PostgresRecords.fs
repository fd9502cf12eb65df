/// What the tests of the PostgreSQL store put into it.
module internal Integration.PostgresRecords

open System
open System.Threading.Tasks
open Integration.World
open Session.Engine

let at = DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero)

let record id version (subject: string | null) isDurable =
    let body = ReadOnlyMemory [| 1uy; 2uy; 3uy |]
    StoredRecord(id, version, RecordKind.Live, at, at.AddHours 1, subject, Random.Shared.NextInt64(), body, isDurable)

let withStore address table configure (body: ISessionStore -> Task<unit>) =
    task {
        use store = openPostgresAt address table configure
        do! body store
    }
