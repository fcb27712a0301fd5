-- Leases, each for one request and for as much of the demand as limits have room for: the request against all of its rules or
-- nothing. The commands are decided one after the other; what they share is read and written once.
-- KEYS: epoch, leases, lease_ends, rates, then the budgets that the commands name
-- ARGV: 1 in msgpack a list of the fields of each command: lease id, minute, day, now in ms, gateway, prompt, completion, exact
--       (boolean), least completion, 9-11 demand of requests, prompt, completion in a second, 12-15 rpm rpd tpm tpd, 16-18
--       budget's prompt response total (-1: no limit), shortest, longest validity in ms, 21 in how many ms it begins, which is the
--       next minute's begin (0: now, in this minute), name of the rate, index in KEYS of its budget (0: none)
-- Returns for each command {2} when counters are missing, else {granted, completion, extra requests, extra prompt, extra
-- completion, validity in ms, minute requests, minute tokens, day requests, day tokens[, used prompt, used completion, held
-- prompt, held completion]}: of the minute in which the lease counts, before the request if it was refused (granted 0), after the
-- whole lease if granted is 1.
local FIELDS = 24
local MOST = 2 ^ 30
local commands = cmsgpack.unpack(ARGV[1])
local epoch = redis.call('HGET', KEYS[1], 'id')

local rates, budgets = {}, {} -- rates by name, budgets by key, false for one that is missing
local function read_rates()
  local names = {}
  for at = 1, #commands, FIELDS do names[#names + 1] = commands[at + 22] end
  local found = redis.call('HMGET', KEYS[4], unpack(names))
  for i, name in ipairs(names) do
    if found[i] and not rates[name] then rates[name] = { struct.unpack(RATE, found[i]) } end
  end
end

local function budget_of(key)
  if budgets[key] == nil then
    local b = redis.call('HMGET', key, 'e', 'up', 'uc', 'hp', 'hc')
    budgets[key] = b[1] == epoch
      and { up = tonumber(b[2]), uc = tonumber(b[3]), hp = tonumber(b[4]), hc = tonumber(b[5]) }
  end
  return budgets[key]
end

local changed_rates, changed_budgets, leases, ends_of_leases = {}, {}, {}, {}

