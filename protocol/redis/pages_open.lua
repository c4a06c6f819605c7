-- A page has connected, or is still connected. It receives what follows the positions, so they are removed.
--
-- ARGV    digest; time for which it is kept (ms)
-- Returns the channels, each followed by its position. A page that is not subscribed to anything is not stored.
if redis.call('EXISTS', KEYS[1]) == 0 then return {} end
local found = {}
local all = redis.call('HGETALL', KEYS[1])
for index = 1, #all, 2 do
  if string.sub(all[index], 1, 1) == 'c' then
    found[#found + 1] = string.sub(all[index], 2)
    found[#found + 1] = all[index + 1]
    if all[index + 1] ~= '' then redis.call('HSET', KEYS[1], all[index], '') end
  end
end
redis.call('HSETNX', KEYS[1], 'o', text(now))
keep(ARGV[1], tonumber(ARGV[2]))
return found
