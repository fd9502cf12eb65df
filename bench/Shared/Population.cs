using System.Buffers.Text;
using System.Security.Cryptography;
using Microsoft.FSharp.Collections;
using Microsoft.FSharp.Core;
using Session.AspNetCore;
using Session.Domain;
using Session.Engine;

namespace Bench.Shared;

/// <summary>Numbered live sessions. Their tokens follow from their numbers: a million of them take no memory here.</summary>
public sealed class Population(string name, int dataBytes, DateTimeOffset at, EngineSettings settings)
{
    private readonly SecretHasher _hasher = new(settings.ServerKey, settings.SealsToBearer);
    private readonly byte[] _data = Data(dataBytes);

    /// <summary>What an application has that changes no option.</summary>
    public static EngineSettings Settings { get; } = SessionSettingsModule.toEngine(SessionSettingsModule.defaults);

    /// <summary>Bytes that do not compress, the same in each run.</summary>
    public static byte[] Data(int length)
    {
        var data = new byte[length];
        new Random(1).NextBytes(data);
        return data;
    }

    public string Id(int number) => Base64Url.EncodeToString(Hash("id", number).AsSpan(0, 16));

    /// <summary>The token as its client sends it.</summary>
    public string Text(int number) => Id(number) + "." + Base64Url.EncodeToString(Hash("secret", number));

    /// <summary>The token as a request brings it: parsed and hashed each time.</summary>
    public PresentedToken Present(int number) => Token.tryParse(_hasher, Text(number)).Value;

    /// <summary>A client has presented its token: the state of most sessions at most times.</summary>
    public State Active(int number, string? subject = null) => Active(Present(number).Hash, subject);

    /// <summary>Its record, as the engine makes it.</summary>
    public StoredRecord Record(int number, long version = 1, string? subject = null)
    {
        var token = Present(number);
        var state = Active(token.Hash, subject);
        return new StoredRecord(
            token.Id,
            version,
            RecordKind.Live,
            at,
            Lifecycle.due(settings.Policy, state),
            subject,
            number,
            Codec.encode(token.Id, version, state)
        );
    }

    private State Active(SecretHash secret, string? subject)
    {
        var whose = subject is null ? FSharpOption<string>.None : FSharpOption<string>.Some(subject);
        return After(After(Lifecycle.initial, Command.NewCreate(secret, whose, _data)), Command.NewPresent(secret, at));
    }

    public State After(State state, Command command) =>
        Fold(state, Lifecycle.decide(settings.Policy, at, command, state).ResultValue);

    public static State Fold(State state, FSharpList<Event> events)
    {
        for (; !events.IsEmpty; events = events.Tail)
            state = Lifecycle.evolve(state, events.Head);
        return state;
    }

    private byte[] Hash(string what, int number) =>
        SHA256.HashData(System.Text.Encoding.ASCII.GetBytes($"{name} {what} {number}"));
}
