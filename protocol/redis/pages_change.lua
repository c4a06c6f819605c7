-- Changes the subscriptions of a page, and announces that to the servers of the namespace. One step.
--
-- ARGV    digest; time for which a page is kept that has not connected (ms); the same for one that has; how many pages there
--         may be; how many channels a page may have; the channel of the namespace; the announcement; how many channels are
--         unsubscribed; these; then channels that are subscribed, each with its position
-- Returns {0, subscribed, unsubscribed, channels}, without the channel without a name. {1}: there would be too many channels. {2}: too many pages.
prune()
local digest, first = ARGV[1], 9
local remove, add, named = {}, {}, 0
for index = first, first + tonumber(ARGV[8]) - 1 do
  if redis.call('HEXISTS', KEYS[1], 'c' .. ARGV[index]) == 1 then remove[#remove + 1] = 'c' .. ARGV[index] end
end
for index = first + tonumber(ARGV[8]), #ARGV, 2 do
  if redis.call('HEXISTS', KEYS[1], 'c' .. ARGV[index]) == 0 then
    add[#add + 1] = 'c' .. ARGV[index]
    add[#add + 1] = ARGV[index + 1]
    if ARGV[index] ~= '' then named = named + 1 end
  end
end
local connected = redis.call('HEXISTS', KEYS[1], 'o')
local count = redis.call('HLEN', KEYS[1]) - connected - #remove + #add / 2
if #add > 0 and count > tonumber(ARGV[5]) then return {1} end
if #add > 0 and redis.call('EXISTS', KEYS[1]) == 0 and redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[4]) then return {2} end
for _, field in ipairs(remove) do redis.call('HDEL', KEYS[1], field) end
for index = 1, #add, 2 do redis.call('HSET', KEYS[1], add[index], add[index + 1]) end
-- What only unsubscribes does not prolong the time.
if #ARGV >= first + tonumber(ARGV[8]) and redis.call('EXISTS', KEYS[1]) == 1 then
  keep(digest, tonumber(ARGV[connected == 1 and 3 or 2]))
end
if #remove > 0 or #add > 0 then redis.call('PUBLISH', ARGV[6], ARGV[7]) end
return {0, named, #remove, count - redis.call('HEXISTS', KEYS[1], 'c')}
