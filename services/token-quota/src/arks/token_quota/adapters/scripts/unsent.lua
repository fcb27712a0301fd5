-- Returns what a lease holds whose answer was not sent.
-- KEYS: epoch, leases, lease_ends, gateways, rates
-- ARGV: 1 lease id, 2 minute now, 3 day now
-- Returns 1, or 0 if there is no such lease.
local epoch = redis.call('HGET', KEYS[1], 'id')
local leases = read_leases(KEYS[2], { ARGV[1] })
local lease = leases[ARGV[1]]
if not epoch or not lease then return 0 end
return_all(lease, epoch, { minute = tonumber(ARGV[2]), day = tonumber(ARGV[3]) })
write_all(leases)
return 1
