-- Takes reservations back as if their requests had never been: they were refused after all, or charged without them.
-- KEYS: reservations, deadlines. ARGV: request ids
local function give_back(key, window, at, requests, count, tokens, by)
  if tonumber(redis.call('HGET', key, window) or -1) == at then
    lower(key, requests, count)
    lower(key, tokens, by)
  end
end
for _, id in ipairs(ARGV) do
  local reserved = take(KEYS[1], KEYS[2], id)
  if reserved then
    give_back(reserved.rate, 'm', reserved.m, 'mr', 1, 'mt', reserved.p + reserved.c)
    give_back(reserved.rate, 'd', reserved.d, 'dr', 1, 'dt', reserved.p + reserved.c)
  end
end
return #ARGV
