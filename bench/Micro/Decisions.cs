using System.ComponentModel;
using Bench.Shared;
using BenchmarkDotNet.Attributes;
using Microsoft.FSharp.Core;
using Session.Domain;
using Answer = Microsoft.FSharp.Core.FSharpResult<
    Microsoft.FSharp.Collections.FSharpList<Session.Domain.Event>,
    Session.Domain.Refusal
>;

namespace Bench.Micro;

[DisplayName("The lifecycle (Session.Domain)")]
public class Decisions
{
    private static readonly DateTimeOffset s_begin = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);
    private static readonly DateTimeOffset s_now = s_begin.AddMinutes(1);
    private readonly Policy _policy = Population.Settings.Policy;
    private readonly State _live;
    private readonly State _renewed;
    private readonly Command _present;
    private readonly Command _guess;
    private readonly Command _write;
    private readonly Command _signIn;

    public Decisions()
    {
        var population = new Population("decisions", 100, s_begin, Population.Settings);
        var (own, next, foreign) = (population.Present(1).Hash, population.Present(2).Hash, population.Present(3).Hash);
        _live = population.Active(1);
        var grant = Lifecycle.grant(own, s_now, _live);
        _present = Command.NewPresent(own, s_now);
        _guess = Command.NewPresent(foreign, s_now);
        _write = Command.NewWrite(Population.Data(100), FSharpOption<long>.None, FSharpOption<Grant>.Some(grant));
        _signIn = Command.NewSignIn("alice", Population.Data(100), next, grant);

        // The predecessor, within the grace: what the requests of a page in flight during a renewal meet.
        var due = s_begin + _policy.RotateEvery!.Value;
        var issued = Lifecycle.decide(_policy, due, Command.NewRenew(next, grant), _live).ResultValue;
        var offered = Population.Fold(_live, issued);
        var confirmed = Lifecycle.decide(_policy, due, Command.NewPresent(next, due), offered).ResultValue;
        _renewed = Population.Fold(offered, confirmed);
    }

    [Benchmark(Description = MicroFigures.DecisionName)]
    public Answer Present() => Lifecycle.decide(_policy, s_now, _present, _live);

    [Benchmark(Description = "decide and evolve: `present` on a live session")]
    public State PresentEvolved() => Evolved(_present);

    [Benchmark(Description = "decide: `present` of the predecessor within its grace")]
    public Answer PresentPredecessor() => Lifecycle.decide(_policy, s_now, _present, _renewed);

    [Benchmark(Description = "decide: a guess")]
    public Answer Guess() => Lifecycle.decide(_policy, s_now, _guess, _live);

    [Benchmark(Description = "decide: `write`")]
    public Answer Write() => Lifecycle.decide(_policy, s_now, _write, _live);

    [Benchmark(Description = "decide and evolve: `write`")]
    public State WriteEvolved() => Evolved(_write);

    [Benchmark(Description = "decide: `sign in`")]
    public Answer SignIn() => Lifecycle.decide(_policy, s_now, _signIn, _live);

    [Benchmark(Description = "decide and evolve: `sign in`")]
    public State SignInEvolved() => Evolved(_signIn);

    private State Evolved(Command command) =>
        Population.Fold(_live, Lifecycle.decide(_policy, s_now, command, _live).ResultValue);
}
