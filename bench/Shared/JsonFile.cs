using System.Text.Json;
using System.Text.Json.Serialization;

namespace Bench.Shared;

/// <summary>All raw figures of a run: what text and charts are made of, now or later.</summary>
public static class JsonFile
{
    private static readonly JsonSerializerOptions s_json = new(JsonSerializerDefaults.Web)
    {
        WriteIndented = true,
        Converters = { new JsonStringEnumConverter() },
    };

    public static T Read<T>(string file) => JsonSerializer.Deserialize<T>(File.ReadAllText(file), s_json)!;

    public static void Write<T>(string file, T figures) =>
        File.WriteAllText(file, JsonSerializer.Serialize(figures, s_json) + "\n");
}
