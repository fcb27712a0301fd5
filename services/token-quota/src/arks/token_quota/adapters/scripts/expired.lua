-- Reservations whose deadline has passed, oldest first; they stay until the ledger has charged them.
-- KEYS: reservations, deadlines. ARGV: 1 now in milliseconds, 2 how many at most
-- Returns request id, reservation, request id, reservation ...
local found = {}
for _, id in ipairs(redis.call('ZRANGE', KEYS[2], '-inf', ARGV[1], 'BYSCORE', 'LIMIT', 0, ARGV[2])) do
  local packed = redis.call('HGET', KEYS[1], id)
  if packed then
    found[#found + 1] = id
    found[#found + 1] = packed
  else
    redis.call('ZREM', KEYS[2], id)
  end
end
return found
