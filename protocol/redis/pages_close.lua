-- A page has disconnected. Its subscriptions are kept for some time, with the positions up to which it has received them.
--
-- ARGV    digest; time for which it is kept (ms); channels, each with its position
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
for index = 3, #ARGV, 2 do
  if redis.call('HEXISTS', KEYS[1], 'c' .. ARGV[index]) == 1 then
    redis.call('HSET', KEYS[1], 'c' .. ARGV[index], ARGV[index + 1])
  end
end
keep(ARGV[1], tonumber(ARGV[2]))
return 1
