-- Takes a place for the mailbox of a user who was never seen. There is a limited number of places in a namespace.
--
-- KEYS[1] the users that have a place, a sorted set by its expiry (ms), which is infinite if mailboxes have no age
-- ARGV    user, time for which the place is taken (ms; 0: until it is removed), number of places
-- Returns 1 if the user has a place now.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local age = tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%d', now))
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[3]) then return 0 end
redis.call('ZADD', KEYS[1], age > 0 and string.format('%d', now + age) or '+inf', ARGV[1])
if age > 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) else redis.call('PERSIST', KEYS[1]) end
return 1
