-- Makes a server the one that sends, if no other is, and reads events, oldest first. They stay in the journal.
--
-- ARGV    server, time of the lease (ms), events, bytes, where to begin: `-`, an id, or `(` and the id of the one before
-- Returns {1 if the server sends, now (ms), events in the journal, dead letters, {id, event, …}}
local holder = redis.call('GET', KEYS[5])
local count, dead = redis.call('XLEN', KEYS[1]), redis.call('XLEN', KEYS[4])
-- A lease that ends so late is from before the clock went back: its server may have ended since.
local is_held = holder and redis.call('PTTL', KEYS[5]) <= 10 * tonumber(ARGV[2])
if is_held and holder ~= ARGV[1] then return {0, now, count, dead, {}} end
redis.call('SET', KEYS[5], ARGV[1], 'PX', ARGV[2])
local events, bytes = {}, 0
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], ARGV[5], '+', 'COUNT', ARGV[3])) do
  local text = entry[2][2]
  bytes = bytes + #text
  if #events > 0 and bytes > tonumber(ARGV[4]) then break end
  events[#events + 1] = entry[1]
  events[#events + 1] = text
end
return {1, now, count, dead, events}
