-- Put between common.lua and the scripts that change leases after their grant. Leases and counters are read when they are
-- first needed and written once, by `write_all`: a call of Redis costs 2 to 4 us, a table 0.1.
local PART = 1000 -- Lua's stack bounds the arguments of one call

local function call_in_parts(command, key, arguments)
  for i = 1, #arguments, PART do redis.call(command, key, unpack(arguments, i, math.min(i + PART - 1, #arguments))) end
end

local function parse_lease(packed)
  local r, p, c, m, d, ends, rate, budget, gateway =
    string.match(packed, '^(%d+)|(%d+)|(%d+)|(%d+)|(%d+)|(%d+)|([^|]*)|([^|]*)|(.*)$')
  return { requests = tonumber(r), prompt = tonumber(p), completion = tonumber(c), minute = tonumber(m), day = tonumber(d),
    ends = tonumber(ends), rate = rate, budget = budget, gateway = gateway }
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

local rates, budgets = {}, {} -- by key
local NO_WINDOW = { at = -1, requests = 0, tokens = 0 }

local function rate_of(key)
  if not rates[key] then
    local r = redis.call('HMGET', key, 'e', 'w', 'm', 'mr', 'mt', 'd', 'dr', 'dt', 'n', 'nr', 'nt')
    for i = 2, 11 do r[i] = tonumber(r[i] or 0) end
    rates[key] = { epoch = r[1], upto = r[2], minute = { at = r[3], requests = r[4], tokens = r[5] },
      day = { at = r[6], requests = r[7], tokens = r[8] },
      following = r[9] > r[3] and { at = r[9], requests = r[10], tokens = r[11] } or NO_WINDOW }
  end
  return rates[key]
end

local function budget_of(key)
  if not budgets[key] then
    local b = redis.call('HMGET', key, 'e', 'w', 'up', 'uc', 'hp', 'hc')
    for i = 2, 6 do b[i] = tonumber(b[i] or 0) end
    budgets[key] = { epoch = b[1], upto = b[2], used = { prompt = b[3], completion = b[4] }, held = { prompt = b[5], completion = b[6] } }
  end
  return budgets[key]
end

local function add(window, amount)
  window.requests, window.tokens = at_least_0(window.requests + amount.requests), at_least_0(window.tokens + amount.tokens)
end

local function enter_minute(rate, now)
  if now <= rate.minute.at then return end
  rate.minute = rate.following.at == now and rate.following or { at = now, requests = 0, tokens = 0 }
  rate.following = NO_WINDOW
end

-- `now`: minute and day; windows before them are over. `amount`: minute and day that it belongs to; requests and tokens to
-- add (negative: to return); overrun: tokens that count now if that window is over, so that waiting does not wash an overrun
-- away.
local function charge_rate(key, epoch, sequence, now, amount)
  local rate = rate_of(key)
  if rate.epoch ~= epoch or sequence <= rate.upto then return end
  enter_minute(rate, now.minute)
  if now.day > rate.day.at then rate.day = { at = now.day, requests = 0, tokens = 0 } end
  for _, name in ipairs({ 'minute', 'day' }) do
    local window = rate[name]
    if window.at == amount[name] then
      add(window, amount)
    elseif name == 'minute' and rate.following.at == amount.minute then
      add(rate.following, amount)
      rate.following.changed = true
    else
      window.tokens = window.tokens + at_least_0(amount.overrun)
    end
  end
  rate.changed = true
end

-- Takes up to `amount` of `field` out of what the lease holds, and out of what its budget holds. Returns the amount taken.
local function take(lease, epoch, field, amount)
  local taken = math.min(lease[field], amount)
  lease[field] = lease[field] - taken
  if taken > 0 and lease.budget ~= '' and field ~= 'requests' then
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
  charge_rate(lease.rate, epoch, math.huge, now,
    { minute = lease.minute, day = lease.day, requests = -requests, tokens = -tokens, overrun = 0 })
end

-- Writes the counters and the leases.
local function write_all(leases_key, ends_key, leases)
  for key, r in pairs(rates) do
    if r.changed then
      redis.call('HSET', key, 'm', r.minute.at, 'mr', r.minute.requests, 'mt', r.minute.tokens,
        'd', r.day.at, 'dr', r.day.requests, 'dt', r.day.tokens)
      local following = r.following
      if following.changed then
        redis.call('HSET', key, 'n', following.at, 'nr', following.requests, 'nt', following.tokens)
      end
    end
  end
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
  call_in_parts('HSET', leases_key, kept)
  call_in_parts('HDEL', leases_key, ended)
  call_in_parts('ZREM', ends_key, closed)
end
