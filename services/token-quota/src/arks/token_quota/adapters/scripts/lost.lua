-- Returns what lost leases hold, and forgets some of the rates that were not used for days. Leases wait for their gateway's
-- report, so a caller goes on where the last call stopped.
-- KEYS: epoch, leases, lease_ends, gateways, rates
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
write_all(leases)

-- A part of them in each call: fields of a hash have no expiry of their own.
local scanned = redis.call('HSCAN', KEYS[5], redis.call('HGET', KEYS[1], 'scanned') or '0', 'COUNT', 100)
local old = {}
for i = 1, #scanned[2], 2 do
  if parse_rate(scanned[2][i + 1]).d < now.day - 2 then old[#old + 1] = scanned[2][i] end
end
call_in_parts('HDEL', KEYS[5], old)
redis.call('HSET', KEYS[1], 'scanned', scanned[1])
return { #ids, lost }
