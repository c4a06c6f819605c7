-- Reads a part of the channels that match a pattern.
--
-- ARGV    where to continue, 0 at first; the pattern
-- Returns where to continue, 0 at the end; the channels
local part = redis.call('ZSCAN', KEYS[3], ARGV[1], 'MATCH', ARGV[2], 'COUNT', 1000)
local found = {}
for index = 1, #part[2], 2 do
  if tonumber(part[2][index + 1]) > now then found[#found + 1] = part[2][index] end
end
return {part[1], found}
