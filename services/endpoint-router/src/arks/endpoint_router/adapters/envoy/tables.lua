---- Tables
--
-- What a worker keeps between requests, bounded and valid for a time. No function reads a clock: `now` is in
-- milliseconds since the epoch.

local ADMISSION_MILLISECONDS = 2000 -- a longer query of token-quota has failed
local HOLD_MILLISECONDS = 1000 -- the longest time for which an answer of token-quota counts by itself
local KEYS_LIMIT, BYTES_LIMIT = 10000, 4194304
local COUNT_LIMIT = 2147483647
local NONE = "-"
local GATEWAY_TOKEN = os.getenv("ARKS_GATEWAY_TOKEN") -- nil: token-quota's address shows who calls

-- A table of at most two generations of `keys_limit` keys and `bytes_limit` bytes of keys. The older one is dropped
-- when the younger one is full; a key that is read moves to the younger one.
local function new_table(keys_limit, bytes_limit)
  return {
    young = {}, old = {}, count = 0, bytes = 0,
    keys_limit = keys_limit or KEYS_LIMIT, bytes_limit = bytes_limit or BYTES_LIMIT,
  }
end

local function put(t, key, value)
  if t.young[key] == nil then
    if t.count >= t.keys_limit or (t.count > 0 and t.bytes + #key > t.bytes_limit) then
      t.old, t.young, t.count, t.bytes = t.young, {}, 0, 0
    end
    t.count, t.bytes = t.count + 1, t.bytes + #key
  end
  t.young[key] = value
end

local function get(t, key)
  local value = t.young[key]
  if value == nil then
    value = t.old[key]
    if value ~= nil then put(t, key, value) end
  end
  return value
end

-- Whether `now` is in the `milliseconds` before `stop`. A clock that was set back ends every validity.
local function is_valid(stop, now, milliseconds)
  return now < stop and stop - now <= milliseconds
end
