-- Put in front of the other scripts. All keys of a call lie in one namespace and so in one hash slot.
--
-- epoch       hash  id: which life of the counters this is; cursor: the last ledger change that they contain
-- leases      hash  lease id -> requests|prompt|completion|minute|day|end in ms (0: closed)|rate key|budget key|gateway
--                   The amounts are held: reserved, and neither charged nor returned.
-- lease_ends  zset  lease id -> end in ms, of leases that are not closed
-- gateways    hash  gateway -> time in ms until which it has reported its leases
-- rate        hash  e epoch, w last ledger change when it was made, m minute, mr mt its requests and tokens, d dr dt the day's
-- budget      hash  e, w as above, up uc used prompt and completion tokens, hp hc held by leases

local function read_lease(leases, id)
  local packed = id ~= '' and redis.call('HGET', leases, id)
  if not packed then return nil end
  local r, p, c, m, d, ends, rate, budget, gateway =
    string.match(packed, '^(%d+)|(%d+)|(%d+)|(%d+)|(%d+)|(%d+)|([^|]*)|([^|]*)|(.*)$')
  return { requests = tonumber(r), prompt = tonumber(p), completion = tonumber(c), minute = tonumber(m), day = tonumber(d),
    ends = ends, rate = rate, budget = budget, gateway = gateway,
    taken = { requests = 0, prompt = 0, completion = 0 } }
end

local function write_lease(leases, id, lease)
  local packed = { lease.requests, lease.prompt, lease.completion, lease.minute, lease.day, lease.ends, lease.rate, lease.budget,
    lease.gateway }
  redis.call('HSET', leases, id, table.concat(packed, '|'))
end

-- Never below 0: what is subtracted may have been forgotten with its counter.
local function at_least_0(number) return number > 0 and number or 0 end

-- Changes a rate counter. `amount`: minute and day that it belongs to; requests and tokens to add (negative: to return);
-- overrun: tokens that count now if that window is over, so that waiting does not wash an overrun away.
local function charge_rate(key, epoch, sequence, now_minute, now_day, amount)
  local r = redis.call('HMGET', key, 'e', 'w', 'm', 'mr', 'mt', 'd', 'dr', 'dt')
  if r[1] ~= epoch or sequence <= tonumber(r[2]) then return end
  local function charge(window, requests, tokens, now, belongs)
    window, requests, tokens = tonumber(window), tonumber(requests), tonumber(tokens)
    if now > window then window, requests, tokens = now, 0, 0 end
    if window == belongs then return window, at_least_0(requests + amount.requests), at_least_0(tokens + amount.tokens) end
    return window, requests, tokens + at_least_0(amount.overrun)
  end
  local m, mr, mt = charge(r[3], r[4], r[5], now_minute, amount.minute)
  local d, dr, dt = charge(r[6], r[7], r[8], now_day, amount.day)
  redis.call('HSET', key, 'm', m, 'mr', mr, 'mt', mt, 'd', d, 'dr', dr, 'dt', dt)
end

-- Takes up to `amount` out of what the lease holds. Returns the amount taken.
local function take(lease, field, amount)
  local taken = math.min(lease[field], amount)
  lease[field] = lease[field] - taken
  lease.taken[field] = lease.taken[field] + taken
  return taken
end

-- Frees of the lease's budget what was taken out of the lease.
local function release_budget(lease)
  if lease.budget == '' then return end
  local held = redis.call('HMGET', lease.budget, 'hp', 'hc')
  if not held[1] then return end
  redis.call('HSET', lease.budget, 'hp', at_least_0(tonumber(held[1]) - lease.taken.prompt),
    'hc', at_least_0(tonumber(held[2]) - lease.taken.completion))
end
