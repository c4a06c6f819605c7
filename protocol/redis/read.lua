-- Reads a room's position and what came after an offset, in one step.
--
-- KEYS[1] the room's position, KEYS[2] its log (see publish.lua)
-- ARGV    a fresh epoch, age of the position (ms), the offset after which to read, or -1 for the position alone
-- Returns {epoch, offset, {emission, …}}
local epoch = redis.call('HGET', KEYS[1], 'e')
if not epoch then
  -- Nobody has spoken here, or it was forgotten: from now on "nothing was missed" can be told from "who knows".
  epoch = ARGV[1]
  redis.call('DEL', KEYS[2])
  redis.call('HSET', KEYS[1], 'e', epoch, 'o', '0')
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local texts = {}
if tonumber(ARGV[3]) >= 0 then
  local from = string.format('%d', tonumber(ARGV[3]) + 1) .. '-0'
  for _, entry in ipairs(redis.call('XRANGE', KEYS[2], from, '+')) do
    texts[#texts + 1] = entry[2][2]
  end
end
return {epoch, redis.call('HGET', KEYS[1], 'o') or '0', texts}
