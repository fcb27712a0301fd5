-- Returns what lost leases hold. Leases wait for their gateway's report, so a caller goes on where the last call stopped.
-- KEYS: epoch, leases, lease_ends, gateways
-- ARGV: 1 newest end in ms to look at, 2 minute now, 3 day now, 4 end before which a lease is lost whatever its gateway
--       reports, 5 by how many ms a gateway's report has to be later than the end, 6 how many leases to skip, 7 how many to
--       look at
-- Returns {number of leases looked at, number of lost ones}.
local epoch = redis.call('HGET', KEYS[1], 'id')
if not epoch then return { 0, 0 } end
local ids = redis.call('ZRANGE', KEYS[3], '-inf', ARGV[1], 'BYSCORE', 'LIMIT', ARGV[6], ARGV[7])
local now = { minute = tonumber(ARGV[2]), day = tonumber(ARGV[3]) }
local oldest, margin = tonumber(ARGV[4]), tonumber(ARGV[5])
local leases = read_leases(KEYS[2], ids)
local reported = {}
local function reported_until(gateway)
  if not reported[gateway] then reported[gateway] = tonumber(redis.call('HGET', KEYS[4], gateway) or 0) end
  return reported[gateway]
end

local lost = 0
for _, id in ipairs(ids) do
  local lease = leases[id]
  local gateway = string.match(lease.names, '^[^|]*|[^|]*|(.*)$')
  if lease.ends < oldest or reported_until(gateway) > lease.ends + margin then
    lost = lost + 1
    return_all(lease, epoch, now)
  end
end
write_all(KEYS[2], KEYS[3], leases)
return { #ids, lost }
