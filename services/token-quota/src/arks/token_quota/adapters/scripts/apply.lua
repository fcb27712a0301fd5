-- Brings the counters of a namespace forward by a run of ledger changes: settles leases, charges budgets.
-- KEYS: epoch, leases, lease_ends, gateways, rates, then the budget keys that the changes name
-- ARGV: 1 cursor before, 2 cursor after, 3 minute now, 4 day now, 5 in msgpack a list of: name of a gateway, complete until in ms;
--       6 in msgpack a list of the fields of each change: sequence, lease id, minute, day, requests, reserved prompt, reserved
--       completion, prompt, completion, closed, unused requests, unused prompt, unused completion, name of its rate ('': none),
--       index in KEYS of its budget (0: none)
-- Returns {-1, 0} when there is no epoch, {0, cursor} when another replica has moved on, {1, cursor after} when done.
local epoch = redis.call('HMGET', KEYS[1], 'id', 'cursor')
if not epoch[1] then return { -1, 0 } end
if epoch[2] ~= ARGV[1] then return { 0, tonumber(epoch[2]) } end
epoch = epoch[1]
local now = { minute = tonumber(ARGV[3]), day = tonumber(ARGV[4]) }
local gateways, changes = cmsgpack.unpack(ARGV[5]), cmsgpack.unpack(ARGV[6])
local FIELDS = 15

for i = 1, #gateways, 2 do
  local known = redis.call('HGET', KEYS[4], gateways[i])
  if not known or gateways[i + 1] > tonumber(known) then redis.call('HSET', KEYS[4], gateways[i], gateways[i + 1]) end
end
local ids = {}
for i = 2, #changes, FIELDS do
  if changes[i] ~= '' then ids[#ids + 1] = changes[i] end
end
local leases = read_leases(KEYS[2], ids)
local names = {}
for _, lease in pairs(leases) do names[lease.rate] = true end
for i = 1, #changes, FIELDS do
  if changes[i + 13] ~= '' and not leases[changes[i + 1]] then names[changes[i + 13]] = true end
end
read_rates(names)

-- Moves amounts out of what the lease holds: what the change at `i` settles is charged instead, what it returns is free again.
-- The counters contain exactly what leases hold, so no more than that is taken; requests beyond it are new to the counters.
local function settle(lease, i)
  local requests = take(lease, epoch, 'requests', changes[i + 4])
  local reserved = take(lease, epoch, 'prompt', changes[i + 5]) + take(lease, epoch, 'completion', changes[i + 6])
  local returned_requests, returned = 0, 0
  if changes[i + 9] then
    returned_requests = take(lease, epoch, 'requests', changes[i + 10])
    returned = take(lease, epoch, 'prompt', changes[i + 11]) + take(lease, epoch, 'completion', changes[i + 12])
    lease.ends, lease.closing = 0, true
  end
  if lease.ends == 0 and lease.requests == 0 then
    lease.ended = true
    returned = returned + take(lease, epoch, 'prompt', lease.prompt) + take(lease, epoch, 'completion', lease.completion)
  end
  lease.changed = true
  local difference = changes[i + 7] + changes[i + 8] - reserved
  charge_rate(lease.rate, changes[i], now, lease.minute, lease.day, changes[i + 4] - requests - returned_requests,
    difference - returned, difference)
end

local function charge_budget(key, sequence, prompt, completion)
  local budget = budget_of(key)
  if budget.epoch ~= epoch or sequence <= budget.upto then return end
  budget.used.prompt = at_least_0(budget.used.prompt + prompt)
  budget.used.completion = at_least_0(budget.used.completion + completion)
  budget.changed = true
end

for i = 1, #changes, FIELDS do
  local requests, prompt, completion = changes[i + 4], changes[i + 7], changes[i + 8]
  local rate, budget = changes[i + 13], changes[i + 14]
  local lease = leases[changes[i + 1]]
  if lease and not lease.ended then
    settle(lease, i)
  elseif rate ~= '' then
    -- A correction has no requests: what a long request took beyond the reservation that it was charged in between counts
    -- now, as it would have with its lease.
    local tokens = prompt + completion
    charge_rate(rate, changes[i], now, changes[i + 2], changes[i + 3], requests, tokens, requests == 0 and tokens or 0)
  end
  if budget > 0 then charge_budget(KEYS[budget], changes[i], prompt, completion) end
end
write_all(leases)
redis.call('HSET', KEYS[1], 'cursor', ARGV[2])
return { 1, tonumber(ARGV[2]) }
