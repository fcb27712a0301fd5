-- Begins the life of a namespace's counters unless they live already.
-- KEYS: epoch. ARGV: 1 new epoch id, 2 cursor: last ledger entry, 3 epoch id to replace ('': none)
-- Returns {epoch id, cursor}.
local id = redis.call('HGET', KEYS[1], 'id')
if not id or (ARGV[3] ~= '' and id == ARGV[3]) then
  redis.call('HSET', KEYS[1], 'id', ARGV[1], 'cursor', ARGV[2])
end
return redis.call('HMGET', KEYS[1], 'id', 'cursor')
