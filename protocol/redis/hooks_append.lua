-- Adds events to the journal, and drops the oldest while it is too large. Events of connections get at most half of it, and are
-- dropped first, those of members next.
--
-- ARGV    events that the journal may hold, bytes that it may hold; then three for each event: its key, which adds it once within
--         ten minutes (empty: always), c or m for an event of this part (otherwise empty), and the event
-- Returns {events in the journal, events of connections that were dropped, others that were dropped}
local max, max_bytes = tonumber(ARGV[1]), tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', int(now - 600000))
for index = 3, #ARGV, 3 do
  if ARGV[index] == '' or redis.call('ZADD', KEYS[3], 'NX', int(now), ARGV[index]) == 1 then
    add(ARGV[index + 2], ARGV[index + 1])
  end
end
redis.call('ZREMRANGEBYRANK', KEYS[3], '0', int(-max - 1))
local dropped_connections, dropped_others = 0, 0
local function oldest(stream) return redis.call('XRANGE', stream, '-', '+', 'COUNT', '1')[1] end
local function bytes(field) return tonumber(redis.call('HGET', KEYS[2], field) or '0') end
local function drop_of(stream)
  local of_part = oldest(stream)
  local entry = find(KEYS[1], of_part[1])
  if entry then
    remove(entry)
    return 1
  end
  redis.call('XDEL', stream, of_part[1])
  return 0
end
local connections, members = redis.call('XLEN', KEYS[6]), redis.call('XLEN', KEYS[7])
while connections > 1 and (connections > max / 2 or bytes('c') > max_bytes / 2) do
  dropped_connections = dropped_connections + drop_of(KEYS[6])
  connections = connections - 1
end
local count = redis.call('XLEN', KEYS[1])
while count > 1 and (count > max or bytes('b') > max_bytes) do
  if connections > 0 then
    dropped_connections = dropped_connections + drop_of(KEYS[6])
    connections = connections - 1
  elseif members > 0 then
    dropped_others = dropped_others + drop_of(KEYS[7])
    members = members - 1
  else
    local entry = oldest(KEYS[1])
    if not entry then break end
    remove(entry)
    dropped_others = dropped_others + 1
  end
  count = redis.call('XLEN', KEYS[1])
end
if redis.call('EXISTS', KEYS[3]) == 1 then redis.call('PEXPIRE', KEYS[3], '600000') end
return {count, dropped_connections, dropped_others}
