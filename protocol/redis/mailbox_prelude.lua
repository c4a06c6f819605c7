-- The first part of the scripts for one mailbox: the time, and how messages are removed. One of mailbox_store.lua,
-- mailbox_read.lua, mailbox_acknowledge.lua and mailbox_device.lua follows. Redis 6.2 or later, or Valkey, alone or in a
-- cluster: all keys of a mailbox carry one hash tag.
--
-- KEYS[1] the mailbox, a hash. It exists while its user is known, or while there are messages:
--           o  newest  the id of the newest message that was stored, also after it was removed
--           b  bytes   the length of all messages
-- KEYS[2] its messages, a stream whose ids are <id>-0 and whose only field is d, the message
-- KEYS[3] the ids of messages with a time to live, a sorted set by their expiry (ms)
--
-- An id is the time in microseconds at which the message was stored, and larger than all before it. So a Redis that has
-- forgotten its last messages does not assign their ids again. A number as an argument is always formatted, because
-- Redis 7.2 would write 1000000000 as 1e+9.
local time = redis.call('TIME')
local now = string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000))
local function remove(id, text, keys)
  keys = keys or KEYS
  redis.call('XDEL', keys[2], id .. '-0')
  redis.call('ZREM', keys[3], id)
  redis.call('HINCRBY', keys[1], 'b', string.format('%d', -#text))
end
local function remove_one(id)
  local entry = redis.call('XRANGE', KEYS[2], id .. '-0', id .. '-0')[1]
  if not entry then return 0 end
  remove(id, entry[2][2])
  return 1
end
local function id_of(entry) return string.match(entry[1], '^(%d+)') end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now)) do remove_one(id) end
-- End of the prelude.
