-- Put in front of the other scripts. All keys of a call lie in one namespace and so in one hash slot.
--
-- epoch         hash    id: which life of the counters this is; cursor: the last ledger entry that they contain
-- reservations  hash    request id -> completion|prompt|minute|day|rate key|budget key|started|token|endpoint|operation|quota
-- deadlines     zset    request id -> when its reservation becomes a charge, in milliseconds
-- rate          hash    e epoch, w last ledger entry when it was made, m minute, mr mt its requests and tokens, d dr dt the day's
-- budget        hash    e, w as above, up uc used prompt and completion tokens, hp hc held by reservations

local function lower(key, field, by)
  -- Never below 0: what is held may have been forgotten with its counter.
  if redis.call('HINCRBY', key, field, -by) < 0 then redis.call('HSET', key, field, 0) end
end

local function unpack_reservation(packed)
  local c, p, m, d, rate, budget = string.match(packed, '^(%d+)|(%d+)|(%d+)|(%d+)|([^|]*)|([^|]*)|')
  return { c = tonumber(c), p = tonumber(p), m = tonumber(m), d = tonumber(d), rate = rate, budget = budget }
end

-- Ends a reservation: what it held of the budget is free again. Returns it, or nil when there was none.
local function take(reservations, deadlines, id)
  local packed = redis.call('HGET', reservations, id)
  if not packed then return nil end
  redis.call('HDEL', reservations, id)
  redis.call('ZREM', deadlines, id)
  local reserved = unpack_reservation(packed)
  if reserved.budget ~= '' and redis.call('EXISTS', reserved.budget) == 1 then
    lower(reserved.budget, 'hp', reserved.p)
    lower(reserved.budget, 'hc', reserved.c)
  end
  return reserved
end