-- Decides on the command whose fields begin at `at`.
local function grant(at)
  local r, budget, b = rates[commands[at + 22]], KEYS[commands[at + 23]], nil
  if not r then return { 2 } end
  if budget then
    b = budget_of(budget)
    if not b then return { 2 } end
  end

  local _, minute, mr, mt, day, dr, dt, following, nr, nt = unpack(r)
  local function enter(now)
    if now <= minute then return end
    minute, mr, mt = now, 0, 0
    if following == now then mr, mt = nr, nt end
  end
  local now_minute, now_day = commands[at + 1], commands[at + 2]
  enter(now_minute)
  local present, present_requests, present_tokens = minute, mr, mt
  local begins = commands[at + 21]
  local ahead = begins > 0 and minute == now_minute -- else the clock of another replica has entered that minute
  if ahead then enter(minute + 1) end
  if now_day > day then day, dr, dt = now_day, 0, 0 end
  local up, uc, hp, hc
  if b then up, uc, hp, hc = b.up, b.uc, b.hp, b.hc end

  local p, c = commands[at + 5], commands[at + 6]
  local least = commands[at + 7] and c or commands[at + 8]
  local fits = true
  -- One rule: `fixed` is what the request needs besides its completion.
  local function check(limit, used, fixed, counts_completion)
    if limit < 0 then return end
    local room = limit - used - fixed
    if counts_completion then
      if room < least then fits = false elseif room < c then c = room end
    elseif room < 0 then
      fits = false
    end
  end
  local rpm, rpd, tpm, tpd = unpack(commands, at + 12, at + 15)
  local most_prompt, most_completion, most_total = unpack(commands, at + 16, at + 18)
  check(rpm, mr, 1, false)
  check(rpd, dr, 1, false)
  check(tpm, mt, p, true)
  check(tpd, dt, p, true)
  if b then
    check(most_prompt, up + hp, p, false)
    check(most_completion, uc + hc, 0, true)
    check(most_total, up + uc + hp + hc, p, true)
  end
  if not fits then return { 0, c, 0, 0, 0, 0, mr, mt, dr, dt, up, uc, hp, hc } end

  -- One share of the whole demand, so that requests and tokens stay in proportion: an eighth of each rule's room at most. Where
  -- limits are `far` it is for as many seconds as take a 128th of each rule's room at most.
  local share, far = 1, math.huge
  local xr, xp, xc = unpack(commands, at + 9, at + 11)
  local function limit_share(limit, used, need)
    if limit < 0 or need == 0 then return end
    local room = at_least_0(limit - used)
    share = math.min(share, math.floor(room / 8) / need)
    far = math.min(far, math.floor(room / 128) / need)
  end
  local tokens = p + c
  local milliseconds, longest = commands[at + 19], commands[at + 20]
  if xr > 0 then
    limit_share(8 * MOST, 0, math.max(xp, xc))
    limit_share(rpm, mr + 1, xr)
    limit_share(rpd, dr + 1, xr)
    limit_share(tpm, mt + tokens, xp + xc)
    limit_share(tpd, dt + tokens, xp + xc)
    if b then
      limit_share(most_prompt, up + hp + p, xp)
      limit_share(most_completion, uc + hc + c, xc)
      limit_share(most_total, up + uc + hp + hc + tokens, xp + xc)
    end
  end
  if xr > 0 and far >= 1 then
    milliseconds = math.max(milliseconds, math.floor(math.min(longest, 1000 * far)))
    share = math.max(share, milliseconds / 1000)
  end
  xr, xp, xc = math.floor(xr * share), math.floor(xp * share), math.floor(xc * share)
  if xr == 0 or xp == 0 then xr, xp, xc = 0, 0, 0 end -- every request needs a token of prompt

  tokens = tokens + xp + xc
  mr, mt, dr, dt = mr + 1 + xr, mt + tokens, dr + 1 + xr, dt + tokens
  if ahead then
    r[2], r[3], r[4] = present, present_requests, present_tokens
    r[8], r[9], r[10] = minute, mr, mt
  else
    r[2], r[3], r[4] = minute, mr, mt
  end
  r[5], r[6], r[7] = day, dr, dt
  changed_rates[commands[at + 22]] = r
  if b then
    hp, hc = hp + p + xp, hc + c + xc
    b.hp, b.hc = hp, hc
    changed_budgets[budget] = b
  end
  local ends = commands[at + 3] + begins + milliseconds
  leases[#leases + 1] = commands[at]
  leases[#leases + 1] = pack_lease({ requests = 1 + xr, prompt = p + xp, completion = c + xc, minute = minute, day = day,
    ends = ends, names = table.concat({ commands[at + 22], budget or '', commands[at + 4] }, '|') })
  ends_of_leases[#ends_of_leases + 1] = string.format('%.0f', ends)
  ends_of_leases[#ends_of_leases + 1] = commands[at]
  return { 1, c, xr, xp, xc, milliseconds, mr, mt, dr, dt, up, uc, hp, hc }
end

local function write_all()
  if #leases == 0 then return end
  local changed = {}
  for name, r in pairs(changed_rates) do
    changed[#changed + 1] = name
    changed[#changed + 1] = struct.pack(RATE, unpack(r, 1, 10))
  end
  redis.call('HSET', KEYS[4], unpack(changed))
  for key, b in pairs(changed_budgets) do redis.call('HSET', key, 'hp', b.hp, 'hc', b.hc) end
  redis.call('HSET', KEYS[2], unpack(leases))
  redis.call('ZADD', KEYS[3], unpack(ends_of_leases))
end

if epoch then read_rates() end
local results = {}
for at = 1, #commands, FIELDS do results[#results + 1] = grant(at) end
write_all()
return results
