-- Makes a missing budget's counter from sums of the ledger.
-- KEYS: epoch, budget. ARGV: 1 epoch id, 2 last ledger change that the numbers contain, 3 when it expires, in ms,
-- then fields and values
-- Returns 1 when the counter is there, 0 when the numbers are too old by now (read the ledger again).
local epoch = redis.call('HMGET', KEYS[1], 'id', 'cursor')
if epoch[1] ~= ARGV[1] or tonumber(epoch[2]) > tonumber(ARGV[2]) then return 0 end
if redis.call('HGET', KEYS[2], 'e') == epoch[1] then return 1 end
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[2], 'e', epoch[1], 'w', ARGV[2], unpack(ARGV, 4))
redis.call('PEXPIREAT', KEYS[2], ARGV[3])
return 1
