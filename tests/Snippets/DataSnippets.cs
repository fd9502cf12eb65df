using System.Text.Json.Serialization;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;

namespace Snippets;

/// <summary>What docs/DATA.md shows of C#, word by word.</summary>
public static class DataSnippets
{
    public sealed record Line(string Sku, int Quantity, decimal Price);

    public sealed class Basket
    {
        public List<Line> Lines { get; } = []; // without a setter: it is filled
        public required string? Coupon { get; set; } // null comes back as null
        public string? Theme { get; init; } = "dark"; // also over a default

        [JsonIgnore]
        public decimal Total => Lines.Sum(line => line.Price * line.Quantity); // need not come back
    }

    public static void Upcasters(WebApplicationBuilder builder)
    {
        builder.Services.AddSession<Basket>(o =>
        {
            o.DataVersion = 2;
            o.Upcasters[1] = json =>
            {
                json["coupon"] = null;
                return json;
            };
        });
    }
}
