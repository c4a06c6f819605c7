-- Publishes a publication with history: assigns its offset, stores it and publishes it in one step, so that the three
-- cannot diverge.
--
-- KEYS[3] optional: stores position and receivers for an idempotency key
-- ARGV    channel, publication (the text of a JSON object), size of the log, age of the log (ms), expiry of the position
--         (ms), an epoch for a new room, PUBLISH or SPUBLISH, expiry of the idempotency key (ms)
-- Returns {position, receivers, 1 if it was published before}
detect_jump(true)
if KEYS[3] then
  local before = redis.call('GET', KEYS[3])
  if before then
    local position, receivers = string.match(before, '^(%S+) (%d+)$')
    return {position, tonumber(receivers), 1}
  end
end
if not epoch then
  epoch = ARGV[6]
  local absent_epoch, now = absent()
  redis.call('DEL', KEYS[1], KEYS[2])
  redis.call('HSET', KEYS[1], 'e', epoch, 'o', '0', 'b', absent_epoch .. ':' .. now)
  if replid then redis.call('HSET', KEYS[1], 'l', replid, 'i', run_id()) end
end
local offset = string.format('%d', redis.call('HINCRBY', KEYS[1], 'o', 1))
local position = epoch .. ':' .. offset
local text = string.sub(ARGV[2], 1, -2) .. ',"position":"' .. position .. '"}'
local time = redis.call('TIME')
local published = string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000))
redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[3], offset .. '-0', 'd', text, 't', published)
redis.call('PEXPIRE', KEYS[2], ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
local receivers = redis.pcall(ARGV[7], ARGV[1], text)
if type(receivers) == 'table' then
  -- Before Redis 7 there is no SPUBLISH, and PUBLISH reaches every node of a cluster. Any other error occurs again.
  local missing = string.find(receivers.err, 'Unknown Redis command', 1, true)
  receivers = redis.call(missing and 'PUBLISH' or ARGV[7], ARGV[1], text)
end
if KEYS[3] then redis.call('SET', KEYS[3], position .. ' ' .. receivers, 'PX', ARGV[8]) end
return {position, receivers, 0}
