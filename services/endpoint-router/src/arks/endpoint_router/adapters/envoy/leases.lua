---- Leases
--
-- An account belongs to one key and model: its lease, what it admitted lately, and how it passes an outage of
-- token-quota.

local LEASE_MILLISECONDS = 15000 -- the longest validity of a lease
local OUTAGE_MILLISECONDS = 600000 -- the longest time for which the last failure policy counts
local WINDOW_MILLISECONDS = 100 -- demand is never derived from a shorter time: a burst is no rate
local DEMAND_LIMIT = 4096
local FIRST_DEMAND = "1,0,0" -- token-quota knows what a request reserves
local DEMAND_MARGIN = 1.25
-- Renewal ahead: one request queries the next lease while the others still pass from the present one. A small lease is
-- of a key whose next request seldom comes during a query.
local AHEAD_MILLISECONDS, AHEAD_PART, AHEAD_REQUESTS = 100, 16, 16
local TEXT_BYTES = 2048 -- a longer rejection is not repeated

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

-- A model's name that may stand in a body as it is, or nil.
local function read_name(text)
  return match(text or "", "^[%w._:/@-]+$")
end

local SCOPES = { key = true, model = true, size = true }

-- Milliseconds and scope of `x-arks-refusal`, or nil.
local function parse_refusal(text)
  local milliseconds, scope = match(text or "", "^(%d+),(%l+)$")
  if not SCOPES[scope] or #milliseconds > 10 then return nil end
  return min(tonumber(milliseconds), HOLD_MILLISECONDS), scope
end

---- One request

-- The tokens that a request from a lease reserves, and the completion that it needs at least, by which rejections are
-- repeated: token-quota reserves less for a request without `max_tokens` when limits are nearly used up. The
-- reservation is the rule of `estimate.py`; its completion is nil without a default.
local function estimate(operation, request, default)
  local prompt, answers = max(1, ceil(request.bytes / BYTES_A_TOKEN)), request.answers or 1
  if operation == "embeddings" then return prompt, 0, 0 end
  if request.max_tokens then
    local completion = min(request.max_tokens * answers, COUNT_LIMIT)
    return prompt, completion, completion
  end
  return prompt, default and min(default * answers, COUNT_LIMIT), answers
end

---- Accounts

local function new_account(confirmations)
  return {
    confirmations = confirmations, lease = nil, busy_until = 0, -- when the query with a demand that is in flight has ended at the latest
    since = 0, stop = 0, requests = 0, prompt = 0, completion = 0, -- admitted since the last demand
    outage = nil, granted = 0, subject = nil, cluster = nil, default = nil, -- of the last grant
    engine_model = nil, unsupported = nil,
  }
end

local function count(account, prompt, completion)
  account.requests = account.requests + 1
  account.prompt, account.completion = account.prompt + prompt, account.completion + completion
end

-- Whether the engines keep all that a request uses. `uses` is nil for nearly all requests.
local function keeps(account, uses)
  local unsupported = uses and account and account.unsupported
  if not unsupported then return true end
  for use in gmatch(uses, "[^,]+") do
    if find("," .. unsupported .. ",", "," .. use .. ",", 1, true) then return false end
  end
  return true
end

-- Takes a request from the account's lease: the lease, or nil if it has ended or has not enough.
local function take(account, now, prompt, completion)
  local lease = account.lease
  if not lease or not is_valid(lease.stop, now, LEASE_MILLISECONDS) then return nil end
  if not is_confirmed(account.confirmations, lease, now) then return nil end
  if lease.requests < 1 or lease.prompt < prompt or lease.completion < completion then return nil end
  lease.requests, lease.prompt = lease.requests - 1, lease.prompt - prompt
  lease.completion = lease.completion - completion
  count(account, prompt, completion)
  return lease
end

