-- Put between common.lua and the scripts that change leases after their grant, whose KEYS begin with epoch, leases, lease_ends,
-- gateways, rates. Leases and counters are read when they are first needed and written once, by `write_all`: a call of Redis
-- costs 2 to 4 us, a table 0.2.
local PART = 1000 -- Lua's stack bounds the arguments of one call

local function call_in_parts(command, key, arguments)
  for i = 1, #arguments, PART do redis.call(command, key, unpack(arguments, i, math.min(i + PART - 1, #arguments))) end
end

local function parse_lease(packed)
  local requests, prompt, completion, minute, day, ends, at = struct.unpack(LEASE, packed)
  local names = string.sub(packed, at)
  local rate, budget = string.match(names, '^([^|]*)|([^|]*)|')
  return { requests = requests, prompt = prompt, completion = completion, minute = minute, day = day, ends = ends, names = names,
    rate = rate, budget = budget, changed = false, closing = false, ended = false }
end

-- The leases with these ids that exist, by id.
local function read_leases(key, ids)
  local leases = {}
  for i = 1, #ids, PART do
    local last = math.min(i + PART - 1, #ids)
    local found = redis.call('HMGET', key, unpack(ids, i, last))
    for j = i, last do
      if found[j - i + 1] and not leases[ids[j]] then leases[ids[j]] = parse_lease(found[j - i + 1]) end
    end
  end
  return leases
end

local rates, budgets = {}, {} -- rates by name, false for one that is missing; budgets by key

local function parse_rate(packed)
  if not packed then return false end
  local upto, m, mr, mt, d, dr, dt, n, nr, nt = struct.unpack(RATE, packed)
  local rate = { upto = upto, m = m, mr = mr, mt = mt, d = d, dr = dr, dt = dt, n = n, nr = nr, nt = nt, changed = false }
  if rate.n <= rate.m then rate.n = 0 end
  return rate
end

local function pack_rate(rate)
  return struct.pack(RATE, rate.upto, rate.m, rate.mr, rate.mt, rate.d, rate.dr, rate.dt, rate.n, rate.nr, rate.nt)
end

-- Reads those that `rate_of` will return. `names`: a set.
local function read_rates(names)
  local list = {}
  for name in pairs(names) do list[#list + 1] = name end
  for i = 1, #list, PART do
    local last = math.min(i + PART - 1, #list)
    local found = redis.call('HMGET', KEYS[5], unpack(list, i, last))
    for j = i, last do rates[list[j]] = parse_rate(found[j - i + 1]) end
  end
end

local function rate_of(name)
  if rates[name] == nil then rates[name] = parse_rate(redis.call('HGET', KEYS[5], name)) end
  return rates[name]
end

local function budget_of(key)
  if not budgets[key] then
    local b = redis.call('HMGET', key, 'e', 'w', 'up', 'uc', 'hp', 'hc')
    for i = 2, 6 do b[i] = tonumber(b[i] or 0) end
    budgets[key] = { epoch = b[1], upto = b[2], used = { prompt = b[3], completion = b[4] }, held = { prompt = b[5], completion = b[6] } }
  end
  return budgets[key]
end

local function enter_windows(rate, now)
  if now.minute > rate.m then
    rate.mr, rate.mt = 0, 0
    if rate.n == now.minute then rate.mr, rate.mt = rate.nr, rate.nt end
    rate.m, rate.n = now.minute, 0
  end
  if now.day > rate.d then rate.d, rate.dr, rate.dt = now.day, 0, 0 end
end

-- `now`: minute and day; windows before them are over. `minute` and `day`: those of the amount; `requests` and `tokens` to add
-- (negative: to return); `overrun`: tokens that count now if that window is over, so that waiting does not wash an overrun
-- away.
local function charge_rate(name, sequence, now, minute, day, requests, tokens, overrun)
  local rate = rate_of(name)
  if not rate or sequence <= rate.upto then return end
  enter_windows(rate, now)
  if rate.m == minute then
    rate.mr, rate.mt = at_least_0(rate.mr + requests), at_least_0(rate.mt + tokens)
  elseif rate.n == minute then
    rate.nr, rate.nt = at_least_0(rate.nr + requests), at_least_0(rate.nt + tokens)
  else
    rate.mt = rate.mt + at_least_0(overrun)
  end
  if rate.d == day then
    rate.dr, rate.dt = at_least_0(rate.dr + requests), at_least_0(rate.dt + tokens)
  else
    rate.dt = rate.dt + at_least_0(overrun)
  end
  rate.changed = true
end

-- Takes up to `amount` of `field` out of what the lease holds, and out of what its budget holds. Returns the amount taken.
local function take(lease, epoch, field, amount)
  local held = lease[field]
  local taken = held < amount and held or amount
  if taken <= 0 then return 0 end
  lease[field] = held - taken
  if lease.budget ~= '' and field ~= 'requests' then
    local budget = budget_of(lease.budget)
    if budget.epoch == epoch then
      budget.held[field] = at_least_0(budget.held[field] - taken)
      budget.changed = true
    end
  end
  return taken
end

-- Ends a lease that no request has used or will use: all that it holds returns.
local function return_all(lease, epoch, now)
  lease.closing, lease.ended = true, true
  local requests = take(lease, epoch, 'requests', lease.requests)
  local tokens = take(lease, epoch, 'prompt', lease.prompt) + take(lease, epoch, 'completion', lease.completion)
  charge_rate(lease.rate, math.huge, now, lease.minute, lease.day, -requests, -tokens, 0)
end

-- Writes the counters and the leases.
local function write_all(leases)
  local changed = {}
  for name, rate in pairs(rates) do
    if rate and rate.changed then
      changed[#changed + 1] = name
      changed[#changed + 1] = pack_rate(rate)
    end
  end
  call_in_parts('HSET', KEYS[5], changed)
  for key, b in pairs(budgets) do
    if b.changed then
      redis.call('HSET', key, 'up', b.used.prompt, 'uc', b.used.completion, 'hp', b.held.prompt, 'hc', b.held.completion)
    end
  end
  local kept, ended, closed = {}, {}, {}
  for id, lease in pairs(leases) do
    if lease.closing then closed[#closed + 1] = id end
    if lease.ended then
      ended[#ended + 1] = id
    elseif lease.changed then
      kept[#kept + 1] = id
      kept[#kept + 1] = pack_lease(lease)
    end
  end
  call_in_parts('HSET', KEYS[2], kept)
  call_in_parts('HDEL', KEYS[2], ended)
  call_in_parts('ZREM', KEYS[3], closed)
end
