-- Reports how many connections users have on one server, and renews its lease.
--
-- KEYS[1] the servers, a sorted set by the end of their leases (ms)
-- KEYS[2] the users of this server, a hash of their connections. It also has an empty field, so that it exists without users.
-- ARGV    server, its lease (ms), `new` if this begins a complete report or otherwise empty, then users and their connections;
--         0: none is left
-- Returns 1 if Redis had the users of this server before, and otherwise 0: they have to be reported again, all of them.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local known = redis.call('EXISTS', KEYS[2])
if ARGV[3] == 'new' then redis.call('DEL', KEYS[2]) end
redis.call('HSET', KEYS[2], '', '0')
for index = 4, #ARGV, 2 do
  if ARGV[index + 1] == '0' then redis.call('HDEL', KEYS[2], ARGV[index])
  else redis.call('HSET', KEYS[2], ARGV[index], ARGV[index + 1]) end
end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%d', now))
-- A lease that ends so late is from before the clock went back. The server renews it if it is still there.
redis.call('ZREMRANGEBYSCORE', KEYS[1], string.format('%d', now + 10 * tonumber(ARGV[2])), '+inf')
redis.call('ZADD', KEYS[1], string.format('%d', now + tonumber(ARGV[2])), ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return known
