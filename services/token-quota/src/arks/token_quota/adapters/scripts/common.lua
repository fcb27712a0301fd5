-- Put in front of the other scripts. All keys of a call lie in one namespace and so in one hash slot.
--
-- epoch       hash  id: which life of the counters this is; cursor: the last ledger change that they contain
-- leases      hash  lease id -> in struct's LEASE, then rate|budget key|gateway. The amounts are held: reserved, and neither
--                   charged nor returned. The end is 0 once it is closed.
-- lease_ends  zset  lease id -> end in ms, of leases that are not closed
-- gateways    hash  gateway -> time in ms until which it has reported its leases
-- rates       hash  token/endpoint -> in struct's RATE. One hash, because a call that reads or writes a thousand fields costs as
--                   much as three that read one.
-- budget      hash  e epoch, w last ledger change when it was made, up uc used prompt and completion tokens, hp hc held by leases

-- Formats of struct, which neither prints nor parses numbers: with them a change costs half.
local LEASE = '<dddddd' -- requests, prompt, completion, minute, day, end in ms
local RATE = '<dddddddddd' -- the last ledger change when it was made, a minute, its requests and tokens, a day, its requests and
-- tokens, another minute, its requests and tokens: of the minute after the first, while leases are held for it (a minute not
-- later than the first: none)

-- Never below 0: what is subtracted may have been forgotten with its counter.
local function at_least_0(number) return number > 0 and number or 0 end

local function pack_lease(lease)
  return struct.pack(LEASE, lease.requests, lease.prompt, lease.completion, lease.minute, lease.day, lease.ends) .. lease.names
end
