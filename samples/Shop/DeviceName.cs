namespace Shop;

/// <summary>What a browser says of itself, as people say it. Whatever it is that it says: the devices page encodes it.</summary>
internal static class DeviceName
{
    private static readonly (string Sign, string Name)[] Browsers =
    [
        ("Edg/", "Edge"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
    ];

    private static readonly (string Sign, string Name)[] Systems =
    [
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Android", "Android"),
        ("Windows", "Windows"),
        ("Macintosh", "Mac"),
        ("Linux", "Linux"),
    ];

    public static string Of(HttpRequest request)
    {
        var said = request.Headers.UserAgent.ToString();
        var (browser, system) = (Find(Browsers, said), Find(Systems, said));
        return (browser, system) switch
        {
            ({ } b, { } s) => $"{b} on {s}",
            ({ } b, null) => b,
            (null, { } s) => s,
            _ => said.Length > 60 ? said[..60] : said,
        };
    }

    private static string? Find((string Sign, string Name)[] known, string said) =>
        known.FirstOrDefault(it => said.Contains(it.Sign, StringComparison.Ordinal)).Name;
}
