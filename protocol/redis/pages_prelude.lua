-- The first part of the scripts of pages: to which channels a visitor's page is subscribed.
--
-- KEYS[1] the page, a hash: c<channel> => the position up to which the page has received it, or empty. The channel without a
--         name is the page itself. o => since when the page is connected (ms), or was as it disconnected
-- KEYS[2] the pages, a sorted set: digest => when the page is forgotten (ms)
-- KEYS[3] the channels, a sorted set: channel => when the last page of the channel is forgotten, at the latest (ms)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- Numbers of milliseconds are texts, because Redis 7.2 would write large numbers with an exponent.
local function text(number) return string.format('%d', number) end
-- What has expired, in bounded steps.
local function prune()
  for index = 2, 3 do
    for _, old in ipairs(redis.call('ZRANGEBYSCORE', KEYS[index], '-inf', text(now), 'LIMIT', 0, 1000)) do
      redis.call('ZREM', KEYS[index], old)
    end
  end
end
-- The page and its channels are kept for that time. A channel stays for as long as the page that stays longest.
local function keep(digest, ttl)
  local at = text(now + ttl)
  redis.call('PEXPIRE', KEYS[1], text(ttl))
  redis.call('ZADD', KEYS[2], at, digest)
  for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    if string.sub(field, 1, 1) == 'c' and #field > 1 then redis.call('ZADD', KEYS[3], 'GT', at, string.sub(field, 2)) end
  end
  for index = 2, 3 do
    if redis.call('PTTL', KEYS[index]) < ttl then redis.call('PEXPIRE', KEYS[index], text(ttl)) end
  end
end
-- End of the prelude.
