---- Leases
--
-- What a worker keeps between requests. An account belongs to one key and model: its lease, what it admitted lately,
-- and how it passes an outage of token-quota. No function reads a clock: `now` is in milliseconds since the epoch.

local floor, ceil, max, min = math.floor, math.ceil, math.max, math.min

local ADMISSION_MILLISECONDS = 2000 -- a longer query of token-quota has failed
local LEASE_MILLISECONDS = 1000 -- the longest validity of a lease, and of an answer that is repeated
local OUTAGE_MILLISECONDS = 600000 -- the longest time for which the last failure policy counts
local WINDOW_MILLISECONDS = 100 -- demand is never derived from a shorter time: a burst is no rate
local DEMAND_LIMIT, COUNT_LIMIT = 4096, 2147483647
local DEMAND_MARGIN = 1.25
local BYTES_A_TOKEN = 4
local KEYS_LIMIT, BYTES_LIMIT = 10000, 4194304
local TEXT_BYTES = 2048 -- a longer rejection is not repeated

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

---- Answers of token-quota, read

-- {subject, lease, prompt, completion} of `x-arks-grant`, or nil. The subject is `<namespace>/<endpoint>/<token>`.
local function parse_grant(text)
  local subject, lease, prompt, completion =
    match(text or "", "^([^/%c]+/[^/%c]+/[^/%c]+)/([0-9a-z-]+)/(%d+)/(%d+)$")
  if not subject or #prompt > 10 or #completion > 10 then return nil end
  return { subject = subject, lease = lease, prompt = tonumber(prompt), completion = tonumber(completion) }
end

-- {requests, prompt, completion, milliseconds, default} of `x-arks-lease`, or nil.
local function parse_lease(text)
  local parts = { match(text or "", "^(%d+),(%d+),(%d+),(%d+),(%d+)$") }
  if #parts ~= 5 or #text > 54 then return nil end
  for i = 1, 5 do parts[i] = tonumber(parts[i]) end
  return {
    requests = parts[1], prompt = parts[2], completion = parts[3], default = parts[5],
    milliseconds = min(parts[4], LEASE_MILLISECONDS),
  }
end

local SCOPES = { key = true, model = true, size = true }

-- Milliseconds and scope of `x-arks-refusal`, or nil.
local function parse_refusal(text)
  local milliseconds, scope = match(text or "", "^(%d+),(%l+)$")
  if not SCOPES[scope] or #milliseconds > 10 then return nil end
  return min(tonumber(milliseconds), LEASE_MILLISECONDS), scope
end

---- One request

-- The tokens that a request from a lease reserves, and the completion that it needs at least, by which rejections are
-- repeated: token-quota reserves less for a request without `max_tokens` when limits are nearly used up. The
-- reservation is the rule of `estimate.py`; its completion is nil without a default.
local function estimate(operation, request, bytes, default)
  local prompt, answers = max(1, ceil(bytes / BYTES_A_TOKEN)), request.answers or 1
  if operation == "embeddings" then return prompt, 0, 0 end
  if request.max_tokens then
    local completion = min(request.max_tokens * answers, COUNT_LIMIT)
    return prompt, completion, completion
  end
  return prompt, default and min(default * answers, COUNT_LIMIT), answers
end

---- Accounts

local function new_account()
  return {
    lease = nil, busy_until = 0, -- when the query with a demand that is in flight has ended at the latest
    since = 0, stop = 0, requests = 0, prompt = 0, completion = 0, -- admitted since the last demand
    outage = nil, granted = 0, subject = nil, cluster = nil, default = nil, -- of the last grant
  }
end

local function count(account, prompt, completion)
  account.requests = account.requests + 1
  account.prompt, account.completion = account.prompt + prompt, account.completion + completion
end

-- Takes a request from the account's lease: the lease, or nil if it has ended or has not enough.
local function take(account, now, prompt, completion)
  local lease = account.lease
  if not lease or not is_valid(lease.stop, now, LEASE_MILLISECONDS) then return nil end
  if lease.requests < 1 or lease.prompt < prompt or lease.completion < completion then return nil end
  lease.requests, lease.prompt = lease.requests - 1, lease.prompt - prompt
  lease.completion = lease.completion - completion
  count(account, prompt, completion)
  return lease
end

