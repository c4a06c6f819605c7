-- Adds events to the journal, and drops the oldest while it is too large.
--
-- ARGV    events that the journal may hold, bytes that it may hold; then two for each event: its key, which adds it once within
--         ten minutes (empty: always), and the event
-- Returns {events in the journal, events dropped}
local max, max_bytes, dropped = tonumber(ARGV[1]), tonumber(ARGV[2]), 0
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', int(now - 600000))
for index = 3, #ARGV, 2 do
  if ARGV[index] == '' or redis.call('ZADD', KEYS[3], 'NX', int(now), ARGV[index]) == 1 then add(ARGV[index + 1]) end
end
redis.call('ZREMRANGEBYRANK', KEYS[3], '0', int(-max - 1))
local count, bytes = redis.call('XLEN', KEYS[1]), tonumber(redis.call('HGET', KEYS[2], 'b') or '0')
while count > 1 and (count > max or bytes > max_bytes) do
  local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', '1')[1]
  if not oldest then break end
  remove(oldest)
  count, bytes, dropped = count - 1, bytes - #oldest[2][2], dropped + 1
end
if redis.call('EXISTS', KEYS[3]) == 1 then redis.call('PEXPIRE', KEYS[3], '600000') end
return {count, dropped}
