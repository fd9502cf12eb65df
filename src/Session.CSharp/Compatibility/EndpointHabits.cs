using System.Runtime.CompilerServices;
using Microsoft.AspNetCore.Http;

namespace Session.CSharp;

/// <summary>
/// Which endpoints read their session without loading it first. The framework's interface reads synchronously, and a thread that
/// waits for a store is one that the server lacks: such an endpoint's session is loaded before it, from its second request on.
/// One that turns out not to need its session in each request is left alone for good: it costs one store call.
/// </summary>
internal sealed class EndpointHabits
{
    private readonly ConditionalWeakTable<Endpoint, Habit> _habits = [];

    public Habit? Of(Endpoint? endpoint) =>
        endpoint is null ? null : _habits.GetValue(endpoint, static _ => new Habit());

    internal sealed class Habit
    {
        private const int Unknown = 0;
        private const int Reads = 1;
        private const int LeftAlone = 2;
        private volatile int _state = Unknown;

        public bool LoadsFirst => _state == Reads;

        public void HasWaited()
        {
            if (_state == Unknown)
                _state = Reads;
        }

        public void WasLoadedForNothing() => _state = LeftAlone;
    }
}
