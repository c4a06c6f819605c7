-- Stores a revocation, and announces to the servers of the namespace that there is one to read. One step.
--
-- KEYS[1] the entries, a hash: target => the text of a JSON object {"user", "room", "before", "until"}; and two fields that
--         no target has: `epoch`, sixteen hexadecimal digits, and `order`, the number of the last revocation
-- KEYS[2] the order, a sorted set: target => number of the revocation
-- KEYS[3] the expiry, a sorted set: target => when all tokens that it affects have expired (ms)
-- ARGV    target; the text of a JSON object {"user", "room"}; before (ms); until (ms); now (ms); how many there may be;
--         an epoch, if there is none; the channel of the namespace
-- Returns the number of the revocation.
local entries, order, expiry = KEYS[1], KEYS[2], KEYS[3]
local target, before, expires = ARGV[1], ARGV[3], ARGV[4]
local function forget(expired)
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', expiry, '-inf', expired, 'LIMIT', 0, 1000)) do
    redis.call('HDEL', entries, old)
    redis.call('ZREM', order, old)
    redis.call('ZREM', expiry, old)
  end
end
-- What has expired a day ago: the clock of the server that calls may be hours ahead.
forget(string.format('%d', tonumber(ARGV[5]) - 86400000))
local known = redis.call('HGET', entries, target)
if known then
  -- Two revocations of one target are one, with the later times.
  local old_before, old_until = string.match(known, '"before":(%d+),"until":(%d+)}$')
  if old_before and tonumber(old_before) > tonumber(before) then before = old_before end
  if old_until and tonumber(old_until) > tonumber(expires) then expires = old_until end
elseif redis.call('ZCARD', order) >= tonumber(ARGV[6]) then
  forget(ARGV[5])
  if redis.call('ZCARD', order) >= tonumber(ARGV[6]) then
    return redis.error_reply('ERR too many revocations that have not expired')
  end
end
redis.call('HSETNX', entries, 'epoch', ARGV[7])
local number = redis.call('HINCRBY', entries, 'order', 1)
local text = string.sub(ARGV[2], 1, -2) .. ',"before":' .. before .. ',"until":' .. expires .. '}'
redis.call('HSET', entries, target, text)
redis.call('ZADD', order, number, target)
redis.call('ZADD', expiry, expires, target)
-- All keys expire together, after the last revocation.
local last = redis.call('ZREVRANGE', expiry, 0, 0, 'WITHSCORES')
for _, key in ipairs(KEYS) do redis.call('PEXPIREAT', key, string.format('%d', tonumber(last[2]) + 86400000)) end
redis.call('PUBLISH', ARGV[8], 'nodevent:1:revoked')
return number
