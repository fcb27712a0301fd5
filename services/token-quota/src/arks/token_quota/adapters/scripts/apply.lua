-- Brings the counters of a namespace forward by a run of ledger entries: settles reservations, charges budgets.
-- KEYS: epoch, reservations, deadlines, then the rate and budget keys that the entries name
-- ARGV: 1 cursor before, 2 cursor after, 3 minute now, 4 day now, then for each entry: request id, sequence, minute, day,
--       requests, prompt, completion, index in KEYS of its rate, of its budget (0: none)
-- Returns {-1, 0} when there is no epoch, {0, cursor} when another replica has moved on, {1, cursor after} when done.
local epoch = redis.call('HMGET', KEYS[1], 'id', 'cursor')
if not epoch[1] then return { -1, 0 } end
if epoch[2] ~= ARGV[1] then return { 0, tonumber(epoch[2]) } end
local now_minute, now_day = tonumber(ARGV[3]), tonumber(ARGV[4])

local function charge_window(key, fields, window, requests, tokens, late)
  if fields.now == window then
    if requests > 0 then redis.call('HINCRBY', key, fields.requests, requests) end
    if tokens < 0 then lower(key, fields.tokens, -tokens) elseif tokens > 0 then redis.call('HINCRBY', key, fields.tokens, tokens) end
  elseif late and tokens > 0 then
    -- Its window is over: what it took beyond its reservation counts now, so that waiting does not wash an overrun away.
    redis.call('HINCRBY', key, fields.tokens, tokens)
  end
end

local function charge_rate(key, sequence, minute, day, requests, tokens, late)
  local r = redis.call('HMGET', key, 'e', 'w', 'm', 'd')
  if r[1] ~= epoch[1] or sequence <= tonumber(r[2]) then return end
  local m, d = tonumber(r[3]), tonumber(r[4])
  if now_minute > m then m = now_minute; redis.call('HSET', key, 'm', m, 'mr', 0, 'mt', 0) end
  if now_day > d then d = now_day; redis.call('HSET', key, 'd', d, 'dr', 0, 'dt', 0) end
  charge_window(key, { now = m, requests = 'mr', tokens = 'mt' }, minute, requests, tokens, late)
  charge_window(key, { now = d, requests = 'dr', tokens = 'dt' }, day, requests, tokens, late)
end

for i = 5, #ARGV, 9 do
  local sequence = tonumber(ARGV[i + 1])
  local prompt, completion = tonumber(ARGV[i + 5]), tonumber(ARGV[i + 6])
  local reserved = take(KEYS[2], KEYS[3], ARGV[i])
  if reserved then
    -- The request itself was counted when it was admitted.
    local difference = prompt + completion - reserved.p - reserved.c
    charge_rate(reserved.rate, sequence, reserved.m, reserved.d, 0, difference, true)
  else
    charge_rate(KEYS[tonumber(ARGV[i + 7])], sequence, tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3]), tonumber(ARGV[i + 4]),
      prompt + completion, false)
  end
  local at = tonumber(ARGV[i + 8])
  if at > 0 then
    local b = redis.call('HMGET', KEYS[at], 'e', 'w')
    if b[1] == epoch[1] and sequence > tonumber(b[2]) then
      redis.call('HINCRBY', KEYS[at], 'up', prompt)
      redis.call('HINCRBY', KEYS[at], 'uc', completion)
    end
  end
end
redis.call('HSET', KEYS[1], 'cursor', ARGV[2])
return { 1, tonumber(ARGV[2]) }
