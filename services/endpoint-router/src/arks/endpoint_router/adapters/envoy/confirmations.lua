---- Confirmations
--
-- A lease counts by itself for HOLD_MILLISECONDS after its query. One that is valid for longer counts after that while
-- `/v1/changes` confirms once in the same time that nothing has ended it.

local CONFIRM_MILLISECONDS = 300 -- so long before it has to, one request confirms all leases

local function new_confirmations()
  return {
    sent = 0, life = NONE, -- of the last answer
    round = 0, -- leases of an earlier round have ended
    busy_until = 0, -- when the query in flight has ended at the latest
    retry_at = 0, -- after a query without an answer
  }
end

local function is_confirmed(confirmations, lease, now)
  if lease.round ~= confirmations.round then return false end
  return is_valid(lease.sent + HOLD_MILLISECONDS, now, HOLD_MILLISECONDS)
    or is_valid(confirmations.sent + HOLD_MILLISECONDS, now, HOLD_MILLISECONDS)
end

-- Whether a request should query `/v1/changes` before it uses the account's lease: because the lease does not count
-- without, or ahead of that, while other requests still pass.
local function needs_confirmation(confirmations, account, now)
  local lease = account.lease
  if not lease or now >= lease.stop or lease.stop - lease.sent <= HOLD_MILLISECONDS then return false end
  if lease.round ~= confirmations.round or is_valid(confirmations.retry_at, now, HOLD_MILLISECONDS) then return false end
  if not is_confirmed(confirmations, lease, now) then return true end
  local known = max(lease.sent, confirmations.sent) + HOLD_MILLISECONDS
  if known - now > CONFIRM_MILLISECONDS or lease.stop <= known then return false end
  return not is_valid(confirmations.busy_until, now, ADMISSION_MILLISECONDS)
end

-- Begins a query of `/v1/changes`: the value of `x-arks-since`. A clock that was set back shows no time.
local function begin_confirmation(confirmations, now)
  confirmations.busy_until = now + ADMISSION_MILLISECONDS
  local since = now - confirmations.sent
  return format("%.0f", since < 0 and COUNT_LIMIT or min(since, COUNT_LIMIT))
end

-- Ends the leases of `accounts` with one of these subjects.
local function end_leases(accounts, ended)
  for _, generation in ipairs({ accounts.young, accounts.old }) do
    for _, account in pairs(generation) do
      local namespace, endpoint, token = match(account.subject or "", "^([^/]+)/([^/]+)/([^/]+)$")
      if token and (ended["namespace:" .. namespace] or ended["token:" .. namespace .. "/" .. token]
        or ended["endpoint:" .. namespace .. "/" .. endpoint]) then
        account.lease = nil
      end
    end
  end
end

-- Takes the answer to a query that was `sent`: `life`, and what has `ended`: `-`, `*` or subjects with spaces between
-- them. Without an answer (`life` is nil) requests query admission for a while, as token-quota may be away.
local function confirm(confirmations, accounts, sent, now, life, ended)
  confirmations.busy_until = 0
  if not life or not ended then
    confirmations.retry_at = now + HOLD_MILLISECONDS
    return
  end
  if life ~= confirmations.life or ended == "*" then
    confirmations.round = confirmations.round + 1
  elseif ended ~= NONE then
    local subjects = {}
    for subject in gmatch(ended, "%S+") do subjects[subject] = true end
    end_leases(accounts, subjects)
  end
  confirmations.life, confirmations.sent = life, sent
end
