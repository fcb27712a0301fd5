-- Put in front of the other scripts. All keys of a call lie in one namespace and so in one hash slot.
--
-- epoch       hash  id: which life of the counters this is; cursor: the last ledger change that they contain
-- leases      hash  lease id -> requests|prompt|completion|minute|day|end in ms (0: closed)|rate key|budget key|gateway
--                   The amounts are held: reserved, and neither charged nor returned.
-- lease_ends  zset  lease id -> end in ms, of leases that are not closed
-- gateways    hash  gateway -> time in ms until which it has reported its leases
-- rate        hash  e epoch, w last ledger change when it was made, m minute, mr mt its requests and tokens, d dr dt the day's,
--                   n nr nt those of the minute after it, while leases are held for it (a minute not later than m: none)
-- budget      hash  e, w as above, up uc used prompt and completion tokens, hp hc held by leases

-- Never below 0: what is subtracted may have been forgotten with its counter.
local function at_least_0(number) return number > 0 and number or 0 end

local function pack_lease(lease)
  return table.concat({ lease.requests, lease.prompt, lease.completion, lease.minute, lease.day, lease.ends, lease.rate,
    lease.budget, lease.gateway }, '|')
end
