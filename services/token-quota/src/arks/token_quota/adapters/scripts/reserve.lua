-- One request against all of its rules: all of them or none.
-- KEYS: epoch, reservations, deadlines, rate[, budget]
-- ARGV: 1 request id, 2 minute, 3 day, 4 deadline, 5 prompt, 6 completion, 7 exact (1/0), 8 least completion,
--       9-12 rpm rpd tpm tpd, 13-15 budget's prompt response total (-1: no limit), 16 rest of the reservation
-- Returns {2} when counters are missing, else {granted, completion, minute requests, minute tokens, day requests,
-- day tokens[, used prompt, used completion, held prompt, held completion]}: before the request if it was refused (granted 0),
-- after it if granted is 1.
local epoch = redis.call('HGET', KEYS[1], 'id')
local r = redis.call('HMGET', KEYS[4], 'e', 'm', 'mr', 'mt', 'd', 'dr', 'dt')
if not epoch or r[1] ~= epoch then return { 2 } end
local budget = KEYS[5]
local b
if budget then
  b = redis.call('HMGET', budget, 'e', 'up', 'uc', 'hp', 'hc')
  if b[1] ~= epoch then return { 2 } end
end

local minute, day = tonumber(r[2]), tonumber(r[5])
local mr, mt, dr, dt = tonumber(r[3]), tonumber(r[4]), tonumber(r[6]), tonumber(r[7])
local new_day = false
if tonumber(ARGV[2]) > minute then minute, mr, mt = tonumber(ARGV[2]), 0, 0 end
if tonumber(ARGV[3]) > day then day, dr, dt, new_day = tonumber(ARGV[3]), 0, 0, true end

local p, c = tonumber(ARGV[5]), tonumber(ARGV[6])
local exact = ARGV[7] == '1'
local least = exact and c or tonumber(ARGV[8])
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
check(ARGV[9], mr, 1, false)
check(ARGV[10], dr, 1, false)
check(ARGV[11], mt, p, true)
check(ARGV[12], dt, p, true)
local up, uc, hp, hc
if budget then
  up, uc, hp, hc = tonumber(b[2]), tonumber(b[3]), tonumber(b[4]), tonumber(b[5])
  check(ARGV[13], up + hp, p, false)
  check(ARGV[14], uc + hc, 0, true)
  check(ARGV[15], up + uc + hp + hc, p, true)
end

local granted = 0
if fits then
  granted = 1
  local packed = c .. '|' .. p .. '|' .. minute .. '|' .. day .. '|' .. KEYS[4] .. '|' .. (budget or '') .. '|' .. ARGV[16]
  if redis.call('HSETNX', KEYS[2], ARGV[1], packed) == 1 then
    redis.call('ZADD', KEYS[3], ARGV[4], ARGV[1])
    mr, mt, dr, dt = mr + 1, mt + p + c, dr + 1, dt + p + c
    redis.call('HSET', KEYS[4], 'm', minute, 'mr', mr, 'mt', mt, 'd', day, 'dr', dr, 'dt', dt)
    if new_day then redis.call('EXPIRE', KEYS[4], 259200) end
    if budget then
      hp, hc = redis.call('HINCRBY', budget, 'hp', p), redis.call('HINCRBY', budget, 'hc', c)
    end
  else
    -- The same call came before and its answer was lost: it has its reservation.
    c = unpack_reservation(redis.call('HGET', KEYS[2], ARGV[1])).c
  end
end
return { granted, c, mr, mt, dr, dt, up, uc, hp, hc }
