-- wrk: each request with the next of the cookies in the file that the environment names (none: no cookie).
local cookies = {}
local file = os.getenv("BENCH_COOKIES")
if file then
  for line in io.lines(file) do cookies[#cookies + 1] = line end
end
local next = 0
request = function()
  if #cookies > 0 then
    next = next % #cookies + 1
    return wrk.format(nil, nil, { ["Cookie"] = cookies[next] })
  end
  return wrk.format()
end
