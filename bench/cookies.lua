-- wrk: each request with the next of the cookies in the file that BENCH_COOKIES names (none: no cookie); the sum as one line of JSON.
local requests = {}
local last = 0

-- Made once: what is left for each request is to pick the next.
init = function()
  local file = os.getenv("BENCH_COOKIES")
  if file then
    for line in io.lines(file) do
      requests[#requests + 1] = wrk.format(nil, nil, { ["Cookie"] = line })
    end
  end
  if #requests == 0 then requests[1] = wrk.format() end
end

request = function()
  last = last % #requests + 1
  return requests[last]
end

done = function(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '{"requests":%d,"microseconds":%d,"p50":%d,"p99":%d,"refused":%d,"socketErrors":%d,"timeouts":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.status, e.connect + e.read + e.write, e.timeout))
end
