-- Returns what lost leases hold. Leases wait for their gateway's report, so a caller goes on where the last call stopped.
-- KEYS: epoch, leases, lease_ends, gateways
-- ARGV: 1 newest end in ms to look at, 2 minute now, 3 day now, 4 end before which a lease is lost whatever its gateway
--       reports, 5 by how many ms a gateway's report has to be later than the end, 6 how many leases to skip, 7 how many to
--       look at
-- Returns {number of leases looked at, number of lost ones}.
local epoch = redis.call('HGET', KEYS[1], 'id')
if not epoch then return { 0, 0 } end
local ids = redis.call('ZRANGE', KEYS[3], '-inf', ARGV[1], 'BYSCORE', 'LIMIT', ARGV[6], ARGV[7])
local now_minute, now_day = tonumber(ARGV[2]), tonumber(ARGV[3])
local oldest, margin = tonumber(ARGV[4]), tonumber(ARGV[5])
local reported = {}
local function reported_until(gateway)
  if not reported[gateway] then reported[gateway] = tonumber(redis.call('HGET', KEYS[4], gateway) or 0) end
  return reported[gateway]
end

local lost = 0
for _, id in ipairs(ids) do
  local lease = read_lease(KEYS[2], id)
  local ends = lease and tonumber(lease.ends)
  if not lease or ends < oldest or reported_until(lease.gateway) > ends + margin then
    lost = lost + 1
    redis.call('ZREM', KEYS[3], id)
    redis.call('HDEL', KEYS[2], id)
    if lease then
      local requests = take(lease, 'requests', lease.requests)
      local tokens = take(lease, 'prompt', lease.prompt) + take(lease, 'completion', lease.completion)
      release_budget(lease)
      charge_rate(lease.rate, epoch, math.huge, now_minute, now_day,
        { minute = lease.minute, day = lease.day, requests = -requests, tokens = -tokens, overrun = 0 })
    end
  end
end
return { #ids, lost }
