using Session.Engine;

namespace Session.Stores;

/// <summary>Pages of a server that is asked for one record more than the page holds: if it is there, another page follows.</summary>
internal static class Paging
{
    /// <summary>How many records to ask for.</summary>
    public static int OneMoreThan(int limit) => limit == int.MaxValue ? limit : limit + 1;

    /// <summary>The page of the records that were found, of which there may be one too many.</summary>
    public static StoredPage Page(List<StoredRecord> found, int limit)
    {
        if (found.Count <= limit)
            return new StoredPage(found, null);

        found.RemoveRange(limit, found.Count - limit);
        return new StoredPage(found, found[^1].Id);
    }
}
