using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;

namespace Snippets;

/// <summary>What docs/QUICK-START.md shows beside its program.</summary>
public static class QuickStartSnippets
{
    public sealed record Visit(int Clicks);

    public static void Redis(WebApplicationBuilder builder)
    {
        builder.Services.AddSession<Visit>().UseRedis("localhost:6379");
    }
}
