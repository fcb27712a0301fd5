-- Makes a missing rate from sums of the ledger.
-- KEYS: epoch, rates. ARGV: 1 epoch id, 2 last ledger change that the numbers contain, 3 name of the rate, 4 minute, its requests,
-- its tokens, 7 day, its requests, its tokens
-- Returns 1 when the rate is there, 0 when the numbers are too old by now (read the ledger again).
local epoch = redis.call('HMGET', KEYS[1], 'id', 'cursor')
if epoch[1] ~= ARGV[1] or tonumber(epoch[2]) > tonumber(ARGV[2]) then return 0 end
local rate = { tonumber(ARGV[2]) }
for i = 4, 9 do rate[#rate + 1] = tonumber(ARGV[i]) end
for _ = 1, 3 do rate[#rate + 1] = 0 end -- no leases for the minute after it
redis.call('HSETNX', KEYS[2], ARGV[3], struct.pack(RATE, unpack(rate)))
return 1
