/// Sessions, tickets and HttpContext.Session of one application in one database, each chosen in one line: three places, which
/// know nothing of each other. What AddSession has is where it always was.
module Integration.Places

open System
open System.IO
open System.Threading
open System.Threading.Tasks
open Expecto
open Microsoft.AspNetCore.Authentication
open Microsoft.Extensions.DependencyInjection
open Integration.World
open Session.CSharp
open Session.Engine

let private none = CancellationToken.None

let private record (subject: string) =
    let at = DateTimeOffset.UtcNow

    StoredRecord(
        "the-same-id",
        1L,
        RecordKind.Live,
        at,
        at.AddHours 1.0,
        subject,
        Random.Shared.NextInt64(),
        ReadOnlyMemory [| 1uy |],
        true
    )

/// The same line for each of the three; what their places are called.
let private apart (lists: bool) (words: string list) (useStore: SessionBuilder -> SessionBuilder) =
    task {
        let services = ServiceCollection()
        services.AddDistributedMemoryCache() |> ignore
        let sessions = SessionServiceCollectionExtensions.AddSession<App.Cart>(services)
        let tickets = ServerSideTicketServiceCollectionExtensions.AddServerSideTickets(services)
        let http = SessionCompatibilityServiceCollectionExtensions.AddSessionCompatibility(services)

        for builder in [ sessions; tickets; http ] do
            useStore builder |> ignore

        use provider = services.BuildServiceProvider()

        let stores =
            [ for kind in [ typeof<App.Cart>; typeof<AuthenticationTicket>; http.DataType ] ->
                  kind.Name, provider.GetRequiredKeyedService<ISessionStore> kind ]

        let locations = ResizeArray<string>()

        for name, store in stores do
            let! report = store.Prepare none
            locations.Add report.Location
            let! written = store.Insert(record name, none)
            Expect.equal written WriteResult.Written $"{name}: its own key, which no other one has taken"

        for location, word in Seq.zip locations words do
            Expect.stringEnds location word "where it is"

        Expect.equal (Seq.distinct locations |> Seq.length) 3 "three places"

        for name, store in stores do
            let! found = store.Load("the-same-id", none)
            Expect.equal (nonNull found).Subject name "its own record"

            if lists then
                let! count = store.Count none
                Expect.equal count 1L $"{name}: counts its own"

        let _, first = List.head stores
        do! first.Remove("the-same-id", none)

        for _, store in List.tail stores do
            let! found = store.Load("the-same-id", none)
            Expect.isNotNull found "the end of one is none of the other"
    }

let all =
    testList
        "places"
        [ testCaseTask "Redis: sessions, tickets and HttpContext.Session in one database are apart" (fun () ->
              task {
                  use server = RedisServer.startOne []

                  do!
                      apart true [ "/session:"; "/ticket:"; "/httpsession:" ] (fun builder ->
                          SessionBuilderRedisExtensions.UseRedis(builder, server.Address))
              })

          testCaseTask "SQLite: sessions, tickets and HttpContext.Session in one file are apart" (fun () ->
              task {
                  let folder = temporaryFolder ()

                  try
                      do!
                          apart true [ "sessions"; "tickets"; "httpsessions" ] (fun builder ->
                              SessionBuilderSqliteExtensions.UseSqlite(builder, Path.Combine(folder, "shared.db")))
                  finally
                      Directory.Delete(folder, true)
              })

          testCaseTask "PostgreSQL: sessions, tickets and HttpContext.Session in one database are apart" (fun () ->
              task {
                  use server = PostgresServer.startOne []

                  do!
                      apart true [ "sessions"; "tickets"; "httpsessions" ] (fun builder ->
                          SessionBuilderPostgresExtensions.UsePostgres(builder, server.Address))
              })

          testCaseTask "MongoDB: sessions, tickets and HttpContext.Session in one database are apart" (fun () ->
              task {
                  use server = new MongoServer.StandIn()

                  do!
                      apart true [ "sessions"; "tickets"; "httpsessions" ] (fun builder ->
                          SessionBuilderMongoExtensions.UseMongo(builder, server.Address.Replace("/?", "/app?")))
              })

          testCaseTask "a cache: sessions, tickets and HttpContext.Session in one are apart" (fun () ->
              apart
                  false
                  [ "/session:"; "/ticket:"; "/httpsession:" ]
                  SessionBuilderDistributedCacheExtensions.UseDistributedCache) ]
