using System.Collections.Concurrent;
using System.Diagnostics;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.FSharp.Core;
using Session.Domain;
using Session.Engine;
using static Session.Stores.Testing.Linearizability;
using static Session.Stores.Testing.Sample;

namespace Session.Stores.Testing;

/// <summary>Parallel clients: their recorded histories are checked key by key, and the engine's loop is run on the store.</summary>
internal static class HistoryTests
{
    private static readonly string[] Keys = ["k1", "k2", "k3"];
    private const int PerKey = 60;

    public static IEnumerable<ContractTest> Of(StoreContract contract)
    {
        yield return new ContractTest(
            "parallel clients see one order",
            "Written only if the stored version is expected. Sees every acknowledged write.",
            cancel => Histories(contract, cancel)
        );
        yield return new ContractTest(
            "through the engine: every accepted update counts, and nothing comes after the end",
            "The ground of every compare-and-swap.",
            cancel => ThroughTheEngine(contract, cancel)
        );
        if (contract.Options.Lists)
            yield return new ContractTest(
                "through the engine: destroying all of a subject misses nobody",
                "Holds every session whose sign-in was acknowledged before the call.",
                cancel => DestroyAll(contract, cancel)
            );
    }

    private static Task Histories(StoreContract contract, CancellationToken cancel)
    {
        var next = -1;
        return contract.OnPlaces(
            2,
            async (stores, stop) =>
            {
                while (!stop.IsCancellationRequested)
                {
                    var number = Interlocked.Increment(ref next);
                    if (number >= contract.Options.Histories)
                        return;
                    await OneHistory(contract, stores, number, cancel).ConfigureAwait(false);
                }
            },
            cancel
        );
    }

    private static async Task OneHistory(
        StoreContract contract,
        ISessionStore[] stores,
        int number,
        CancellationToken cancel
    )
    {
        var seed = unchecked(contract.Options.Seed * 17 + number);
        var recorded = Keys.ToDictionary(key => key, _ => new ConcurrentQueue<Operation>());
        var issued = new ConcurrentDictionary<string, int>();
        var start = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);

        async Task Client(int n)
        {
            var random = new Random(unchecked(seed * 101 + n));
            var store = stores[n % stores.Length];
            var seen = new Dictionary<string, long>();
            await start.Task.ConfigureAwait(false);
            for (var i = 0; i < 12; i++)
            {
                // Where a store answers at once, clients would come one after the other.
                if (random.Next(2) == 0)
                    await Task.Yield();
                var key = Keys[random.Next(Keys.Length)];
                if (issued.AddOrUpdate(key, 1, static (_, before) => before + 1) > PerKey)
                    continue;
                var id = $"{key}-{number}";
                recorded[key].Enqueue(await Call(store, id, random, seen, cancel).ConfigureAwait(false));
            }
        }

        var running = Enumerable
            .Range(0, contract.Options.Clients)
            .Select(n => Task.Run(() => Client(n), cancel))
            .ToArray();
        start.SetResult();
        await Task.WhenAll(running).ConfigureAwait(false);

        var failed = recorded.Values.SelectMany(operations => operations).Where(o => o.Failed is not null).ToArray();
        if (failed.Length * 2 > recorded.Values.Sum(operations => operations.Count))
            throw contract.Violated($"History {number} says nothing: {failed.Length} calls failed. {failed[0].Failed}");

        foreach (var operations in recorded.Values)
        {
            var history = operations.OrderBy(operation => operation.Called).ToArray();
            switch (Check(history))
            {
                case Verdict.Undecided:
                    contract.Count(undecided: 1);
                    break;
                case Verdict.Violated:
                    contract.Count(violations: 1);
                    throw contract.Violated(
                        $"History {number}: no order of these operations on one key explains their answers (times in µs):\n"
                            + string.Join(
                                '\n',
                                history.Select(o => $"  {Micros(o.Called), 9} to {Micros(o.Returned), 9}  {o.Text}")
                            )
                    );
            }
        }
        contract.Count(histories: 1);
        foreach (var key in Keys)
            try
            {
                await stores[0].Remove($"{key}-{number}", cancel).ConfigureAwait(false);
            }
            catch (Exception error) when (error is not OperationCanceledException)
            {
                // A call that fails is no violation, and the next history has keys of its own.
            }