-- Whether a request should query the next lease although the present one has enough for it.
local function renews(account, now)
  local lease = account.lease
  if not lease or not lease.ahead or now >= lease.stop then return false end
  if is_valid(account.busy_until, now, ADMISSION_MILLISECONDS) then return false end
  local ahead = lease.ahead
  return now >= lease.stop - AHEAD_MILLISECONDS or lease.requests < ahead.requests
    or lease.prompt < ahead.prompt or lease.completion < ahead.completion
end

-- What the account will need in a second besides this request: what it admitted since the last demand, scaled to
-- a second, and a quarter more; at least twice the lease if that was used up early. Never 0: token-quota gives a small
-- demand more where limits are far.
local function demand(account, now)
  local window = max(min(now, account.stop) - account.since, WINDOW_MILLISECONDS)
  local requests = floor(account.requests * 1000 / window * DEMAND_MARGIN + 0.5) - 1
  local lease, known = account.lease, max(account.requests, 1)
  local early = lease and is_valid(lease.stop - AHEAD_MILLISECONDS, now, LEASE_MILLISECONDS)
    and is_confirmed(account.confirmations, lease, now)
  local twice = early and 2 * HOLD_MILLISECONDS / max(lease.granted.milliseconds, HOLD_MILLISECONDS)
  if early then requests = max(requests, floor(twice * lease.granted.requests)) end
  requests = max(1, min(requests, DEMAND_LIMIT))
  local prompt, completion = account.prompt / known * requests, account.completion / known * requests
  if early then
    prompt, completion = max(prompt, twice * lease.granted.prompt), max(completion, twice * lease.granted.completion)
  end
  return requests, min(ceil(prompt), COUNT_LIMIT), min(ceil(completion), COUNT_LIMIT)
end

-- Begins a query: the value of `x-arks-demand`, and whether `end_query` has to end it. One query at a time demands more
-- than its request, for ADMISSION_MILLISECONDS at most, because a query whose client hangs up never returns.
local function begin_query(account, now)
  if not account then return FIRST_DEMAND, false end
  if is_valid(account.busy_until, now, ADMISSION_MILLISECONDS) then return "0,0,0", false end
  local text = format("%.0f,%.0f,%.0f", demand(account, now))
  account.busy_until, account.since = now + ADMISSION_MILLISECONDS, now
  if account.lease then account.lease.ahead = nil end
  account.requests, account.prompt, account.completion = 0, 0, 0
  return text, true
end

-- Ends the query with a demand that was `sent`.
local function end_query(account, sent)
  if account.busy_until == sent + ADMISSION_MILLISECONDS then account.busy_until = 0 end
end

-- Amounts below which a lease is renewed ahead; nil: it is not.
local function ahead_of(amount)
  if amount.requests < AHEAD_REQUESTS or amount.milliseconds < 2 * AHEAD_MILLISECONDS then return nil end
  return {
    requests = amount.requests / AHEAD_PART, prompt = amount.prompt / AHEAD_PART,
    completion = amount.completion / AHEAD_PART,
  }
end

-- Keeps what a grant brings; its lease begins when the query was `sent`. Returns the lease, and its line for the starts
-- file: "" if the request was admitted without counters.
local function accept(account, sent, now, grant, cluster, amount, limits)
  account.subject, account.cluster, account.default, account.granted = grant.subject, cluster, amount.default, now
  count(account, grant.prompt, grant.completion)
  local stop, with_lease = sent + amount.milliseconds, grant.subject .. "/" .. grant.lease
  local lease = {
    id = grant.lease, grant = with_lease, cluster = cluster, limits = limits, engine_model = account.engine_model,
    sent = sent, stop = stop, round = account.confirmations.round, granted = amount, ahead = ahead_of(amount),
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
  return { id = "-", grant = account.subject .. "/-", cluster = account.cluster, engine_model = account.engine_model }
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
  if not held or not is_valid(held.stop, now, HOLD_MILLISECONDS) then return nil end
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
