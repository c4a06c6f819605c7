-- Makes a device of a user known, or keeps it known: mailbox_store.lua stores each message of the user for it as well. A
-- new device begins with a copy of the user's mailbox. If the user has too many devices, the one that was seen least
-- recently is forgotten.
--
-- KEYS[4] the devices of the user, a sorted set by the time (ms) at which each was seen last
-- KEYS[5] to KEYS[7] the mailbox of the device, as KEYS[1] to KEYS[3]
-- ARGV    the device, the time for which its mailbox is kept (ms; 0: no limit), devices that a user may have
-- Returns how many messages were dropped with forgotten devices
local keep, dropped = tonumber(ARGV[2]), 0
local known = redis.call('ZSCORE', KEYS[4], ARGV[1])
redis.call('ZADD', KEYS[4], now, ARGV[1])
if not known or keep > 0 and redis.call('EXISTS', KEYS[5]) == 0 then
  redis.call('DEL', KEYS[5], KEYS[6], KEYS[7])
  for _, entry in ipairs(redis.call('XRANGE', KEYS[2], '-', '+')) do
    redis.call('XADD', KEYS[6], entry[1], 'd', entry[2][2])
  end
  local expiries = redis.call('ZRANGE', KEYS[3], '0', '-1', 'WITHSCORES')
  for index = 1, #expiries, 2 do redis.call('ZADD', KEYS[7], expiries[index + 1], expiries[index]) end
  local newest, bytes = unpack(redis.call('HMGET', KEYS[1], 'o', 'b'))
  if keep > 0 or newest then redis.call('HSET', KEYS[5], 'o', newest or '0', 'b', bytes or '0') end
end
while redis.call('ZCARD', KEYS[4]) > tonumber(ARGV[3]) do
  local device = redis.call('ZPOPMIN', KEYS[4])[1]
  local gone = string.sub(KEYS[4], 1, -2) .. ':' .. string.format('%d', #device) .. ':' .. device .. ':'
  dropped = dropped + redis.call('XLEN', gone .. 'messages')
  redis.call('DEL', gone .. 'state', gone .. 'messages', gone .. 'expiries')
end
for index = 4, 7 do
  if keep == 0 then redis.call('PERSIST', KEYS[index])
  elseif index > 4 or redis.call('PTTL', KEYS[index]) < keep then redis.call('PEXPIRE', KEYS[index], ARGV[2]) end
end
return dropped
