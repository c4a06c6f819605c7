-- Reads the revocations after one that the caller has read, oldest first and at most 500.
--
-- KEYS    as in revoke.lua
-- ARGV    the epoch of the last one that the caller has read, or an empty text; its number
-- Returns {epoch, number of the last one that is returned, {text, …}}. If the epoch is another one, or the number has not
-- been reached, this Redis has lost what it knew: then it returns everything.
local head = redis.call('HMGET', KEYS[1], 'epoch', 'order')
local epoch, newest = head[1] or '', tonumber(head[2] or '0')
local after = tonumber(ARGV[2])
if epoch ~= ARGV[1] or after > newest then after = 0 end
local found = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. string.format('%d', after), '+inf', 'WITHSCORES', 'LIMIT', 0, 500)
local texts, last = {}, after
for index = 1, #found, 2 do
  local text = redis.call('HGET', KEYS[1], found[index])
  if text then texts[#texts + 1] = text end
  last = tonumber(found[index + 1])
end
if #texts == 0 then last = newest end
return {epoch, last, texts}
