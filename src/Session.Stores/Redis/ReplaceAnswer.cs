using StackExchange.Redis;

namespace Session.Stores.Redis;

/// <summary>The whole answer of <see cref="Scripts.Replace"/>.</summary>
/// <param name="Answer">What the script did.</param>
/// <param name="HasNewSubject">It has written the record, and the record before had another subject.</param>
/// <param name="LosingSubject">With <see cref="ScriptAnswer.LosesSubject"/>: the subject that would lose the session, to the last byte: the script compares it.</param>
internal readonly record struct ReplaceAnswer(ScriptAnswer Answer, bool HasNewSubject, RedisValue LosingSubject)
{
    public static ReplaceAnswer From(RedisResult result)
    {
        var isArray = result.Length >= 0;
        var answer = (ScriptAnswer)(int)(isArray ? result[0] : result);
        return new(
            answer,
            isArray && answer == ScriptAnswer.Written,
            answer == ScriptAnswer.LosesSubject ? (RedisValue)result[1] : RedisValue.Null
        );
    }
}
