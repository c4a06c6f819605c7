-- Reads on which servers a user has connections, and how many.
--
-- KEYS[1] as in connections_sync.lua. The users of a server are in the same slot, below this key.
-- ARGV    user
-- Returns {server, connections, …}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local found = {}
for _, server in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], string.format('%d', now), '+inf')) do
  local connections = redis.call('HGET', KEYS[1] .. ':of:' .. server, ARGV[1])
  if connections then found[#found + 1], found[#found + 2] = server, connections end
end
return found
