-- A page has disconnected. Its subscriptions are kept for some time, with the positions up to which it has received them. A
-- page that was not connected for the time of one that never connects is kept as if it had not connected.
--
-- ARGV    digest; time for which it is kept (ms); the same for a page that has not connected; 1: only positions that are
--         missing are set; channels, each with its position
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
for index = 5, #ARGV, 2 do
  local old = redis.call('HGET', KEYS[1], 'c' .. ARGV[index])
  if old and (old == '' or ARGV[4] ~= '1') then redis.call('HSET', KEYS[1], 'c' .. ARGV[index], ARGV[index + 1]) end
end
local grace, initial = tonumber(ARGV[2]), tonumber(ARGV[3])
local since = tonumber(redis.call('HGET', KEYS[1], 'o') or now)
if now - since >= initial then
  keep(ARGV[1], grace)
else
  redis.call('HDEL', KEYS[1], 'o')
  keep(ARGV[1], math.min(grace, initial))
end
return 1
