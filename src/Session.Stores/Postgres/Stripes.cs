namespace Session.Stores.Postgres;

/// <summary>Which row of the table of the locks a subject has.</summary>
internal static class Stripes
{
    /// <summary>How many there are: two subjects rarely wait for each other.</summary>
    public const int Count = 1024;

    /// <summary>FNV-1a over the bytes of the subject: the same on every node.</summary>
    public static int Of(byte[] subject)
    {
        var hash = 2166136261u;
        foreach (var one in subject)
            hash = (hash ^ one) * 16777619u;
        return (int)(hash % Count);
    }
}
