-- Begins the life of a namespace's counters unless they live already. Leases and rates belong to one life.
-- KEYS: epoch, leases, lease_ends, gateways, rates, then keys that an earlier release wrote
-- ARGV: 1 new epoch id, 2 cursor: last ledger change, 3 epoch id to replace ('': none), 4 for how many seconds to keep keys of
--       an earlier release, whose processes may still run
-- Returns {epoch id, cursor}.
local id = redis.call('HGET', KEYS[1], 'id')
if not id or (ARGV[3] ~= '' and id == ARGV[3]) then
  redis.call('HSET', KEYS[1], 'id', ARGV[1], 'cursor', ARGV[2])
  redis.call('UNLINK', KEYS[2], KEYS[3], KEYS[4], KEYS[5])
  for i = 6, #KEYS do redis.call('EXPIRE', KEYS[i], ARGV[4]) end
end
return redis.call('HMGET', KEYS[1], 'id', 'cursor')
