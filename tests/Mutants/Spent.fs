/// Where the time of a run goes. The workers' times are summed up: two that wait for one second have waited two.
module Mutants.Spent

open System
open System.Collections.Concurrent
open System.Diagnostics

let private sums = ConcurrentDictionary<string, int * float>()

let add (what: string) (seconds: float) =
    sums.AddOrUpdate(what, (1, seconds), (fun _ (count, sum) -> count + 1, sum + seconds)) |> ignore

let on (what: string) (act: unit -> 'a) : 'a =
    let clock = Stopwatch.StartNew()

    try
        act ()
    finally
        add what clock.Elapsed.TotalSeconds

/// The dearest first.
let table () =
    let all = sums |> Seq.map (fun it -> it.Key, it.Value) |> List.ofSeq |> List.sortByDescending (snd >> snd)
    let whole = all |> List.sumBy (snd >> snd) |> max 0.001

    [ $"""{"where the time went", -58}{"times", 8}{"seconds", 10}{"each", 8}{"of all", 8}"""
      for what, (count, sum) in all do
          $"{what, -58}{count, 8}{sum, 10:F1}{sum / float count, 8:F2}{100.0 * sum / whole, 7:F0}%%" ]