-- What the account will need in the next second besides this request: what it admitted since the last demand, scaled to
-- a second, and a quarter more; at least twice the lease if that was used up early.
local function demand(account, now)
  local window = max(min(now, account.stop) - account.since, WINDOW_MILLISECONDS)
  local requests = floor(account.requests * 1000 / window * DEMAND_MARGIN + 0.5) - 1
  local lease, known = account.lease, max(account.requests, 1)
  local early = lease and is_valid(lease.stop, now, LEASE_MILLISECONDS)
  if early then requests = max(requests, 2 * lease.granted.requests) end
  requests = max(0, min(requests, DEMAND_LIMIT))
  local prompt, completion = account.prompt / known * requests, account.completion / known * requests
  if early then
    prompt, completion = max(prompt, 2 * lease.granted.prompt), max(completion, 2 * lease.granted.completion)
  end
  return requests, min(ceil(prompt), COUNT_LIMIT), min(ceil(completion), COUNT_LIMIT)
end

-- Begins a query: the value of `x-arks-demand`, and whether this query demands more than its request. One at a time
-- does, for ADMISSION_MILLISECONDS at most, because a query whose client hangs up never returns.
local function begin_query(account, now)
  if not account or is_valid(account.busy_until, now, ADMISSION_MILLISECONDS) then return "0,0,0", false end
  local text = format("%.0f,%.0f,%.0f", demand(account, now))
  account.busy_until, account.since = now + ADMISSION_MILLISECONDS, now
  account.requests, account.prompt, account.completion = 0, 0, 0
  return text, true
end

-- Ends the query with a demand that was `sent`.
local function end_query(account, sent)
  if account.busy_until == sent + ADMISSION_MILLISECONDS then account.busy_until = 0 end
end

-- Keeps what a grant brings; its lease begins when the query was `sent`. Returns the lease, and its line for the starts
-- file: "" if the request was admitted without counters.
local function accept(account, sent, now, grant, cluster, amount, limits)
  account.subject, account.cluster, account.default, account.granted = grant.subject, cluster, amount.default, now
  count(account, grant.prompt, grant.completion)
  local stop, with_lease = sent + amount.milliseconds, grant.subject .. "/" .. grant.lease
  local lease = {
    id = grant.lease, grant = with_lease, cluster = cluster, limits = limits, stop = stop, granted = amount,
    requests = amount.requests, prompt = amount.prompt, completion = amount.completion,
  }
  if grant.lease == "-" then return lease, "" end
  account.stop = max(account.stop, stop)
  if amount.requests > 0 then account.lease = lease end
  local prompt, completion = amount.prompt + grant.prompt, amount.completion + grant.completion
  local line = "L\t%s\t%.0f\t%.0f\t%.0f\t%.0f\t%s\n"
  return lease, format(line, grant.lease, stop, amount.requests + 1, prompt, completion, grant.subject)
end

-- Stands for a lease when a request passes without counters; nil if the last failure policy does not want that.
local function outage_lease(account, now)
  if not account or account.outage ~= "pass" then return nil end
  if not is_valid(account.granted + OUTAGE_MILLISECONDS, now, OUTAGE_MILLISECONDS) then return nil end
  return { id = "-", grant = account.subject .. "/-", cluster = account.cluster }
end

---- Rejections that are repeated

-- Keeps an answer {headers, text} for the key, or for the key and model.
local function hold(rejections, key, now, milliseconds, answer, prompt, completion)
  if #answer.text > TEXT_BYTES or milliseconds < 1 then return end
  local stop = now + milliseconds
  put(rejections, key, { stop = stop, answer = answer, prompt = prompt or 0, completion = completion or 0 })
end

-- The answer to repeat to a request that needs so many tokens, or nil.
local function held_answer(rejections, key, now, prompt, completion)
  local held = get(rejections, key)
  if not held or not is_valid(held.stop, now, LEASE_MILLISECONDS) then return nil end
  return prompt >= held.prompt and completion >= held.completion and held.answer or nil
end

---- The starts file

-- The file at `path`; it is opened again each second, so that it may be renamed.
local function new_starts(path)
  return { path = path, file = nil, opened = 0, damaged = false }
end

-- Appends whole lines by one write(2). False if they may not be in the file; then the rest of the line is made invalid.
local function append(starts, text, now)
  if not starts.file or not is_valid(starts.opened + 1000, now, 1000) then
    if starts.file then starts.file:close() end
    starts.file, starts.opened = io.open(starts.path, "a"), now
    if not starts.file then return false end
    starts.file:setvbuf("no")
  end
  local written = starts.file:write(starts.damaged and "\t?\n" .. text or text)
  starts.damaged = not written
  return written and true or false
end
