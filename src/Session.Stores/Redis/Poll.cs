namespace Session.Stores.Redis;

/// <summary>Hears several servers that were asked at once. One that hangs does not hold up what the others agree on.</summary>
internal static class Poll
{
    private static readonly TimeSpan WaitForTheRest = TimeSpan.FromMilliseconds(50);

    /// <summary>Ends when all have answered, when the time is over, or a moment after enough of them have.</summary>
    /// <param name="asked">What each of them will answer.</param>
    /// <param name="timeout">How long those who do not answer are waited for.</param>
    /// <param name="hear">Takes each answer that has come, or its failure, and says whether it has heard enough.</param>
    public static async Task HearAsync<T>(IEnumerable<Task<T>> asked, TimeSpan timeout, Func<Task<T>, bool> hear)
    {
        var silent = asked.ToList();
        var rest = Task.Delay(timeout);
        while (silent.Count > 0)
        {
            var first = await Task.WhenAny([rest, .. silent]).ConfigureAwait(false);
            if (first == rest)
                break;

            var answer = (Task<T>)first;
            silent.Remove(answer);
            if (hear(answer))
                rest = Task.Delay(WaitForTheRest);
        }

        foreach (var late in silent)
            RedisLink.ObserveFailure(late);
    }
}
