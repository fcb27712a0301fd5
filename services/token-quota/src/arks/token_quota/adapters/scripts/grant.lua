-- A lease for one request and for as much of the demand as limits have room for: the request against all of its rules or
-- nothing.
-- KEYS: epoch, leases, lease_ends, rates[, budget]
-- ARGV: 1 lease id, 2 minute, 3 day, 4 now in ms, 5 gateway, 6 prompt, 7 completion, 8 exact (1/0), 9 least completion,
--       10-12 demand of requests, prompt, completion in a second, 13-16 rpm rpd tpm tpd, 17-19 budget's prompt response total
--       (-1: no limit), 20 shortest, 21 longest validity in ms, 22 in how many ms it begins, which is the next minute's begin
--       (0: now, in this minute), 23 name of the rate
-- Returns {2} when counters are missing, else {granted, completion, extra requests, extra prompt, extra completion, validity in
-- ms, minute requests, minute tokens, day requests, day tokens[, used prompt, used completion, held prompt, held completion]}:
-- of the minute in which the lease counts, before the request if it was refused (granted 0), after the whole lease if granted is 1.
local epoch = redis.call('HGET', KEYS[1], 'id')
local r = redis.call('HGET', KEYS[4], ARGV[23])
if not epoch or not r then return { 2 } end
r = { struct.unpack(RATE, r) }
local budget = KEYS[5]
local b
if budget then
  b = redis.call('HMGET', budget, 'e', 'up', 'uc', 'hp', 'hc')
  if b[1] ~= epoch then return { 2 } end
end

local _, minute, mr, mt, day, dr, dt, following, nr, nt = unpack(r)
local function enter(now)
  if now <= minute then return end
  minute, mr, mt = now, 0, 0
  if following == now then mr, mt = nr, nt end
end
enter(tonumber(ARGV[2]))
r[2], r[3], r[4] = minute, mr, mt
local begins = tonumber(ARGV[22])
local ahead = begins > 0 and minute == tonumber(ARGV[2]) -- else the clock of another replica has entered that minute
if ahead then enter(minute + 1) end
if tonumber(ARGV[3]) > day then day, dr, dt = tonumber(ARGV[3]), 0, 0 end
local up, uc, hp, hc
if budget then up, uc, hp, hc = tonumber(b[2]), tonumber(b[3]), tonumber(b[4]), tonumber(b[5]) end

local p, c = tonumber(ARGV[6]), tonumber(ARGV[7])
local exact = ARGV[8] == '1'
local least = exact and c or tonumber(ARGV[9])
local fits = true
-- One rule: `fixed` is what the request needs besides its completion.
local function check(limit, used, fixed, counts_completion)
  limit = tonumber(limit)
  if limit < 0 then return end
  local room = limit - used - fixed
  if counts_completion then
    if room < least then fits = false elseif room < c then c = room end
  elseif room < 0 then
    fits = false
  end
end
check(ARGV[13], mr, 1, false)
check(ARGV[14], dr, 1, false)
check(ARGV[15], mt, p, true)
check(ARGV[16], dt, p, true)
if budget then
  check(ARGV[17], up + hp, p, false)
  check(ARGV[18], uc + hc, 0, true)
  check(ARGV[19], up + uc + hp + hc, p, true)
end
if not fits then return { 0, c, 0, 0, 0, 0, mr, mt, dr, dt, up, uc, hp, hc } end

-- One share of the whole demand, so that requests and tokens stay in proportion: an eighth of each rule's room at most. Where
-- limits are `far` it is for as many seconds as take a 128th of each rule's room at most.
local MOST = 2 ^ 30
local share, far = 1, math.huge
local xr, xp, xc = tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[12])
local function limit_share(limit, used, need)
  limit = tonumber(limit)
  if limit < 0 or need == 0 then return end
  local room = at_least_0(limit - used)
  share = math.min(share, math.floor(room / 8) / need)
  far = math.min(far, math.floor(room / 128) / need)
end
local tokens = p + c
local shortest, longest = tonumber(ARGV[20]), tonumber(ARGV[21])
local milliseconds = shortest
if xr > 0 then
  limit_share(8 * MOST, 0, math.max(xp, xc))
  limit_share(ARGV[13], mr + 1, xr)
  limit_share(ARGV[14], dr + 1, xr)
  limit_share(ARGV[15], mt + tokens, xp + xc)
  limit_share(ARGV[16], dt + tokens, xp + xc)
  if budget then
    limit_share(ARGV[17], up + hp + p, xp)
    limit_share(ARGV[18], uc + hc + c, xc)
    limit_share(ARGV[19], up + uc + hp + hc + tokens, xp + xc)
  end
end
if xr > 0 and far >= 1 then
  milliseconds = math.max(shortest, math.floor(math.min(longest, 1000 * far)))
  share = math.max(share, milliseconds / 1000)
end
xr, xp, xc = math.floor(xr * share), math.floor(xp * share), math.floor(xc * share)
if xr == 0 or xp == 0 then xr, xp, xc = 0, 0, 0 end -- every request needs a token of prompt

tokens = tokens + xp + xc
mr, mt, dr, dt = mr + 1 + xr, mt + tokens, dr + 1 + xr, dt + tokens
local at = ahead and 8 or 2
r[at], r[at + 1], r[at + 2] = minute, mr, mt
r[5], r[6], r[7] = day, dr, dt
redis.call('HSET', KEYS[4], ARGV[23], struct.pack(RATE, unpack(r, 1, 10)))
if budget then
  hp, hc = hp + p + xp, hc + c + xc
  redis.call('HSET', budget, 'hp', hp, 'hc', hc)
end
local ends = tonumber(ARGV[4]) + begins + milliseconds
local lease = pack_lease({ requests = 1 + xr, prompt = p + xp, completion = c + xc, minute = minute, day = day, ends = ends,
  names = table.concat({ ARGV[23], budget or '', ARGV[5] }, '|') })
redis.call('HSET', KEYS[2], ARGV[1], lease)
redis.call('ZADD', KEYS[3], string.format('%.0f', ends), ARGV[1])
return { 1, c, xr, xp, xc, milliseconds, mr, mt, dr, dt, up, uc, hp, hc }
