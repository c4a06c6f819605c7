-- Stores a message in the mailbox of a user, and in those of the user's devices, and notifies the servers, in one step.
--
-- KEYS[4] optional: stores the id for an idempotency key
-- ARGV    channel, message (the text of a JSON object), user (a JSON string), messages that the mailbox may hold, bytes
--         that it may hold, its age (ms; 0: no limit), `known` if only a mailbox that exists may store, `place` if a new one
--         needs a place first, `any` if it has one; time to live of the message (ms; empty: none), expiry of the
--         idempotency key (ms), devices that a user may have
-- Returns {status, id, messages, dropped}. The status is `stored`, `duplicate`, `unknown`, or `place`.
--
-- The keys of devices are those of mailbox_device.lua. They carry the tag of KEYS, so they are in the same slot of a cluster.
if KEYS[4] then
  local before = redis.call('GET', KEYS[4])
  if before then return {'duplicate', before, redis.call('XLEN', KEYS[2]), 0} end
end
local age, ttl = tonumber(ARGV[6]), tonumber(ARGV[8])
local function store(keys, user, create)
  local exists = redis.call('EXISTS', keys[1]) == 1
  if not exists and create == 'known' then return {'unknown', '', 0, 0} end
  if not exists and create == 'place' then return {'place', '', 0, 0} end
  if not exists then redis.call('DEL', keys[2], keys[3]) end
  local newest = redis.call('HGET', keys[1], 'o') or '0'
  local id = time[1] * 1000000 + time[2]
  if id <= tonumber(newest) then id = tonumber(newest) + 1 end
  id = string.format('%d', id)
  local text = string.sub(ARGV[2], 1, -2) .. ',"id":"' .. id .. '"}'
  local count, dropped = redis.call('XLEN', keys[2]), 0
  local bytes = tonumber(redis.call('HGET', keys[1], 'b') or '0')
  while count > 0 and (count >= tonumber(ARGV[4]) or bytes + #text > tonumber(ARGV[5])) do
    local oldest = redis.call('XRANGE', keys[2], '-', '+', 'COUNT', '1')[1]
    if not oldest then break end
    remove(id_of(oldest), oldest[2][2], keys)
    count, bytes, dropped = count - 1, bytes - #oldest[2][2], dropped + 1
  end
  local left = exists and redis.call('PTTL', keys[1]) or -2
  redis.call('XADD', keys[2], id .. '-0', 'd', text)
  redis.call('HSET', keys[1], 'o', id, 'b', string.format('%d', bytes + #text))
  if ttl then redis.call('ZADD', keys[3], string.format('%d', tonumber(now) + ttl), id) end
  -- With an age, the mailbox expires when its user has been away for that time: only `seen` extends it. Without one, it
  -- expires with its last message if all of them have a time to live.
  local expiry
  if age > 0 then expiry = left > 0 and left or age
  elseif ttl and left ~= -1 then expiry = math.max(left, ttl) end
  for index = 1, 3 do
    if expiry then redis.call('PEXPIRE', keys[index], string.format('%d', expiry))
    else redis.call('PERSIST', keys[index]) end
  end
  redis.call('PUBLISH', ARGV[1], '{"user":' .. user .. ',"id":"' .. id .. '","previous":"' .. newest .. '","unread":' ..
    string.format('%d', count + 1) .. ',"message":' .. text .. '}')
  return {'stored', id, count + 1, dropped}
end

local tag = string.sub(KEYS[1], 1, -6)
local devices = redis.call('ZREVRANGE', tag .. 'devices', '0', string.format('%d', ARGV[10] - 1))
local create = ARGV[7]
-- The user's own mailbox is for connections without a device. If there are none, it is not created.
if #devices > 0 and age > 0 and create == 'place' then create = 'known' end
local result = store(KEYS, ARGV[3], create)
if result[1] == 'place' then return result end
for _, device in ipairs(devices) do
  local of = tag .. 'device:' .. string.format('%d', #device) .. ':' .. device .. ':'
  local user = string.sub(ARGV[3], 1, -2) .. '\\u0001' .. string.gsub(device, '["\\]', '\\%0') .. '"'
  -- With an age, a mailbox that has expired says that its device is forgotten.
  local stored = store({of .. 'state', of .. 'messages', of .. 'expiries'}, user, age > 0 and 'known' or 'any')
  if stored[1] == 'unknown' then redis.call('ZREM', tag .. 'devices', device)
  elseif result[1] == 'unknown' then result = stored
  else result[4] = result[4] + stored[4] end
end
if KEYS[4] and result[1] == 'stored' then redis.call('SET', KEYS[4], result[2], 'PX', ARGV[9]) end
return result