        string Micros(long at) =>
            at == long.MaxValue
                ? "?"
                : $"{(at - recorded.Values.SelectMany(o => o).Min(o => o.Called)) * 1_000_000 / Stopwatch.Frequency}";
    }

    private static async Task<Operation> Call(
        ISessionStore store,
        string id,
        Random random,
        Dictionary<string, long> seen,
        CancellationToken cancel
    )
    {
        var choice = random.Next(10);
        var operation = random.NextInt64();
        var known = seen.GetValueOrDefault(id, 0);
        var called = Stopwatch.GetTimestamp();

        Operation Done(string text, Func<Register, (bool, Register)[]> steps) =>
            new(called, Stopwatch.GetTimestamp(), text, steps);

        static (bool, Register)[] One(bool isPossible, Register after) => [(isPossible, after)];

        try
        {
            if (choice < 4)
            {
                var found = await store.Load(id, cancel).ConfigureAwait(false);
                seen[id] = found?.Version ?? 0;
                var answer = found is null ? Register.Absent : new Register(found.Version, found.Operation);
                return Done(
                    $"load -> {(found is null ? "nothing" : $"v{answer.Version} by {answer.Operation}")}",
                    now => One(now == answer, now)
                );
            }
            if (choice < 5)
            {
                await store.Remove(id, cancel).ConfigureAwait(false);
                seen[id] = 0;
                return Done("remove", _ => One(true, Register.Absent));
            }
            if (choice < 6)
            {
                var written = await store
                    .Insert(Record(id, operation: operation, subject: "ada", due: 1_000_000), cancel)
                    .ConfigureAwait(false);
                seen[id] = 1;
                var after = new Register(1, operation);
                return written switch
                {
                    WriteResult.Written => Done($"insert by {operation} -> Written", now => One(now.IsAbsent, after)),
                    WriteResult.Conflict => Done($"insert by {operation} -> Conflict", now => One(!now.IsAbsent, now)),
                    _ => Pending($"insert by {operation} -> {written}", now => [(now.IsAbsent, after), (true, now)]),
                };
            }
            var next = Record(id, known + 1, operation: operation, subject: "ada", due: 1_000_000);
            var answered = await store.Replace(next, known, cancel).ConfigureAwait(false);
            if (answered == WriteResult.Written)
                seen[id] = known + 1;
            var replaced = new Register(known + 1, operation);
            return answered switch
            {
                WriteResult.Written => Done(
                    $"replace v{known} by {operation} -> Written",
                    now => One(now.Version == known, replaced)
                ),
                WriteResult.Conflict => Done(
                    $"replace v{known} by {operation} -> Conflict",
                    now => One(!now.IsAbsent && now.Version != known, now)
                ),
                WriteResult.Absent => Done($"replace v{known} by {operation} -> Absent", now => One(now.IsAbsent, now)),
                _ => Pending(
                    $"replace v{known} by {operation} -> {answered}",
                    now => [(now.Version == known, replaced), (true, now)]
                ),
            };
        }
        catch (Exception error) when (error is not OperationCanceledException)
        {
            // It may have happened, or not; an insert or a replace that the store has refused has not.
            return Pending(
                $"failed: {error.Message}",
                now =>
                    choice < 4 || choice > 4 && error is StoreRefusedException ? [(true, now)]
                    : choice < 5 ? [(true, Register.Absent), (true, now)]
                    :
                    [
                        (now.IsAbsent && choice == 5, new Register(1, operation)),
                        (now.Version == known && choice > 5, new Register(known + 1, operation)),
                        (true, now),
                    ]
            ) with
            {
                Failed = error.ToString(),
            };
        }

        Operation Pending(string text, Func<Register, (bool, Register)[]> steps) =>
            new(called, long.MaxValue, text, steps);
    }

    // -- the engine on the store

    private static SessionEngine Engine(ISessionStore store) =>
        new(
            store,
            new EngineSettings(
                new Policy(
                    TimeSpan.FromMinutes(30),
                    TimeSpan.FromHours(8),
                    TimeSpan.FromMinutes(10),
                    FSharpOption<TimeSpan>.None,
                    TimeSpan.FromSeconds(30),
                    TimeSpan.FromHours(1),
                    OnReplay.DestroySession
                ),
                65_536,
                FSharpOption<int>.None,
                LimitPolicy.EndOldest,
                null,
                false,
                null
            ),
            TimeProvider.System,
            NullLogger.Instance,
            new Nobody()
        );

    private sealed class Nobody : INoticeBoard
    {
        public ValueTask Post(Notice notice) => ValueTask.CompletedTask;
    }

    private static readonly FSharpFunc<Unit, string> NextId = FuncConvert.FromFunc(Token.newId);

    private static async Task<Opened> Create(SessionEngine engine, string? subject, CancellationToken cancel)
    {
        var created = await engine
            .Create(
                NextId,
                subject is null ? FSharpOption<string>.None : FSharpOption<string>.Some(subject),
                [0, 0],
                cancel
            )
            .ConfigureAwait(false);
        return created.IsOk
            ? created.ResultValue
            : throw new InvalidOperationException($"A session could not be created: {created.ErrorValue}");
    }

    private static async Task ThroughTheEngine(StoreContract contract, CancellationToken cancel) =>
        await contract
            .OnMany(
                2,
                async stores =>
                {
                    var engines = stores.Select(Engine).ToArray();
                    for (var round = 0; round < 3; round++)
                    {
                        var opened = await Create(engines[0], "ada", cancel).ConfigureAwait(false);
                        var accepted = 0;
                        var add = FuncConvert.FromFunc(
                            (byte[] data) =>
                            {
                                var sum = BitConverter.ToInt16(data) + 1;
                                return FSharpResult<byte[], SessionError>.NewOk(BitConverter.GetBytes((short)sum));
                            }
                        );
                        await Task.WhenAll(
                                Enumerable
                                    .Range(0, contract.Options.Clients * 4)
                                    .Select(n =>
                                        Task.Run(
                                            async () =>
                                            {
                                                var answer = await engines[n % engines.Length]
                                                    .Update(opened, add, cancel)
                                                    .ConfigureAwait(false);
                                                if (answer.IsOk)
                                                    Interlocked.Increment(ref accepted);
                                            },
                                            cancel
                                        )
                                    )
                            )
                            .ConfigureAwait(false);
                        var record = await stores[^1].Load(opened.Snapshot.Id, cancel).ConfigureAwait(false);
                        var found = await engines[^1].Reload(opened, cancel).ConfigureAwait(false);
                        var sum =
                            found.IsOk && found.ResultValue is { } live
                                ? BitConverter.ToInt16(live.Value.Live.Data)
                                : -1;
                        if (sum != accepted || record?.Version != accepted + 1)
                            throw contract.Violated(
                                $"  {accepted} parallel updates were accepted; the sum is {sum}, the version {record?.Version}."
                            );

                        await engines[0].SignOut(opened, cancel).ConfigureAwait(false);
                        var late = await engines[^1].Update(opened, add, cancel).ConfigureAwait(false);
                        if (late.IsOk)
                            throw contract.Violated("  An update was accepted after the session was destroyed.");
                    }
                },
                cancel
            )
            .ConfigureAwait(false);

    private static async Task DestroyAll(StoreContract contract, CancellationToken cancel) =>
        await contract
            .OnMany(
                2,
                async stores =>
                {
                    var engines = stores.Select(Engine).ToArray();
                    for (var round = 0; round < 5; round++)
                    {
                        var subject = $"subject-{round}";
                        var before = await Task.WhenAll(
                                Enumerable.Range(0, 6).Select(n => Create(engines[n % engines.Length], subject, cancel))
                            )
                            .ConfigureAwait(false);
                        var during = Enumerable
                            .Range(0, 6)
                            .Select(n => Task.Run(() => Create(engines[n % engines.Length], subject, cancel), cancel))
                            .ToArray();
                        var ended = await engines[^1]
                            .DestroyAll(subject, FSharpOption<string>.None, DestroyReason.Revoked, cancel)
                            .ConfigureAwait(false);
                        await Task.WhenAll(during).ConfigureAwait(false);
                        if (ended.IsError)
                            throw contract.Violated($"  Destroy all failed: {ended.ErrorValue}");

                        foreach (var opened in before)
                        {
                            var found = await engines[0].Find(opened.Snapshot.Id, cancel).ConfigureAwait(false);
                            if (found.IsOk && found.ResultValue is not null)
                                throw contract.Violated(
                                    $"  Session {opened.Snapshot.Id} of {subject} was signed in before \"destroy all\" began, and lives."
                                );
                        }
                    }
                },
                cancel
            )
            .ConfigureAwait(false);
}
