-- Stores a message in a mailbox and notifies the servers, in one step.
--
-- KEYS[4] optional: stores the id for an idempotency key
-- ARGV    channel, message (the text of a JSON object), user (a JSON string), messages that the mailbox may hold, bytes
--         that it may hold, its age (ms; 0: no limit), `known` if only a mailbox that exists may store, `place` if a new one
--         needs a place first, `any` if it has one; time to live of the message (ms; empty: none), expiry of the
--         idempotency key (ms)
-- Returns {status, id, messages, dropped}. The status is `stored`, `duplicate`, `unknown`, or `place`.
if KEYS[4] then
  local before = redis.call('GET', KEYS[4])
  if before then return {'duplicate', before, redis.call('XLEN', KEYS[2]), 0} end
end
local exists = redis.call('EXISTS', KEYS[1]) == 1
if not exists and ARGV[7] == 'known' then return {'unknown', '', 0, 0} end
if not exists and ARGV[7] == 'place' then return {'place', '', 0, 0} end
if not exists then redis.call('DEL', KEYS[2], KEYS[3]) end
local newest = redis.call('HGET', KEYS[1], 'o') or '0'
local id = time[1] * 1000000 + time[2]
if id <= tonumber(newest) then id = tonumber(newest) + 1 end
id = string.format('%d', id)
local text = string.sub(ARGV[2], 1, -2) .. ',"id":"' .. id .. '"}'
local count, dropped = redis.call('XLEN', KEYS[2]), 0
local bytes = tonumber(redis.call('HGET', KEYS[1], 'b') or '0')
while count > 0 and (count >= tonumber(ARGV[4]) or bytes + #text > tonumber(ARGV[5])) do
  local oldest = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', '1')[1]
  if not oldest then break end
  remove(id_of(oldest), oldest[2][2])
  count, bytes, dropped = count - 1, bytes - #oldest[2][2], dropped + 1
end
local age, ttl = tonumber(ARGV[6]), tonumber(ARGV[8])
local left = exists and redis.call('PTTL', KEYS[1]) or -2
redis.call('XADD', KEYS[2], id .. '-0', 'd', text)
redis.call('HSET', KEYS[1], 'o', id, 'b', string.format('%d', bytes + #text))
if ttl then redis.call('ZADD', KEYS[3], string.format('%d', tonumber(now) + ttl), id) end
-- With an age, the mailbox expires when its user has been away for that time: only `seen` extends it. Without one, it
-- expires with its last message if all of them have a time to live.
local expiry
if age > 0 then expiry = left > 0 and left or age
elseif ttl and left ~= -1 then expiry = math.max(left, ttl) end
for index = 1, 3 do
  if expiry then redis.call('PEXPIRE', KEYS[index], string.format('%d', expiry)) else redis.call('PERSIST', KEYS[index]) end
end
redis.call('PUBLISH', ARGV[1], '{"user":' .. ARGV[3] .. ',"id":"' .. id .. '","previous":"' .. newest .. '","unread":' ..
  string.format('%d', count + 1) .. ',"message":' .. text .. '}')
if KEYS[4] then redis.call('SET', KEYS[4], id, 'PX', ARGV[9]) end
return {'stored', id, count + 1, dropped}
