-- Brings the counters of a namespace forward by a run of ledger changes: settles leases, charges budgets.
-- KEYS: epoch, leases, lease_ends, gateways, then the rate and budget keys that the changes name
-- ARGV: 1 cursor before, 2 cursor after, 3 minute now, 4 day now, 5 number of gateways, then for each gateway: name, complete
--       until in ms; then for each change: sequence, lease id, minute, day, requests, reserved prompt, reserved completion,
--       prompt, completion, closed (1/0), unused requests, unused prompt, unused completion, index in KEYS of its rate, of its
--       budget (0: none)
-- Returns {-1, 0} when there is no epoch, {0, cursor} when another replica has moved on, {1, cursor after} when done.
local epoch = redis.call('HMGET', KEYS[1], 'id', 'cursor')
if not epoch[1] then return { -1, 0 } end
if epoch[2] ~= ARGV[1] then return { 0, tonumber(epoch[2]) } end
epoch = epoch[1]
local now = { minute = tonumber(ARGV[3]), day = tonumber(ARGV[4]) }
local FIELDS, first = 15, 6 + 2 * tonumber(ARGV[5])

for i = 6, first - 1, 2 do
  local known = redis.call('HGET', KEYS[4], ARGV[i])
  if not known or tonumber(ARGV[i + 1]) > tonumber(known) then redis.call('HSET', KEYS[4], ARGV[i], ARGV[i + 1]) end
end
local ids = {}
for i = first + 1, #ARGV, FIELDS do
  if ARGV[i] ~= '' then ids[#ids + 1] = ARGV[i] end
end
local leases = read_leases(KEYS[2], ids)

-- Moves amounts out of what the lease holds: what `change` settles is charged instead, what it returns is free again.
-- The counters contain exactly what leases hold, so no more than that is taken; requests beyond it are new to the counters.
local function settle(lease, change)
  local requests = take(lease, epoch, 'requests', change.requests)
  local reserved = take(lease, epoch, 'prompt', change.reserved_prompt)
    + take(lease, epoch, 'completion', change.reserved_completion)
  local returned_requests = take(lease, epoch, 'requests', change.unused_requests)
  local returned = take(lease, epoch, 'prompt', change.unused_prompt)
    + take(lease, epoch, 'completion', change.unused_completion)
  if change.closed and lease.ends > 0 then lease.ends, lease.closing = 0, true end
  if lease.ends == 0 and lease.requests == 0 then
    lease.ended = true
    returned = returned + take(lease, epoch, 'prompt', lease.prompt) + take(lease, epoch, 'completion', lease.completion)
  end
  lease.changed = true
  local difference = change.prompt + change.completion - reserved
  charge_rate(lease.rate, epoch, change.sequence, now, { minute = lease.minute, day = lease.day,
    requests = change.requests - requests - returned_requests, tokens = difference - returned, overrun = difference })
end

local function charge_budget(key, change)
  local budget = budget_of(key)
  if budget.epoch ~= epoch or change.sequence <= budget.upto then return end
  budget.used.prompt = at_least_0(budget.used.prompt + change.prompt)
  budget.used.completion = at_least_0(budget.used.completion + change.completion)
  budget.changed = true
end

for i = first, #ARGV, FIELDS do
  local change = {
    sequence = tonumber(ARGV[i]), minute = tonumber(ARGV[i + 2]), day = tonumber(ARGV[i + 3]), requests = tonumber(ARGV[i + 4]),
    reserved_prompt = tonumber(ARGV[i + 5]), reserved_completion = tonumber(ARGV[i + 6]),
    prompt = tonumber(ARGV[i + 7]), completion = tonumber(ARGV[i + 8]), closed = ARGV[i + 9] == '1',
    unused_requests = tonumber(ARGV[i + 10]), unused_prompt = tonumber(ARGV[i + 11]), unused_completion = tonumber(ARGV[i + 12]),
  }
  local rate, budget = tonumber(ARGV[i + 13]), tonumber(ARGV[i + 14])
  local lease = leases[ARGV[i + 1]]
  if lease and not lease.ended then
    settle(lease, change)
  elseif rate > 0 then
    -- A correction has no requests: what a long request took beyond the reservation that it was charged in between counts
    -- now, as it would have with its lease.
    local tokens = change.prompt + change.completion
    charge_rate(KEYS[rate], epoch, change.sequence, now, { minute = change.minute, day = change.day,
      requests = change.requests, tokens = tokens, overrun = change.requests == 0 and tokens or 0 })
  end
  if budget > 0 then charge_budget(KEYS[budget], change) end
end
write_all(KEYS[2], KEYS[3], leases)
redis.call('HSET', KEYS[1], 'cursor', ARGV[2])
return { 1, tonumber(ARGV[2]) }
